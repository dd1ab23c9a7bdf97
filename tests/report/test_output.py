"""stdout and stderr that are closed, full, left by their reader, or of another encoding: the work is done all the same.

With ``probe export`` of a finished run, which writes files and prints their paths.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from probe.cli.main import main
from probe.report.run.write import write_report
from probe.terminal import _Total, console, total_output

pytestmark = pytest.mark.usefixtures("undrawn")

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, run_class: type) -> Path:
    run: Path = run_class().write(tmp_path_factory.mktemp("output") / "run")
    write_report(run)
    return run


def probe(shell: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a line of shell in which ``$probe`` is the command."""
    setting = {**os.environ, "probe": f"{sys.executable} -m probe.cli.main", **environment}
    return subprocess.run(["bash", "-c", shell], cwd=folder, env=setting, capture_output=True, timeout=300)


@pytest.mark.parametrize(
    ("shell", "status", "err"),
    [
        pytest.param("$probe export {run} --out=o >&-", 0, "", marks=pytest.mark.slow),
        pytest.param("$probe export {run} --out=o 2>&-", 0, "", marks=pytest.mark.slow),
        ("$probe export {run} --out=o <&- >&- 2>&-", 0, ""),
        ("set -o pipefail; $probe export {run} --out=o | head -0", 0, ""),
        pytest.param("$probe export {run} --out=o > /dev/full", 1, "No space left on device", marks=FULL),
        pytest.param("$probe export {run} --out=o --json 1> /dev/full 2>&1", 1, "", marks=[FULL, pytest.mark.slow]),
        pytest.param("$probe export {run} --out=o 2> /dev/full", 0, "", marks=[FULL, pytest.mark.slow]),
        ("ln -s . ü; PYTHONIOENCODING=ascii $probe export {run} --out=ü/o", 0, ""),
        pytest.param(
            "PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 LC_ALL=C $probe export {run} --out=o", 0, "", marks=pytest.mark.slow
        ),
        pytest.param("HOME=$PWD $probe export {run} --out=~/o", 0, "", marks=pytest.mark.slow),
    ],
)
def test_the_work_is_done_and_the_status_is_right(finished: Path, tmp_path: Path, shell: str, status: int, err: str):
    done = probe(shell.format(run=finished), tmp_path)
    assert done.returncode == status
    assert (tmp_path / "o" / "model_card.md").read_text("utf-8").startswith("---")
    assert not (tmp_path / "~").exists()
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["levels.csv", "model_card.md", "table.tex"]
    assert err in done.stderr.decode()
    assert done.stderr.count(b"\n") == bool(err)
    assert b"Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "says"), [("~nobody-of-this-name/x", "no such home folder"), ("caf\udce9", r"caf\xe9' is not UTF-8")]
)
def test_paths_that_cannot_be_used(finished: Path, capsys: pytest.CaptureFixture[str], path: str, says: str):
    assert main(["export", str(finished), f"--out={path}"]) == 2
    assert says in capsys.readouterr().err


def test_every_command_expands_the_home_folder(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("HOME", str(tmp_path))
    lines: list[list[str]] = [
        *([name, "~/gone"] for name in ("run", "study", "ood", "report", "theory", "status", "export", "checkpoints")),
        *([name, "~/gone.yaml"] for name in ("run", "study", "ood")),
        ["compare", "~/gone", "~/other"],
        ["submit", "configs/quickstart.yaml", "--cluster=~/gone"],
        ["figure", "~/gone", "--paper"],
    ]
    for line in lines:
        more = ["--train", "x", "--test", "x"] if line[0] == "checkpoints" else []
        status = main([*line, *more])
        said = capsys.readouterr().err
        assert status == 2, line
        assert f"{tmp_path}/gone" in said, line
    assert main(["field", "~/gone"]) == 2
    assert "~/gone does not exist" in capsys.readouterr().err  # a model is named as the user wrote it


class Broken(io.StringIO):
    """Fails with an error once written to."""

    def __init__(self, error: OSError):
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.fixture
def stdout(monkeypatch) -> Callable[[io.IOBase], None]:
    return lambda stream: monkeypatch.setattr(sys, "stdout", stream)


@pytest.mark.parametrize(("error", "status"), [(BrokenPipeError(32, "Broken pipe"), 0), (OSError(5, "I/O error"), 1)])
@pytest.mark.parametrize("end", [lambda: 0, lambda: sys.exit(0), lambda: sys.exit()])
def test_a_failing_stdout_ends_nothing(stdout, capsys, error: OSError, status: int, end: Callable[[], int]):
    done = []

    @total_output
    def command() -> int:
        for _ in range(3):
            print("x", flush=True)
        done.append(True)
        return end()

    stream = Broken(error)
    stdout(stream)
    try:
        found = command()
    except SystemExit as exited:
        found = exited.code or 0
    assert (found, done) == (status, [True])
    assert sys.stdout is stream
    assert ("I/O error" in capsys.readouterr().err) == bool(status)


@pytest.mark.parametrize("status", [2, 75])
def test_other_statuses_stay(stdout, status: int):
    stdout(Broken(OSError(28, "No space left on device")))
    assert total_output(lambda: print("x") or status)() == status
    with pytest.raises(SystemExit) as end:
        total_output(lambda: print("x") or sys.exit(status))()
    assert end.value.code == status


def test_what_a_terminal_would_obey_is_escaped(stdout):
    name = "a\x1b]0;title\x07\x1b[2J\u202eb\udcffc\x9bd\r[red]:smile:\t猫\n"
    raw = io.BytesIO()
    stream = _Total(io.TextIOWrapper(raw, "ascii", write_through=True))
    stream.write(name)
    safe = r"a\u001b]0;title\u0007\u001b[2J\u202eb\udcffc\u009bd"
    assert raw.getvalue().decode() == safe + "\r[red]:smile:\t\\u732b\n"
    assert json.loads(f'"{safe}"') == name.partition("\r")[0]


def test_a_name_in_brackets_is_no_markup_for_rich(stdout):
    from rich.table import Table

    stdout(file := io.StringIO())
    table = Table(title="[bold]t")
    table.add_column("[red]h")
    table.add_row("[link=http://x]:smile:")
    console().print(table)
    assert all(name in file.getvalue() for name in ("[bold]t", "[red]h", "[link=http://x]:smile:"))


def test_colours_stay_on_a_terminal(stdout):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = _Total(file := Terminal())
    stream.write("\x1b[1mbold\x1b[0m \x1b]0;t\x07 \x1b[?25l")
    assert file.getvalue() == "\x1b[1mbold\x1b[0m \\u001b]0;t\\u0007 \x1b[?25l"
