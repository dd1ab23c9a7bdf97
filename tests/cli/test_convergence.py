"""``probe convergence`` of a model and of a run, ``probe contraction``: files, numbers, mistakes."""

import json

import pytest
import yaml

from probe.cli.main import app, main

WELLS = """
import torch


class Wells:  # the first two pixels are the latent, and each runs to +-0.9575
    image_range = (0.0, 1.0)

    def encode(self, x):
        return torch.tanh(2 * x.flatten(1)[:, :2])

    def decode(self, z):
        return torch.cat([z, z.new_zeros(len(z), 3 * 8 * 8 - 2)], 1).view(-1, 3, 8, 8)


def load():
    return Wells()
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "wells_for_convergence.py"
    file.write_text(WELLS)
    return f"python:{file}:load"


def test_of_a_model(source, tmp_path, capsys):
    settings = ["--set", "resolution=8", "--set", "seeds.count=30", "--set", "solver.tolerance=1e-9"]
    app(["convergence", source, *settings, "--out", str(tmp_path), "--json"], standalone_mode=False)
    content = json.loads(capsys.readouterr().out)
    assert (content["starts"], content["attractors"], len(content["actual"])) == (30, 4, content["used"])
    assert set(map(round, content["radius"], [3] * 30)) == {0.166}
    assert content == json.loads((tmp_path / "convergence.json").read_text())
    assert (tmp_path / "convergence.png").read_bytes().startswith(b"\x89PNG")


def test_of_a_run(source, tmp_path, capsys):
    config, run, out = tmp_path / "wells.yaml", tmp_path / "run", tmp_path / "out"
    settings = {"model": {"source": source}, "resolution": 8, "seeds": {"count": 30}, "solver": {"accelerate": False}}
    config.write_text(yaml.safe_dump(settings))
    app(["run", str(config), "--out", str(run)], standalone_mode=False)
    capsys.readouterr()
    app(["convergence", str(run), "--out", str(out)], standalone_mode=False)
    assert "starts ended in certified attractors (4)" in capsys.readouterr().out
    assert json.loads((out / "convergence.json").read_text())["starts"] == 30
    assert main(["convergence", str(run), "--set", "seeds.count=3", "--out", str(out)]) == 2
    assert "--set changes nothing" in capsys.readouterr().err


def test_contraction(tmp_path, capsys):
    app(["contraction", "ConvAutoencoder, k = 2", "--seeds", "2", "--samples", "4", "--out", str(tmp_path)],
        standalone_mode=False)  # fmt: skip
    assert capsys.readouterr().out == (tmp_path / "contraction.md").read_text()
    content = json.loads((tmp_path / "contraction.json").read_text())
    assert [len(one["latents"]["ratios"]) for one in content["architectures"]] == [2]
    assert main(["contraction", "nothing"]) == 2
    assert "no architecture 'nothing'" in capsys.readouterr().err
