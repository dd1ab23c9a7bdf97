"""A run with CLIP, from noise to the report: its numbers against open_clip, and without the extra."""

import importlib.util
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from jobs.run_directory import RunDirectory
from jobs.stages import Stages
from probe import load_autoencoder
from probe.config import ClipConfig, load_config
from probe.data import load_images
from probe.semantics import MISSING
from probe.semantics.clip import load_clip


@pytest.fixture
def config(own: Path, tiny_clip: Path) -> Path:
    settings = yaml.safe_load(own.read_text())
    settings["clip"] = {"model": f"local-dir:{tiny_clip}", "pretrained": None, "labels": ["cat", "grid", "red"]}
    own.write_text(yaml.safe_dump(settings, sort_keys=False))
    return own


def whole(config: Path, out: Path) -> dict:
    return Stages(RunDirectory.create(out, load_config(config))).all()


def test_a_run_with_clip(config: Path, tmp_path: Path, tiny_clip: Path):
    out = tmp_path / "out"
    report = whole(config, out)
    settings = load_config(config)
    clip = load_clip(ClipConfig(model=f"local-dir:{tiny_clip}"), torch.device("cpu"))
    images = load_images("digits", settings.datasets["digits"], resolution=settings.resolution).images
    model = load_autoencoder(settings.model)
    with torch.no_grad():
        decoded = model.decode(model.encode(model.from_pixels(images)))
    expected = (clip.images(images / 255) * clip.images((decoded.clamp(-1, 1) + 1) / 2)).sum(1)
    rows = pq.read_table(out / "reconstructions" / "digits.parquet").to_pandas()
    alone = rows[rows.method == "autoencoder"].sort_values("image")
    assert alone["clip"].to_numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert rows["clip"].between(-1.001, 1.001).all()
    digits = report["datasets"]["digits"]
    assert digits["autoencoder_floor"]["clip"]["mean"] == pytest.approx(float(expected.mean()), abs=1e-5)
    assert digits["sanity"]["mean_image"]["clip"]["mean"] is not None
    seen, gallery = report["semantics"], report["gallery"]
    assert seen["words"] == 3
    assert seen["weights_sha256"] == clip.sha256
    assert set(seen["unrelated"]) == set(report["datasets"])
    thumbnails = load_file(out / "gallery.safetensors")["thumbnails"]
    similarity = clip.images(thumbnails / 255) @ clip.words(["cat", "grid", "red"]).T
    for atom, row in zip(gallery, similarity, strict=True):
        assert atom["label"] == ["cat", "grid", "red"][int(row.argmax())]
        assert atom["label_similarity"] == pytest.approx(float(row.max()), abs=1e-5)
        assert atom["nearest"].split("/")[0] in report["datasets"]
    page = (out / "report" / "report.html").read_text()
    assert "Semantics" in page
    assert "## Semantics" in (out / "report" / "report.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    again = whole(config, out)  # finds everything done
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert again["semantics"] == seen


def test_without_the_extra_the_report_says_how_to_get_it(config: Path, tmp_path: Path, monkeypatch, caplog):
    find = importlib.util.find_spec

    def without(name, *more):
        return None if name == "open_clip" else find(name, *more)

    monkeypatch.setattr("importlib.util.find_spec", without)
    out = tmp_path / "out"
    report = whole(config, out)
    assert report["semantics"]["missing"] == MISSING
    assert MISSING in caplog.text
    assert MISSING.split(":")[0] in (out / "report" / "report.html").read_text()
    monkeypatch.undo()
    assert whole(config, out)["semantics"]["words"] == 3  # and once it is there, the same command adds what is missing


def test_without_clip_nothing_is_said_of_it(own: Path, tmp_path: Path):
    report = whole(own, tmp_path / "out")
    assert report["semantics"] is None
    assert "label" not in json.dumps(report["gallery"]) or report["gallery"][0]["label"] is None
    assert not (tmp_path / "out" / "semantics.safetensors").exists()
