"""``probe quality``: the tables, the JSON, and what is said about missing weights."""

import json
import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from probe.cli.main import app, main
from probe.config import DatasetConfig
from probe.data.load import load_images
from probe.metrics.frechet import load_inception
from probe.metrics.interval import mean_interval
from probe.report.quality import quality_report, set_quality, shown
from probe.report.quality.schema import QualityReport
from probe.studies.quality import OnePass

EMBEDDED = "embedded:cifar-attractors"
WITHOUT = """
import importlib.metadata as metadata, sys

absent, find = ("torchvision", "torch_fidelity", "lpips"), metadata.Distribution.from_name.__func__

def from_name(cls, name):
    if name.replace("-", "_") in absent:
        raise metadata.PackageNotFoundError(name)
    return find(cls, name)

sys.modules.update(dict.fromkeys(absent))  # an import of one of them fails, and libraries look into the metadata
metadata.Distribution.from_name = classmethod(from_name)
from probe.cli.main import main

sys.exit(main(["quality", "embedded:cifar-attractors", "--count", "3"]))
"""


def quality(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """stdout and stderr of a command that succeeds."""
    app(["quality", EMBEDDED, *arguments], standalone_mode=False)
    return capsys.readouterr()


@pytest.fixture(autouse=True)
def _no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))


def test_numbers_and_their_protocol(random_alexnet, random_inception, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("probe.studies.perceptual.load_inception", partial(load_inception, layer="64"))
    weights = ["--set", f"perceptual.lpips={random_alexnet}", "--set", f"perceptual.inception={random_inception}"]
    sets = ["--images", "photographs", "--images", "retina", "--count", "8"]
    out, err = quality(capsys, *sets, *weights, "--out", str(tmp_path), "--json")
    report = QualityReport.model_validate_json(out)
    assert json.loads(out) == json.loads((tmp_path / "quality.json").read_text())
    assert report.missing == []
    assert list(report.sets) == ["photographs", "retina"]
    rows = pd.read_csv(tmp_path / "images.csv")
    assert len(rows) == 16
    one = report.sets["photographs"]
    assert list(one.metrics) == ["pixel_mse", "psnr", "ssim", "lpips", "rfid"]
    mine = rows[rows.images == "photographs"]
    for name in ("psnr", "lpips"):
        expected = mean_interval(mine[name])
        assert one.metrics[name].mean == pytest.approx(expected.mean)
        assert one.metrics[name].ci95 == pytest.approx(expected.ci95)
        assert one.metrics[name].n == 8
    assert one.metrics["lpips"].protocol.weights == random_alexnet.name
    assert len(one.metrics["rfid"].protocol.sha256) == 64
    assert one.metrics["rfid"].protocol.pixels == "clamped, rounded to 8 bits"
    assert one.metrics["rfid"].ci95 is None  # of 8 images
    assert (one.images.resolution, one.images.n) == (32, 8)
    assert any("too large by a bias" in said for said in report.warnings)
    assert "too large by a bias" not in err  # it is in the JSON


def test_means_leave_out_what_is_not_finite_and_count_a_lossless_image_as_100_db(tmp_path, monkeypatch, capsys):
    (tmp_path / "one.py").write_text(ONE_IS_BROKEN)
    app(["quality", f"python:{tmp_path}/one.py:load", "--count", "4", "--json"], standalone_mode=False)
    report = QualityReport.model_validate_json(capsys.readouterr().out)
    (one,) = report.sets.values()
    assert one.not_finite == 1
    assert (one.metrics["psnr"].mean, one.metrics["psnr"].n) == (100.0, 3)
    assert "1 reconstruction not finite" in report.warnings[0]


def test_a_mean_leaves_lossless_images_out_where_others_are_not():
    images = load_images("tiles", DatasetConfig(source="bundled:photographs", n=4, holdout=0), resolution=16)
    for psnr, mean, n, lossless in (([18.1, math.inf, 17.8, math.nan], 17.95, 2, 1), ([math.inf] * 4, 100, 4, 4)):
        values = torch.tensor(psnr, dtype=torch.float64)
        one = set_quality(images, OnePass({"psnr": values}, None, ~values.isnan()), {}, eight_bits=False)
        found = one.metrics["psnr"]
        assert (found.mean, found.n, found.lossless) == (pytest.approx(mean), n, lossless)
        said = any("1 of 3 lossless" in text for text in quality_report({}, {"tiles": one}, (), {}).warnings)
        assert said == (n == 2)
        assert ("(1 of 3 lossless)" in next(iter(shown("tiles", one).columns[1].cells))) == said


ONE_IS_BROKEN = """
import torch
from PIL import Image

class Model(torch.nn.Module):
    image_range = (0.0, 1.0)

    def encode(self, x):
        return x

    def decode(self, z):
        return torch.where(torch.arange(len(z))[:, None, None, None] == len(z) - 1, torch.inf, z) if len(z) == 4 else z

def load():
    return Model()
"""


def test_the_rest_is_reported_without_weights(capsys):
    out, err = quality(capsys, "--count", "4", "--resolution", "64", "--eight-bits")
    assert "4 images (sha256" in out
    assert "64 px, central square, Pillow bicubic" in " ".join(out.split())
    assert "PSNR (dB)" in out
    assert "clamped, rounded to 8 bits" in " ".join(out.split())
    assert "LPIPS" not in out
    assert "no LPIPS: the weights of AlexNet are not in torch's cache; save https://" in err
    assert "no rFID: the weights of Inception" in err
    assert "--set perceptual.inception=FILE" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "perceptual.lpips=nowhere.pth"], "there is no such file"),
        (["--set", "perceptual.network=squeeze"], "perceptual.network"),
        (["--images", "nonsense:x"], "unknown kind of source"),
        (["--resolution", "30"], "not divisible"),
    ],
)
def test_mistakes(capsys, arguments, said):
    assert main(["quality", EMBEDDED, *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True), err


@pytest.mark.slow
def test_nothing_of_the_extra_is_needed():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "PSNR (dB)" in done.stdout
    for package, metric in (("torchvision", "LPIPS"), ("torch-fidelity", "rFID")):
        assert f"no {metric}: {package} is not installed; pip install 'latent-probe[perceptual]'" in done.stderr


def test_a_picture_that_cannot_be_read_is_named(tmp_path, capsys):
    for name in "abc":
        Image.new("RGB", (32, 32), (ord(name), 90, 10)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    out, _ = quality(capsys, "--images", f"folder:{tmp_path}", "--json")
    said = "\n".join(json.loads(out)["warnings"])
    assert "1 image could not be read (broken.png)" in said
    assert "3 of 500 planned images were used" in said
