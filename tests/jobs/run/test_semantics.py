"""A run with CLIP, from noise to the report: its numbers against open_clip, and without the extra."""

import importlib.util
import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from jobs.run.directory import RunDirectory
from probe import load_autoencoder
from probe.config import ClipConfig, load_config
from probe.data.load import load_images
from probe.dynamics import gaussian_starts
from probe.errors import UserError
from probe.semantics import MISSING
from probe.semantics.clip import load_clip

from ..conftest import configure, do


@pytest.fixture
def config(tmp_path: Path, tiny_clip: Path) -> Path:
    return with_clip(tmp_path, tiny_clip)


def with_clip(folder: Path, clip: Path) -> Path:
    """The configuration file of a run on the map with CLIP."""
    config = configure(folder)
    settings = yaml.safe_load(config.read_text())
    settings["clip"] = {"model": f"local-dir:{clip}", "pretrained": None, "labels": ["cat", "grid", "red"]}
    # CLIP sees every reconstruction of every method: few images and one level are enough.
    settings["datasets"] = {name: {"n": 5, "holdout": 4} for name in settings["datasets"]}
    settings["sparse"]["levels"] = [1]
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    return config


def change(config: Path, clip: dict | None = None, **keys) -> None:
    """Other values of these keys, and of keys of ``clip``."""
    settings = yaml.safe_load(config.read_text()) | keys
    settings["clip"] |= clip or {}
    config.write_text(yaml.safe_dump(settings, sort_keys=False))


def whole(config: Path, out: Path) -> dict:
    return do(RunDirectory.create(out, load_config(config)))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, tiny_clip: Path) -> Path:
    """The folder of a finished run with CLIP, ``out``, and of its configuration."""
    folder = tmp_path_factory.mktemp("seen")
    whole(with_clip(folder, tiny_clip), folder / "out")
    return folder


@pytest.fixture
def out(seen: Path, tmp_path: Path) -> Path:
    """That run, as a test's own."""
    return Path(shutil.copytree(seen / "out", tmp_path / "out"))


def reported(run: Path) -> dict:
    return json.loads((run / "report" / "report.json").read_text())


def test_a_run_with_clip(seen: Path, out: Path, tiny_clip: Path):
    config, report = seen / "own.yaml", reported(out)
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
    noise = [model.to_pixels(model.decode(gaussian_starts(1, range(i, i + 64), (3, 4, 4)))) for i in range(0, 256, 64)]
    of_noise = (clip.images(torch.cat(noise) / 255) @ clip.words(["cat", "grid", "red"]).T).amax(1)
    assert seen["label_similarity"]["noise"] == pytest.approx(float(of_noise.quantile(0.5)), abs=1e-3)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    again = whole(config, out)  # finds everything done
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert again["semantics"] == seen


def test_labels_are_chosen_anew_where_the_file_of_words_has_changed(config: Path, tmp_path: Path):
    """A finished run is reported again also where the file is gone."""
    words = tmp_path / "words.txt"
    words.write_text("cat\ngrid\n")
    change(config, clip={"labels": str(words)})
    first = whole(config, tmp_path / "out")
    tables = (tmp_path / "out" / "reconstructions" / "digits.parquet").stat().st_mtime_ns
    words.write_text("ship\nring\n")
    second = whole(config, tmp_path / "out")
    assert {atom["label"] for atom in first["gallery"]} <= {"cat", "grid"}
    assert {atom["label"] for atom in second["gallery"]} <= {"ship", "ring"}
    assert first["semantics"]["words_sha256"] != second["semantics"]["words_sha256"]
    assert (tmp_path / "out" / "reconstructions" / "digits.parquet").stat().st_mtime_ns == tables
    words.unlink()
    assert do(RunDirectory.open(tmp_path / "out"), "report")["semantics"] == second["semantics"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "local-dir:nowhere"}, "holds no"),
        ({"labels": "nowhere.txt"}, "cannot be read"),
        ({"labels": ["one"]}, "two words"),
    ],
)
def test_a_mistake_is_found_before_anything_is_iterated(config: Path, tmp_path: Path, wrong: dict, said: str):
    change(config, clip=wrong)
    with pytest.raises(UserError, match=said):
        whole(config, tmp_path / "out")
    assert not list((tmp_path / "out").glob("attractors/*"))


def test_without_images_points_are_labelled_all_the_same(config: Path, tmp_path: Path):
    change(config, datasets={})
    report = whole(config, tmp_path / "out")
    assert {atom["label"] for atom in report["gallery"]} <= {"cat", "grid", "red"}
    assert {atom["nearest"] for atom in report["gallery"]} == {None}


def test_decoded_noise_is_seen_as_small_as_end_points(seen: Path, out: Path, monkeypatch):
    from jobs.run import semantics

    shown = []
    monkeypatch.setattr(semantics, "picture", lambda images: shown.append(len(images)) or images)
    (out / "semantics.safetensors").unlink()
    whole(seen / "own.yaml", out)
    assert sum(shown) == 256


def test_what_was_seen_is_kept_where_the_extra_is_missing_afterwards(seen: Path, out: Path, monkeypatch):
    first, find = reported(out), importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "open_clip" else find(name))
    second = whole(seen / "own.yaml", out)
    for report in (first, second):
        assert report["datasets"]["digits"]["autoencoder_floor"]["clip"]["mean"] is not None
    assert first["semantics"] == second["semantics"]


@pytest.mark.busy(40)
def test_two_ranks_see_what_one_does(seen: Path, tmp_path: Path, start):
    assert start(seen / "own.yaml", "--out", tmp_path / "two", ranks=2).wait() == [0, 0]
    alone, together = reported(seen / "out"), reported(tmp_path / "two")
    flat = [
        pd.json_normalize(report["semantics"]).drop(columns="unrelated", errors="ignore")
        for report in (alone, together)
    ]
    pd.testing.assert_frame_equal(*flat, atol=1e-4)
    assert [atom["label"] for atom in alone["gallery"]] == [atom["label"] for atom in together["gallery"]]
    rows = [
        pq.read_table(run / "reconstructions" / "digits.parquet").to_pandas()["clip"]
        for run in (seen / "out", tmp_path / "two")
    ]
    assert rows[0].to_numpy() == pytest.approx(rows[1].to_numpy(), abs=1e-4)


def test_without_the_extra_the_report_says_how_to_get_it(config: Path, tmp_path: Path, monkeypatch, caplog):
    find = importlib.util.find_spec

    def without(name, *more):
        return None if name == "open_clip" else find(name, *more)

    monkeypatch.setattr("importlib.util.find_spec", without)
    out = tmp_path / "out"
    report = whole(config, out)
    assert report["semantics"]["missing"] == MISSING
    assert MISSING in caplog.text
    assert MISSING.split(";")[0] in (out / "report" / "report.html").read_text()
    monkeypatch.undo()
    assert whole(config, out)["semantics"]["words"] == 3  # and once it is there, the same command adds what is missing


def test_without_clip_nothing_is_said_of_it(run_of_one: Path):
    report = reported(run_of_one)
    assert report["semantics"] is None
    assert "label" not in json.dumps(report["gallery"]) or report["gallery"][0]["label"] is None
    assert not (run_of_one / "semantics.safetensors").exists()
