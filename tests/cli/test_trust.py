"""Whose code runs: the user's own, and never, unasked, that of a run directory that somebody else made."""

import json
import shutil
import sys

import pytest
import yaml

from jobs.worker import guarded
from probe.cli.main import main
from probe.config import ModelConfig
from probe.trust import code_of

from ..processes import completed

pytestmark = pytest.mark.usefixtures("undrawn")

MODEL = """
from pathlib import Path
import torch

with Path({sentinel!r}).open("a") as file:
    file.write("ran ")

class Own:
    def encode(self, x):
        {encode}
        return torch.tanh(2 * torch.nn.functional.avg_pool2d(x, 4).mean((2, 3), keepdim=True).expand(-1, -1, 2, 2))
    def decode(self, z):
        return torch.nn.functional.interpolate(z, scale_factor=4)

def load():
    return Own()
"""


def probe(arguments):
    """The exit status of a command line."""
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code


STAGES = ("images", "attractors", "dictionary", "reconstruct", "theory")


@pytest.fixture
def sentinel(tmp_path):
    return tmp_path / "sentinel"


@pytest.fixture
def made(tmp_path, sentinel):
    """A finished run with its model in it, as somebody else made it."""
    folder = tmp_path / "made"
    folder.mkdir()
    return finished(folder, sentinel, f"python:{folder / 'own.py'}:load")


