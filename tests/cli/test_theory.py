"""``probe theory`` on a small run: its files, and what it refuses."""

import json
import re
import shlex

import pytest
import yaml

from probe.cli.main import app, main

WELLS = """
import torch


class Wells:  # the means of the first two channels are the latent, and each runs to +-0.9575
    image_range = (-1.0, 1.0)

    def encode(self, x):
        return torch.tanh(2 * x[:, :2].mean((2, 3)))

    def decode(self, z):
        return torch.cat([z, z[:, :1]], 1)[:, :, None, None].expand(-1, -1, 8, 8)


def load():
    return Wells()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theory")
    (folder / "wells_for_theory.py").write_text(WELLS)
    settings = {
        "model": {"source": f"python:{folder / 'wells_for_theory.py'}:load"},
        "resolution": 8,
        "seeds": {"count": 12},
        "solver": {"tolerance": 1e-9},
        "datasets": {"digits": {"source": "bundled:digits", "n": 6, "holdout": 20}},
    }
    (folder / "wells.yaml").write_text(yaml.safe_dump(settings))
    app(["run", str(folder / "wells.yaml"), "--out", str(folder / "run")], standalone_mode=False)
    return folder / "run"


def test_of_a_run(run, capsys):
    app(["theory", str(run), "--points", "3", "--json"], standalone_mode=False)
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads((run / "theory" / "theory.json").read_text())
    assert content["prototypes"] == {"n": 4, "certified": True}
    # D copies z to 8 x 8 pixels, its first coordinate to two channels.
    assert content["decoder"]["lipschitz"] == pytest.approx((2 * 64) ** 0.5, rel=1e-3)
    assert content["bound"]["digits"]["n"] == 6
    assert all(one["gradient"] == "holds" for one in content["field"])  # f acts on each coordinate by itself
    # Proposition A.9 on both coordinates tanh(2 z), whose slope at the attractors is 2 (1 - 0.9575^2) = 0.1664.
    steps = content["convergence"]
    assert (steps["starts"], steps["attractors"]) == (12, 4)
    assert steps["radius"] == pytest.approx([0.1664] * steps["used"], abs=1e-3)
    assert (run / "theory" / "figures" / "convergence.png").read_bytes().startswith(b"\x89PNG")
    assert "Proposition A.9" in (run / "theory" / "theory.html").read_text()
    assert {path.name for path in (run / "theory").iterdir()} == {"figures", "theory.html", "theory.json", "theory.md"}
    assert (run / "theory" / "figures" / "score.png").read_bytes().startswith(b"\x89PNG")
    app(["theory", str(run), "--points", "3"], standalone_mode=False)
    assert "the bound holds: 6 of 6" in capsys.readouterr().out


def test_on_a_terminal_it_prints_tables(run, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    app(["theory", str(run), "--points", "2"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "the bound holds: 6 of 6" in shown
    assert "| digits" not in shown
    assert re.search(r"^ +digits +6 ", shown, re.M)


def test_mistakes(run, tmp_path, capsys):
    assert main(["theory", str(tmp_path)]) == 2
    assert "is not the directory of a run" in capsys.readouterr().err
    manifest = json.loads((run / "manifest.json").read_text())
    changed = {**manifest["data"]["digits"], "sha256": "0" * 64}
    (run / "manifest.json").write_text(json.dumps({**manifest, "data": {"digits": changed}}))
    try:
        assert main(["theory", str(run)]) == 2
        assert "'digits' has changed" in capsys.readouterr().err
    finally:
        (run / "manifest.json").write_text(json.dumps(manifest))


def test_the_two_commands_that_replace_probe_convergence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wells here.py").write_text(WELLS.replace("8, 8", "32, 32"))
    assert main(["convergence", "python:wells here.py:load"]) == 2
    probe_run, probe_theory, _ = re.findall("`(probe (?:run|theory|study) .*?)`", capsys.readouterr().err)
    smaller = "--set seeds.count=16 --set datasets.digits.n=8 --set datasets.digits.holdout=8"
    for command in (f"{probe_run} {smaller}", f"{probe_theory} --points 2"):
        app(shlex.split(command)[1:], standalone_mode=False)
    content = json.loads((tmp_path / "runs" / "convergence" / "theory" / "theory.json").read_text())
    assert (content["convergence"]["starts"], content["convergence"]["attractors"]) == (16, 4)
