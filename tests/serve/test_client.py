"""The client and ``probe --server`` against a real server, with runs on a map of known attractors."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from jobs.stopping import INTERRUPTED, STATUS
from probe.cli import main
from probe.client import Client
from probe.errors import UserError

from ..jobs.conftest import configure
from ..processes import Process, completed
from .service import served, until

pytestmark = pytest.mark.busy(30)


def quick(folder: Path, sleep: float = 0.0) -> Path:
    """The configuration file of a small run; its map sleeps at every step."""
    folder.mkdir(exist_ok=True)
    file = configure(folder)
    settings = {**yaml.safe_load(file.read_text()), "datasets": {"digits": {"n": 4, "holdout": 2}}}
    settings["seeds"]["count"] = 8
    del settings["basins"]
    file.write_text(yaml.safe_dump(settings))
    own = folder / "own.py"
    own.write_text(own.read_text().replace('os.environ.get("OWN_SLEEP", 0)', repr(sleep)))
    return file


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with two finished runs of one configuration: ``here``, by the command, and ``done``, by the server."""
    folder = tmp_path_factory.mktemp("client")
    config, root = quick(folder), folder / "root"
    here = completed("probe.cli.main", "run", config, "--out", root / "here")
    assert here.returncode == 0, here.stderr
    with served(root) as service:
        token = root / ".probe-serve" / "token"
        url = f"http://127.0.0.1:{service.port}"
        with Client(url, token) as client:
            run = client.submit(config, id="done").wait(300)
            yield SimpleNamespace(
                url=url, token=token, client=client, run=run, config=config, root=root, here=here, folder=folder
            )


def words(server: Any, *arguments: object) -> list[str]:
    return ["--server", server.url, "--token-file", str(server.token), *map(str, arguments)]


def probe(server: Any, *arguments: object) -> Any:
    """What a command says of the server, in a process of its own."""
    return completed("probe.cli.main", *words(server, *arguments))


def test_a_run_from_submission_to_report(server: Any, tmp_path: Path):
    run, there = server.run, server.root / "done"
    assert run.state == "done", run.data
    assert run.report == json.loads((there / "report" / "report.json").read_text())
    assert run.report_html == (there / "report" / "report.html").read_text()
    assert any("attractors" in line for line in run.log())
    files = run.download(tmp_path)
    assert all(file.read_bytes() == (there / file.relative_to(tmp_path)).read_bytes() for file in files)
    assert {"config.yaml", "report.html"} <= {file.name for file in files}
    assert not [file for file in files if file.name.startswith(".")]
    assert server.client.run("done").data == run.refresh().data
    assert [one["rev"] for one in run.events()] == [run.data["rev"]]


def test_runs_are_listed(server: Any):
    assert {one.id for one in server.client.runs(state="done", kind="run")} == {"done", "here"}
    assert {one.id for one in server.client.runs(model=server.run.data["model"])} >= {"done", "here"}
    assert not list(server.client.runs(state=["lost", "failed"], kind="study"))


def test_the_same_id_is_the_same_run(server: Any):
    again = server.client.submit(server.config, id="done")
    assert (again.id, again.state) == ("done", "done")
    with pytest.raises(UserError, match="done"):
        server.client.submit({"model": {"source": "embedded:cifar-attractors"}}, id="done")


def test_mistakes_have_the_sentence_of_the_command_line(server: Any, tmp_path: Path):
    with pytest.raises(UserError, match=r"seeds\.cout"):
        server.client.submit({"seeds": {"cout": 3}})
    with pytest.raises(UserError, match="nowhere"):
        server.client.run("nowhere")
    with Client(server.url) as without, pytest.raises(UserError, match="PROBE_TOKEN_FILE"):
        without.run("done")
    with Client(server.url, "x" * 43) as wrong, pytest.raises(UserError, match="the token is wrong"):
        wrong.run("done")
    (tmp_path / "bad.yaml").write_text("seeds: {cout: 3}\n")
    here = completed("probe.cli.main", "run", tmp_path / "bad.yaml", "--out", tmp_path / "out")
    there = probe(server, "run", tmp_path / "bad.yaml")
    assert (here.returncode, there.returncode) == (2, 2)
    assert there.stderr == here.stderr


def test_commands_show_what_they_show_here(server: Any, tmp_path: Path):
    there = probe(server, "run", server.config, "--id", "done")
    assert there.returncode == 0, there.stderr
    assert there.stdout == server.here.stdout
    assert probe(server, "report", "done").stdout == server.here.stdout
    assert json.loads(probe(server, "report", "done", "--json").stdout) == server.run.report
    shown = probe(server, "status", "done").stdout.splitlines()
    local = completed("probe.cli.main", "status", server.root / "here").stdout.splitlines()
    assert shown[0] == "done: done"
    assert shown[1:] == local[1:]
    assert json.loads(probe(server, "status", "done", "--json").stdout)["state"] == "done"
    assert probe(server, "status", "done", "--watch").stdout.splitlines()[0] == "done: done"
    assert {"done", "here"} <= {line.split()[0] for line in probe(server, "status").stdout.splitlines() if line.strip()}
    assert "attractors" in probe(server, "logs", "done").stdout