def finished(folder, sentinel, source):
    (folder / "own.py").write_text(MODEL.format(sentinel=str(sentinel), encode="pass"))
    settings = {
        "model": {"source": source, "device": "cpu"},
        "resolution": 8,
        "seeds": {"count": 8},
        "solver": {"max_steps": 30, "exponents": 0},
        "sparse": {"levels": [1]},
        "datasets": {"digits": {"n": 6, "holdout": 6}},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(settings))
    assert probe(["run", str(folder / "own.yaml"), "--out", str(folder / "run")]) == 0
    sentinel.unlink()
    return folder / "run"


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """Another user, who has named nothing so far."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-of-another-user"))


def test_a_directory_runs_no_code_of_its_own(made, sentinel, stranger, capsys):
    capsys.readouterr()
    for stage in STAGES:
        assert probe([stage, str(made)]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert "own.py (sha256" in said
        assert "--trust-code" in said
        assert len(said) < 500
    for more in ([str(made)], [str(made), "--stage", "dictionary"], [str(made / "config.yaml"), "--out", str(made)]):
        done = completed("jobs.worker", *more)
        assert done.returncode == 2, done.stderr
    assert probe(["run", str(made / "config.yaml"), "--out", str(made)]) == 2
    assert not sentinel.exists()
    assert probe(["attractors", str(made), "--trust-code"]) == 0
    assert sentinel.exists()  # read and trusted once: the same code is not asked about again
    assert probe(["dictionary", str(made)]) == 0


def test_what_reads_results_needs_no_model(made, sentinel, stranger, tmp_path):
    for command in (
        ["report", str(made)],
        ["status", str(made)],
        ["export", str(made)],
        ["compare", str(made), str(shutil.copytree(made, tmp_path / "copy")), "--out", str(tmp_path / "compared")],
        ["figure", str(made), "--paper"],
    ):
        assert probe(command) == 0, command
    assert completed("jobs.worker", made, "--stage", "report").returncode == 0
    assert not sentinel.exists()
    (made.parent / "own.py").unlink()
    assert probe(["report", str(made)]) == 0


def test_ones_own_run_goes_on_without_asking_until_the_code_changes(made, sentinel, tmp_path, capsys):
    assert probe(["dictionary", str(made)]) == 0
    assert sentinel.exists()
    sentinel.unlink()
    file = made.parent / "own.py"
    file.write_text(file.read_text() + "\nhidden = 1\n")
    assert probe(["dictionary", str(made)]) == 2
    assert "--trust-code" in capsys.readouterr().err
    # The same content somewhere else may import something else from there.
    file.write_text(file.read_text().removesuffix("\nhidden = 1\n"))
    other = tmp_path / "other"
    shutil.copytree(made.parent, other)
    config = yaml.safe_load((other / "run" / "config.yaml").read_text())
    for source in (f"python:{other}/own.py:load", f"python:{other}/linked.py:load"):
        (other / "linked.py").unlink(missing_ok=True)
        (other / "linked.py").symlink_to(other / "own.py")
        config["model"]["source"] = source
        (other / "run" / "config.yaml").write_text(yaml.safe_dump(config))
        assert probe(["dictionary", str(other / "run")]) == 2
    assert not sentinel.exists()


@pytest.mark.parametrize("place", ["work", "other"])
def test_a_module_beside_the_directory_is_refused(tmp_path, monkeypatch, sentinel, stranger, place, capsys):
    package = tmp_path / "other" / "their_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(sentinel)!r}, 'w')")
    (package / "vae.py").write_text("")
    run = tmp_path / "other" / "run"
    run.mkdir()
    (run / "config.yaml").write_text("model: {source: 'python:their_package.vae:load'}")
    monkeypatch.chdir(tmp_path / place if place == "other" else tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    assert probe(["attractors", str(run)]) == 2
    assert "their_package/vae.py (sha256" in capsys.readouterr().err
    assert not sentinel.exists()


@pytest.mark.parametrize("name", ["os.path", ".relative", "a\0b", "no_such_module", "json", "", "a..b", "sys"])
def test_odd_names_of_modules_are_asked_about_or_refused(tmp_path, stranger, name, capsys):
    (tmp_path / "config.yaml").write_text(json.dumps({"model": {"source": f"python:{name}:load"}}))
    assert probe(["attractors", str(tmp_path)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    if name != "":
        assert code_of(ModelConfig(source=f"python:{name}:load")) is not None


def test_code_that_comes_with_weights_is_asked_about(tmp_path, stranger, sentinel, capsys):
    folder, run = tmp_path / "weights", tmp_path / "run"
    for path in (folder, run):
        path.mkdir()
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "own.Model"}}))
    (folder / "own.py").write_text(f"open({str(sentinel)!r}, 'w')")
    for source, name in ((str(folder), str(folder)), ("owner/name", "owner/name")):
        model = {"source": source, "trust_remote_code": True}
        (run / "config.yaml").write_text(yaml.safe_dump({"model": model}))
        assert probe(["attractors", str(run)]) == 2
        said = capsys.readouterr().err
        assert "--trust-code" in said
        assert name in said
    assert not sentinel.exists()
    (folder / "own.py").unlink()
    (tmp_path / "own.py").write_text(f"open({str(sentinel)!r}, 'w')")
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "../own.Model"}}))
    (run / "config.yaml").write_text(yaml.safe_dump({"model": {"source": str(folder), "trust_remote_code": True}}))
    for more, message in (([], "--trust-code"), (["--trust-code"], "which is not a class in its folder")):
        assert probe(["attractors", str(run), *more]) == 2
        assert message in capsys.readouterr().err
    assert not sentinel.exists()
    assert code_of(ModelConfig(source=str(folder))) is None
    assert code_of(ModelConfig()) is None
    assert code_of(ModelConfig(source="python:probe.bench.conv_ae:load")) is None  # this tool's own


def test_jobs_in_the_queue_are_told_that_the_code_was_named(tmp_path, root, capsys):
    (tmp_path / "own.py").write_text("")
    (tmp_path / "own.yaml").write_text(f"model: {{source: 'python:{tmp_path}/own.py:load'}}")
    (tmp_path / "plain.yaml").write_text("resolution: 32")
    cluster = str(root / "slurm" / "example.yaml")
    for name, times in (("own", 5), ("plain", 0)):
        command = ["submit", str(tmp_path / f"{name}.yaml"), "--cluster", cluster, "--out", str(tmp_path / "out")]
        assert probe([*command, "--dry-run", "--json"]) == 0
        assert capsys.readouterr().out.count(" --trust-code &") == times


@pytest.mark.parametrize("place", ["import", "encode"])
def test_leaving_is_no_success(tmp_path, sentinel, place, capsys):
    text = MODEL.format(sentinel=str(sentinel), encode="raise SystemExit" if place == "encode" else "pass")
    (tmp_path / "leaves.py").write_text(text + ("\nraise SystemExit(0)\n" if place == "import" else ""))
    (tmp_path / "own.yaml").write_text(f"model: {{source: 'python:{tmp_path}/leaves.py:load', device: cpu}}")
    assert probe(["run", str(tmp_path / "own.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert "leaves.py" in capsys.readouterr().err


def test_no_library_ends_a_run_with_success(tmp_path, monkeypatch, capsys):
    import typer

    for end in (SystemExit(0), SystemExit(), typer.Exit(0)):

        def leave(*_, end=end, **__):
            raise end

        monkeypatch.setattr("jobs.run.attractors.solve", leave)
        assert (
            probe(
                ["run", "--model", "embedded:cifar-attractors", "--set", "datasets={}", "--out", str(tmp_path / "run")]
            )
            == 1
        )
        assert "test_trust.py, line" in capsys.readouterr().err
        assert "the work is not done" in json.loads((tmp_path / "run" / "error.json").read_text())["message"]


def test_no_library_ends_the_process_with_success(capsys):
    import argparse

    assert guarded(lambda: sys.exit(0)) == 1
    assert "test_trust.py, line" in capsys.readouterr().err
    assert guarded(lambda: argparse.ArgumentParser().parse_args(["--help"])) == 1
    for arguments, status in ((["--help"], 0), (["run", "--help"], 0), (["--version"], 0), (["run", "--wrong"], 2)):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == status
