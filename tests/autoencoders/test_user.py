"""A user's own autoencoder, by module and by file."""

import sys

import pytest
import torch

from probe import load_autoencoder
from probe.errors import UserError

SOURCE = """
import torch

class Halve:
    image_range = (0.0, 1.0)
    scaling_factor = 2.0
    def __init__(self):
        self.pool = torch.nn.AvgPool2d(2)
        self.scale = torch.nn.Linear(1, 1)
    def encode(self, x):
        return self.pool(x)
    def decode(self, z):
        return torch.nn.functional.interpolate(z, scale_factor=2)

class NotClosed(Halve):
    def decode(self, z):
        return torch.nn.functional.interpolate(z, scale_factor=4)

class Strict(Halve):
    def encode(self, x):
        return self.scale(x)

def load():
    return Halve()

def fail():
    raise OSError("no weights here")

class Output(Halve):
    def encode(self, x):
        return {"latent": x}

class Coarse(Halve):
    def encode(self, x):
        return self.pool(x).bfloat16()

class BadRange(Halve):
    image_range = 2.0

def nothing():
    return object()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_autoencoder.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_autoencoder"
    sys.modules.pop("my_autoencoder", None)


@pytest.mark.parametrize("form", ["python:my_autoencoder:load", "python:my_autoencoder.py:load"])
def test_by_module_and_by_file(module, form):
    model = load_autoencoder(form)
    assert model.class_name == "Halve"
    assert model.image_range == (0.0, 1.0)
    assert model.scaling_factor == 2.0
    assert model.latent_shape(8) == (3, 4, 4)
    assert model.parameters() == 2
    assert len(model.weights_sha256()) == 64
    assert not model.modules[0].training


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("python:my_autoencoder:absent", "has no function 'absent'"),
        ("python:no_such_module:load", "No module named"),
        ("python:absent.py:load", "no such file"),
        ("python:load", "must read"),
        ("python:my_autoencoder:fail", "raised OSError: no weights here"),
        ("python:my_autoencoder:BadRange", "image_range must be 2 numbers"),
        ("python:my_autoencoder:nothing", r"object without encode\(\)"),
    ],
)
def test_mistakes_are_one_sentence(module, source, message):
    with pytest.raises(UserError, match=message):
        load_autoencoder(source)


def test_shapes_that_do_not_close_are_named(module):
    with pytest.raises(UserError, match=r"decodes the latent \(1, 3, 4, 4\).*to an image \(1, 3, 16, 16\)"):
        load_autoencoder("python:my_autoencoder:NotClosed").latent_shape(8)
    with pytest.raises(UserError, match="encode must return a tensor, not a dict"):
        load_autoencoder("python:my_autoencoder:Output").latent_shape(8)
    with pytest.raises(UserError, match="must keep the type"):
        load_autoencoder("python:my_autoencoder:Coarse").latent_shape(8)
    with pytest.raises(UserError, match=r"cannot encode a tensor of shape \(2, 3, 8, 8\)"):
        load_autoencoder("python:my_autoencoder:Strict").latent_shape(8)


@pytest.mark.shared
def test_the_real_taef2_reconstructs_photographs(shared, monkeypatch, root):
    from probe.config import DatasetConfig
    from probe.data import load_images

    monkeypatch.chdir(root)
    model = load_autoencoder("python:tests/models/taef2.py:load")
    assert model.latent_shape(32) == (32, 4, 4)
    spec = DatasetConfig(source=f"parquet:{shared}/data/six/laion_standin_coco.parquet", n=8, holdout=0)
    x = load_images("coco", spec, resolution=128).images / 255
    with torch.no_grad():
        error = (model.decode(model.encode(x)).clamp(0, 1) - x).square().mean()
    assert -10 * torch.log10(error) > 24  # a wrong layer or order of layers gives noise, below 12 dB
