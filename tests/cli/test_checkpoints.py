"""``probe checkpoints`` on a folder of two untrained autoencoders."""

import json

import torch

from probe.autoencoders.convolutional import ConvAutoencoder
from probe.cli.main import app, main

DATA = ("--train", "digits", "--test", "digits", "--side", "8", "--n", "5", "--memory", "12")


def test_files_and_numbers(tmp_path, capsys):
    for seed in (1, 2):
        torch.manual_seed(seed)
        ConvAutoencoder(1, 16, 2, 3).save_pretrained(tmp_path / "models" / f"epoch-{seed:04d}")
    out = tmp_path / "out"
    app(["checkpoints", str(tmp_path / "models"), *DATA, "--out", str(out), "--json"], standalone_mode=False)
    content = json.loads(capsys.readouterr().out)
    assert list(content["checkpoints"]) == ["epoch-0001", "epoch-0002"]
    assert content["images"]["train"]["n"] == 12
    assert content == json.loads((out / "checkpoints.json").read_text())
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("checkpoints.png", "film.png"))
    assert len((out / "checkpoints.md").read_text().splitlines()) == 4


def test_a_folder_without_models(tmp_path, capsys):
    assert main(["checkpoints", str(tmp_path), *DATA]) == 2
    assert "holds no folder with a config.json" in capsys.readouterr().err
