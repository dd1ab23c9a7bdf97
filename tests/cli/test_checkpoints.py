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
    assert "has no subfolder with a config.json" in capsys.readouterr().err


def test_the_cost_is_said_beforehand_and_parts_are_named(tmp_path, capsys, monkeypatch):
    parts = []
    monkeypatch.setattr("probe.cli.watch.Watch.say", lambda watch, part: parts.append((part, watch)))
    torch.manual_seed(1)
    ConvAutoencoder(1, 16, 2, 3).save_pretrained(tmp_path / "models" / "epoch-0001")
    command = ["checkpoints", str(tmp_path / "models"), *DATA, "--out", str(tmp_path / "out")]
    app([*command, "--set", "solver.max_steps=40"], standalone_mode=False)
    most = 4 * 5 * (2 * 41 + 70)
    said = capsys.readouterr().err
    assert "1 models, up to 5 starts of each of 4 kinds, each iterated twice for at most 40 steps" in said
    assert f"up to about {most:,} evaluations of f" in said
    kinds = ("train", "test", "noise", "noise_images")
    whats = ("end points", "trajectories", "norms of the Jacobian")
    assert [part for part, _ in parts] == [f"epoch-0001, {what} of {kind}" for what in whats for kind in kinds]
    assert 4 * 5 * 2 < parts[0][1].done <= most
