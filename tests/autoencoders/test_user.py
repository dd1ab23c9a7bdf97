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
    from probe.data.load import load_images

    monkeypatch.chdir(root)
    model = load_autoencoder("python:tests/models/taef2.py:load")
    assert model.latent_shape(32) == (32, 4, 4)
    spec = DatasetConfig(source=f"parquet:{shared}/data/six/laion_standin_coco.parquet", n=8, holdout=0)
    x = load_images("coco", spec, resolution=128).images / 255
    with torch.no_grad():
        error = (model.decode(model.encode(x)).clamp(0, 1) - x).square().mean()
    assert -10 * torch.log10(error) > 24  # a wrong layer or order of layers gives noise, below 12 dB


LEAVING = """
import sys, os
import torch
{top}

class Own:
    def encode(self, x):
        {encode}
        return torch.nn.functional.avg_pool2d(x, 4)
    def decode(self, z):
        {decode}
        return torch.nn.functional.interpolate(z, scale_factor=4)

class Stop(BaseException):
    pass

def load():
    {load}
    return Own()
"""


@pytest.mark.parametrize("leave", ["sys.exit(0)", "quit()", "raise SystemExit", "raise GeneratorExit", "exit(1)"])
@pytest.mark.parametrize("place", ["top", "load", "encode", "decode"])
def test_code_that_leaves_is_a_mistake(tmp_path, leave, place):
    file = tmp_path / "leaves.py"
    file.write_text(LEAVING.format(**{**dict.fromkeys(("top", "load", "encode", "decode"), "pass"), place: leave}))
    before = {*sys.modules}
    with pytest.raises(UserError, match=rf"leaves\.py.*{'GeneratorExit' if 'Gen' in leave else 'SystemExit'}"):
        load_autoencoder(f"python:{file}:load").latent_shape(16)
    assert place != "top" or {one for one in sys.modules if one.startswith("probe_user_")} <= before


def test_exceptions_of_ones_own_are_contained_and_interrupts_are_not(tmp_path):
    file = tmp_path / "leaves.py"
    empty = dict.fromkeys(("top", "load", "encode", "decode"), "pass")
    file.write_text(LEAVING.format(**{**empty, "decode": "raise Stop('now')"}))
    with pytest.raises(UserError, match=r"decode\(\) raised Stop: now"):
        load_autoencoder(f"python:{file}:load").latent_shape(16)
    file.write_text(LEAVING.format(**{**empty, "encode": "import typer; raise typer.Exit(0)"}))
    with pytest.raises(UserError, match=r"encode\(\) raised Exit"):
        load_autoencoder(f"python:{file}:load").latent_shape(16)
    for place in ("top", "load", "encode"):
        file.write_text(LEAVING.format(**{**empty, place: "raise KeyboardInterrupt"}))
        with pytest.raises(KeyboardInterrupt):
            load_autoencoder(f"python:{file}:load").latent_shape(16)


MINIMAL = """
import torch
from dataclasses import dataclass

@dataclass
class {name}:
    side: "int" = 4
    def encode(self, x):
        return x
    decode = encode

def load():
    return {name}()
"""


def test_two_files_of_one_stem_and_names_of_libraries(tmp_path):
    import json as library

    for folder, stem in (("one", "same"), ("two", "same"), ("three", "torch"), ("four", "json")):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / f"{stem}.py"
        file.write_text(MINIMAL.format(name=folder.title()))
        assert load_autoencoder(f"python:{file}:load").class_name == folder.title()
        assert load_autoencoder(f"python:{file}:load").encode(torch.ones(1)) == 1
    assert sys.modules["json"] is library
    assert sys.modules["torch"] is torch
    assert "same" not in sys.modules


def test_what_python_compiled_before_is_not_run(tmp_path):
    import os
    import py_compile

    file = tmp_path / "model.py"
    file.write_text(MINIMAL.format(name="Evil"))
    py_compile.compile(str(file), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    file.write_text(MINIMAL.format(name="Good"))
    os.utime(file, (1e9, 1e9))
    assert load_autoencoder(f"python:{file}:load").class_name == "Good"


def test_a_module_of_another_folder_is_not_taken_for_this_one(tmp_path, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "probe_twin.py").write_text(MINIMAL.format(name=folder.title()))
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.chdir(tmp_path / "one")
    assert load_autoencoder("python:probe_twin:load").class_name == "One"
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path / "one")])
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(UserError, match=r"probe_twin is taken by another module \(.*one/probe_twin\.py\)"):
        load_autoencoder("python:probe_twin:load")
    (tmp_path / "two" / "json.py").write_text(MINIMAL.format(name="Json"))
    with pytest.raises(UserError, match="json is taken by another module"):
        load_autoencoder("python:json:load")
    sys.modules.pop("probe_twin")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("def load(device): return 1", "takes arguments"),
        ("def load(): pass", "returned None; return an object"),
        ("class A:\n def encode(self, x): return x\n decode = encode\ndef load(): return A", "the class A, not an obj"),
        ("import torch\nload = torch.nn.Linear(1, 1)", "load is a model; name a function"),
        ("from . import sibling", "relative import.*name the module"),
        ("import sibling_beside", r"No module named 'sibling_beside'; set PYTHONPATH="),
        ("def load(:", "SyntaxError"),
        ("\0", "fails at import"),
    ],
)
def test_files_that_are_no_models_are_one_sentence(tmp_path, lines, message):
    (tmp_path / "odd.py").write_text(lines)
    (tmp_path / "sibling_beside.py").write_text("")
    with pytest.raises(UserError, match=message) as caught:
        load_autoencoder(f"python:{tmp_path}/odd.py:load")
    assert "\n" not in str(caught.value)
