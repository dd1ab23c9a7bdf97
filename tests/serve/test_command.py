"""``probe serve``: what the command refuses, and what it starts."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probe.cli import serve as command
from probe.cli.main import main
from probe.serve.settings import Settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What servers would have been started with; none is."""
    found: list[Settings] = []

    class App:
        @staticmethod
        def run(settings: Settings, listening: socket.socket, announce: Callable[[], None]) -> None:
            announce()
            assert listening.getsockname()[1] == settings.port
            found.append(settings)

    monkeypatch.setitem(sys.modules, "probe.serve.app", App)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(command.shutil, "which", lambda name: None)
    return found


def serve(root: Path, *more: str, port: str = "0") -> int:
    try:
        return main(["serve", "--root", str(root), "--port", port, *more])
    except SystemExit as ended:  # by typer, after success
        return int(ended.code or 0)


def test_the_first_line_says_the_address_and_where_the_token_is(started, tmp_path, capsys):
    assert serve(tmp_path / "root") == 0
    [settings] = started
    said, complained = capsys.readouterr()
    token = tmp_path / "root/.probe-serve/token"
    assert said == f"http://127.0.0.1:{settings.port}/ serves {tmp_path / 'root'}; token in {token}\n"
    assert complained == ""
    assert settings.token == token.read_text().strip()
    assert settings.token not in said + repr(settings)
    assert settings.slots == 1
    assert settings.gpus == ()
    assert settings.allow.runs == settings.root == tmp_path / "root"
    assert serve(tmp_path / "root") == 0
    assert started[1].token == settings.token


def test_options_reach_the_server(started, tmp_path):
    (tmp_path / "token").write_text("y" * 40)
    (tmp_path / "token").chmod(0o600)
    options = f"--token-file {tmp_path}/token --slots 3 --gpus 0,GPU-ab1 --root-path /a/b/ --host-name probe.example"
    options += f" --allow python --allow remote-code --allow-folder {tmp_path} --allow-folder {tmp_path}/.. --queue 7"
    options += " --quota-run 0.5 --quota-total 2 --rebuild --behind-proxy --host 0.0.0.0"
    assert serve(tmp_path / "root", *options.split()) == 0
    [settings] = started
    assert not (tmp_path / "root/.probe-serve").exists()
    assert (settings.token, settings.slots, settings.gpus) == ("y" * 40, 3, ("0", "GPU-ab1"))
    assert (settings.root_path, settings.hosts, settings.behind_proxy) == ("/a/b", ("probe.example",), True)
    assert (settings.allow.python, settings.allow.remote_code, settings.allow.urls) == (True, True, False)
    assert settings.allow.folders == (tmp_path, tmp_path.parent)
    limits = settings.limits
    assert (limits.queue, limits.run_bytes, limits.total_bytes) == (7, 1 << 29, 1 << 31)
    assert settings.rebuild


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--host 0.0.0.0", "--host 0.0.0.0 is reached from other machines"),
        ("--host 192.0.2.1", "--tls-cert and --tls-key, or --behind-proxy"),
        ("--host ::", "is reached from other machines"),
        ("--host example.org", "is reached from other machines"),
        ("--host 0.0.0.0 --no-token --behind-proxy", "--no-token is for loopback alone"),
        ("--no-token --behind-proxy", "--no-token is for loopback alone"),
        ("--no-token --token-file x", "--no-token is for loopback alone"),
        ("--tls-cert a.pem", "belong together"),
        ("--tls-cert a.pem --tls-key b.pem", "do not load"),
        ("--token-file absent", "token file absent cannot be read"),
        ("--root-path probe", "must read /like/this"),
        ("--root-path /a/../b", "must read /like/this"),
        ("--root-path //evil", "must read /like/this"),
        ("--host-name https://x", "is no name of a host"),
        ("--host-name *", "is no name of a host"),
        ("--allow everything", "allow python, remote-code, urls, trackers"),
        ("--allow-folder absent", "is no folder"),
        ("--cluster absent.yaml", "absent.yaml"),
    ],
)
def test_mistakes_are_refused_in_a_sentence(started, tmp_path, capsys, options: str, sentence: str):
    assert serve(tmp_path / "root", *options.split()) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert not started


def test_a_busy_port_is_one_sentence(started, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert serve(tmp_path, port=str(taken.getsockname()[1])) == 2
    assert "is taken; give another with --port, or 0" in capsys.readouterr().err
    assert not started


def test_a_missing_extra_is_one_sentence(tmp_path):
    script = (
        "import sys; sys.modules['fastapi'] = None\nfrom probe.cli.main import main\n"
        f"sys.exit(main(['serve', '--root', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "probe serve needs fastapi; pip install 'latent-probe[serve]'." in done.stderr


def test_without_a_token_only_where_asked_for(started, tmp_path, capsys):
    assert serve(tmp_path, "--no-token") == 0
    assert started[0].token is None
    assert "no token is asked for" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("visible", "listed", "gpus"),
    [
        ("", "GPU 0: H100", ()),
        ("0,1", "", ("0", "1")),
        ("GPU-8a7b, 3", "", ("GPU-8a7b", "3")),
        ("-1", "GPU 0: H100", ()),
        (None, "GPU 0: H100 (UUID: GPU-1)\nGPU 1: H100 (UUID: GPU-2)\n", ("0", "1")),
        (None, "No devices found.", ()),
        (None, None, ()),
    ],
)
def test_gpus_are_found_without_torch(monkeypatch, visible: str | None, listed: str | None, gpus: tuple[str, ...]):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(command.shutil, "which", lambda name: None if listed is None else name)
    answer: Any = subprocess.CompletedProcess([], 0, stdout=listed, stderr="")
    monkeypatch.setattr(command.subprocess, "run", lambda *_, **__: answer)
    assert command._gpus(None) == gpus
    assert command._gpus("2,3") == ("2", "3")
    assert command._gpus("") == ()
