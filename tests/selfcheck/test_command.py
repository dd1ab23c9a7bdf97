"""``probe selfcheck`` and ``python -m probe.selfcheck``."""

import json

import pytest

from probe.cli.main import main
from probe.selfcheck import __main__ as module
from probe.selfcheck import command
from probe.selfcheck.check import Check, equals

CHECKS = (
    Check("right", "correctness", "what is right", 1, lambda setting: iter([equals("sum", 2, 2)])),
    Check("wrong", "correctness", "what is wrong", 1, lambda setting: iter([equals("sum", 3, 2)])),
    Check("other", "speed", "of another group", 1, lambda setting: iter([equals("small", setting.small, True)])),
)


def _probe(arguments, monkeypatch):
    try:
        return main(["selfcheck", *arguments])
    except SystemExit as end:  # typer's, where nothing is wrong
        return end.code


def _module(arguments, monkeypatch):
    monkeypatch.setattr("sys.argv", ["selfcheck", *arguments])
    return module.main()


@pytest.mark.parametrize("run", [_probe, _module])
@pytest.mark.parametrize(
    ("only", "status", "names"),
    [("right", 0, ["right"]), ("speed", 0, ["other"]), ("correctness", 1, ["right", "wrong"]), ("none", 2, None)],
)
def test_the_exit_status_and_the_files(run, only, status, names, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "CHECKS", CHECKS)
    arguments = ["--device", "cpu", "--small", "--only", only, "--out", str(tmp_path / "out")]
    assert run(arguments, monkeypatch) == status
    if names is None:
        assert "there is no check 'none'" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        return
    found = json.loads((tmp_path / "out" / "selfcheck.json").read_text())
    assert [one["name"] for one in found["checks"]] == names
    assert found["failures"] == (["wrong"] if status else [])
    assert {"date", "versions", "platform", "device", "small", "budget", "command"} <= found.keys()
    assert (tmp_path / "out" / "selfcheck.md").read_text() == capsys.readouterr().out.removesuffix("\n")


@pytest.mark.parametrize("device", ["cuda:99", "tpu9"])
def test_a_device_that_is_not_here(device, monkeypatch, capsys):
    assert _module(["--device", device], monkeypatch) == 2
    assert device in capsys.readouterr().err
