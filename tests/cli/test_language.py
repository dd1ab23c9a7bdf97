"""``probe language`` on a GPT-2 with random weights: its files, and what it refuses."""

import json

import pytest
import torch

from probe.cli.main import app, main

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("gpt2")
    config = transformers.GPT2Config(
        vocab_size=32, n_positions=16, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(path)
    return str(path)


def test_of_a_model(folder, tmp_path, capsys):
    settings = ["--set", "seeds.count=3", "--set", "solver.max_steps=12"]
    app(["language", folder, "--tokens", "5 17, 3", *settings, "--out", str(tmp_path), "--json"], standalone_mode=False)
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads((tmp_path / "language.json").read_text())
    assert (content["token_ids"], content["prompt"], content["tokens"]) == ([5, 17, 3], None, 3)
    assert [one["n"] for one in content["kinds"].values()] == [1, 3]
    assert all(len(row) == 13 for one in content["kinds"].values() for row in one["residual"] + one["norm"])
    assert all(sum(one["outcomes"].values()) == one["n"] for one in content["kinds"].values())
    assert (tmp_path / "language.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "language.md").read_text()
    assert page.startswith("# GPT2LMHeadModel, ")
    assert "| 12 |" in page


def test_text_needs_a_tokenizer(folder, tmp_path, capsys):
    assert main(["language", folder, "--out", str(tmp_path)]) == 2
    assert "give --tokens" in capsys.readouterr().err
    assert main(["language", folder, "--tokens", "one", "--out", str(tmp_path)]) == 2
    assert "whole numbers" in capsys.readouterr().err
    assert main(["language", folder, "--tokens", "1", "--set", "solver.steps=3"]) == 2
    assert "solver.steps" in capsys.readouterr().err