def test_files_are_fetched_so_that_commands_work_on_them(server: Any, tmp_path: Path):
    fetched = probe(server, "download", "done", tmp_path / "to")
    assert fetched.returncode == 0, fetched.stderr
    again = completed("probe.cli.main", "status", tmp_path / "to", "--json")
    assert json.loads(again.stdout)["state"] == "complete"


def test_a_run_is_watched_left_cancelled_resumed_and_deleted(server: Any, tmp_path: Path):
    slow = quick(server.folder / "slow", sleep=0.5)
    assert probe(server, "run", slow, "--id", "slow", "--detach").stdout == "slow\n"
    said = tmp_path / "err"
    given = words(server, "run", slow, "--id", "slow")
    watching = Process("probe.cli.main", given, dict(os.environ), tmp_path / "out", said)
    until(lambda: said.exists() and "slow: running" in said.read_text())
    watching.send_signal(signal.SIGINT)
    assert watching.wait(60) == INTERRUPTED
    assert "slow goes on" in said.read_text()
    assert f"probe --server {server.url} cancel slow" in said.read_text()
    run = server.client.run("slow")
    assert run.state == "running"
    watching = Process("probe.cli.main", given, dict(os.environ), tmp_path / "out", said)
    assert probe(server, "cancel", "slow").returncode == 0
    assert run.wait(60).state == "cancelled"
    assert watching.wait(60) == STATUS
    assert "slow was cancelled" in said.read_text()
    assert run.resume().state in ("queued", "running")
    run.cancel()
    run.wait(60).delete()
    with pytest.raises(UserError):
        run.refresh()


def test_a_run_that_fails_ends_the_command_as_here(server: Any, tmp_path: Path):
    config = quick(server.folder / "broken")
    (server.folder / "broken" / "own.py").write_text("def load():\n    raise RuntimeError('no such luck')\n")
    here = completed("probe.cli.main", "run", config, "--out", tmp_path / "here")
    there = probe(server, "run", config, "--name", "broken")
    assert there.returncode == here.returncode != 0
    assert there.stderr.splitlines()[-1] == here.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_run_is_followed_through_the_end_of_its_server(tmp_path: Path):
    with served(tmp_path / "root") as service:
        token = tmp_path / "root" / ".probe-serve" / "token"
        with Client(f"http://127.0.0.1:{service.port}", token) as client:
            run = client.submit(quick(tmp_path / "slow", sleep=0.5))
            seen = []
            for now in run.events():
                seen.append(now["rev"])
                if now["state"] == "running" and service.lives == 1:
                    service.kill()
                    service.start()
                    run.cancel()
    assert run.state == "cancelled"
    assert seen == sorted(set(seen))


@pytest.mark.slow
def test_a_plan_and_a_comparison_are_as_here(server: Any, tmp_path: Path):
    plan = probe(server, "plan", server.config)
    assert plan.returncode == 0, plan.stderr
    assert "What this run will cost" in plan.stdout
    assert [one["kind"] for one in json.loads(probe(server, "plan", server.config, "--json").stdout)] == ["run"]
    there = probe(server, "compare", "here", "done")
    assert there.returncode == 0, there.stderr
    folders = server.root / "here", server.root / "done"
    here = completed("probe.cli.main", "compare", *folders, "--out", tmp_path)
    assert there.stdout == here.stdout
    assert server.client.compare("here", server.run) == json.loads((tmp_path / "compare.json").read_text())


def test_what_a_server_does_not_do_is_said(server: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    assert main.main(words(server, "audit", "x")) == 2
    assert "is not done by a server" in capsys.readouterr().err
    monkeypatch.setenv("PROBE_SERVER", server.url)
    with pytest.raises(SystemExit, match="0"):
        main.main(["config", "solver.tolerance"])
    assert "runs here" in capsys.readouterr().err
    assert "PROBE_SERVER" not in os.environ


def test_commands_on_a_server_import_no_torch(server: Any):
    asked = [["status"], ["status", "done"], ["report", "done"], ["run", str(server.config), "--id", "done"]]
    script = (
        "import sys; from probe.cli.main import main\n"
        f"for words in {[words(server, *one) for one in asked]!r}:\n"
        "    try: main(words)\n"
        "    except SystemExit as end: assert not end.code, end\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
