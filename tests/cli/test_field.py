"""``probe field`` on the paper's autoencoder with k = 2 and on a wider one."""

import json

import pytest
import torch

from probe.autoencoders.convolutional import ConvAutoencoder
from probe.cli.main import app, main


def field(capsys, *arguments: str) -> tuple[str, str]:
    """stdout and stderr of a command that succeeds."""
    app(["field", *arguments], standalone_mode=False)
    return capsys.readouterr()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two autoencoders of grey images of 16 px, k = 2 and 3, random weights."""
    home = tmp_path_factory.mktemp("models")
    for k in (2, 3):
        torch.manual_seed(0)
        ConvAutoencoder(1, 16, 2, k).save_pretrained(home / str(k))
    return home


def test_files_and_numbers(folder, tmp_path, capsys):
    data = ["--data", "digits", "--n", "20", "--side", "8"]
    out, progress = field(capsys, str(folder / "2"), *data, "--points", "7", "--out", str(tmp_path))
    assert "certified attractor" in out
    assert "iterating 49 grid points" in progress
    assert (tmp_path / "field.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "field.svg").read_bytes()
    content = json.loads((tmp_path / "field.json").read_text())
    assert (content["d"], content["plane"]["projection"], len(content["norm"])) == (2, False, 7)
    assert content["model"]["class"] == "ConvAutoencoder"
    assert set(content["data"]["labels"]) <= set("0123456789")
    assert len(content["data"]["coordinates"]) == 20
    wider, _ = field(capsys, str(folder / "3"), *data, "--points", "5", "--out", str(tmp_path), "--json")
    assert json.loads(wider)["plane"]["of"] == "data"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "photographs"], "takes grey images"),
        (["--data", "digits", "--side", "32"], "do not fit"),
        (["--data", "nonsense:x"], "unknown kind of source"),
        (["--set", "resolution=32"], "side 16 only"),
    ],
)
def test_mistakes(folder, tmp_path, capsys, arguments, message):
    assert main(["field", str(folder / "2"), *arguments, "--out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert (out, message in err) == ("", True), err
    assert not list(tmp_path.iterdir())
