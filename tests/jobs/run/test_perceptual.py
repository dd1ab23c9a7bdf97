"""A run with LPIPS and rFID, to the report: against the metrics by themselves, and without their weights."""

import json
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from jobs.run.directory import RunDirectory
from jobs.run.reconstruct import _same_on_all_ranks
from probe import load_autoencoder
from probe.config import load_config
from probe.data.load import load_images
from probe.errors import UserError
from probe.metrics.frechet import frechet, load_inception
from probe.metrics.perceptual import load_lpips

from ..conftest import do


@pytest.fixture(autouse=True)
def _first_layer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Inception's first features are enough, and no cache of this machine is looked into."""
    monkeypatch.setattr("probe.studies.perceptual.load_inception", partial(load_inception, layer="64"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))


@pytest.fixture
def config(own: Path, random_alexnet: Path, random_inception: Path) -> Path:
    settings = yaml.safe_load(own.read_text())
    settings["perceptual"] = {"lpips": str(random_alexnet), "inception": str(random_inception)}
    settings["resolution"] = 32  # LPIPS needs 31
    settings["datasets"] = {"digits": {"n": 5, "holdout": 4}}  # two parts of 4 and 1
    settings["sparse"] |= {"levels": [1], "controls": ["random_orthogonal"], "random_bases": 2}
    settings["seeds"]["count"], settings["basins"] = 12, {"probes": 0, "attractors": 0}
    own.write_text(yaml.safe_dump(settings))
    return own


def whole(config: Path, out: Path, *overrides: str) -> dict:
    return do(RunDirectory.create(out, load_config(config, overrides)))


def test_a_run_with_both(config: Path, tmp_path: Path, random_alexnet: Path, random_inception: Path):
    out = tmp_path / "out"
    digits = whole(config, out)["datasets"]["digits"]
    settings = load_config(config)
    lpips, inception = load_lpips("alex", str(random_alexnet)), load_inception(str(random_inception), layer="64")
    images = load_images("digits", settings.datasets["digits"], resolution=32).images
    model = load_autoencoder(settings.model)
    with torch.no_grad():
        decoded = model.decode(model.encode(model.from_pixels(images)))
    expected = lpips(images / 255, (decoded.clamp(-1, 1) + 1) / 2)
    rows = pq.read_table(out / "reconstructions" / "digits.parquet").to_pandas()
    alone = rows[rows.method == "autoencoder"].sort_values("image")
    assert alone["lpips"].to_numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert (rows["lpips"] >= 0).all()
    assert digits["autoencoder_floor"]["lpips"]["mean"] == pytest.approx(float(expected.mean()), abs=1e-5)
    assert digits["levels"][0]["methods"]["attractors"]["lpips"]["mean"] > 0
    found = digits["perception"]
    distance = frechet(inception(images), inception(model.to_pixels(decoded))).mean
    assert found["rfid"]["mean"] == pytest.approx(distance, rel=1e-4)
    assert (found["rfid"]["n"], found["rfid"]["ci95"], found["missing"]) == (5, None, [])
    assert found["protocols"]["lpips"]["sha256"] == lpips.sha256
    page, text = ((out / "report" / f"report.{kind}").read_text() for kind in ("html", "md"))
    for rendering in (page, text):
        assert "rFID of the autoencoder alone: " in rendering
        assert f"LPIPS 0.1: AlexNet, alexnet.safetensors (sha256 {lpips.sha256[:12]})" in rendering
    assert "| LPIPS |" in text


def test_what_is_missing_is_said_and_what_was_seen_is_kept(
    config: Path, tmp_path: Path, caplog, monkeypatch, random_alexnet: Path
):
    out = tmp_path / "out"
    digits = whole(config, out, "perceptual.inception=null")["datasets"]["digits"]
    assert digits["perception"]["rfid"] is None
    assert "perceptual.inception=FILE" in digits["perception"]["missing"][0]
    assert "no rFID" in caplog.text
    assert "No rFID: the weights of" in (out / "report" / "report.md").read_text()
    table = out / "reconstructions" / "digits.parquet"
    before = table.read_bytes()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # as without the extra
    again = whole(config, out, "perceptual.inception=null")["datasets"]["digits"]
    assert table.read_bytes() == before
    assert again["autoencoder_floor"]["lpips"]["mean"] == digits["autoencoder_floor"]["lpips"]["mean"]


def test_other_weights_are_seen(config: Path, tmp_path: Path, random_alexnet: Path):
    """The file has other content than when the run was made: what they judged is made again."""
    from safetensors.torch import load_file, save_file

    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(random_alexnet.read_bytes())
    asked = (f"perceptual.lpips={weights}", "perceptual.inception=null")
    before = whole(config, tmp_path / "out", *asked)["datasets"]["digits"]["autoencoder_floor"]
    save_file({name: -value for name, value in load_file(weights).items()}, weights)
    after = whole(config, tmp_path / "out", *asked)["datasets"]["digits"]["autoencoder_floor"]
    assert after["lpips"]["mean"] != before["lpips"]["mean"]
    assert after["psnr"] == before["psnr"]


def test_a_mistake_is_found_before_anything_is_iterated(config: Path, tmp_path: Path):
    with pytest.raises(UserError, match="there is no such file"):
        whole(config, tmp_path / "out", "perceptual.lpips=nowhere.pth")
    assert not list((tmp_path / "out").glob("attractors/*"))
    assert "perceptual" in json.dumps(yaml.safe_load((tmp_path / "out" / "config.yaml").read_text()))


def test_ranks_must_have_the_same_weights():
    _same_on_all_ranks({"lpips": "a", "inception": ""}, {"lpips": "a", "inception": ""}, 1)
    with pytest.raises(UserError, match="rank 1 has other weights for lpips than rank 0"):
        _same_on_all_ranks({"lpips": "", "inception": ""}, {"lpips": "a", "inception": ""}, 1)
