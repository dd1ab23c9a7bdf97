"""The recipes of docs/developing/recipes.md: a metric and a control, one tuple entry each, from run to report."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from probe import methods, plugins
from probe.cli.main import app
from probe.config import load_config
from probe.errors import Failure, UserError
from probe.report.run.schema import Report


@pytest.fixture(scope="module")
def recipes(root: Path) -> dict[str, Any]:
    """What the Python blocks of the page define."""
    page = (root / "docs" / "developing" / "recipes.md").read_text()
    defined: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(compile(block, "recipes.md", "exec"), defined)
    return defined


@pytest.fixture
def config(root: Path, tmp_path: Path) -> Path:
    """A tiny run: d = 12, two attractors, twelve images."""
    settings = yaml.safe_load((root / "tests" / "jobs" / "finished" / "run.yaml").read_text())
    settings["model"]["source"] = f"python:{root}/tests/jobs/finished/tiny.py:load"
    settings["sparse"] = {"levels": [1, 12], "batch_size": 4, "random_bases": 2}
    settings["datasets"] = {"digits": {"n": 12, "holdout": 2}}
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def test_a_metric_and_a_control_take_one_entry_each(recipes, config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(methods, "METRICS", (*methods.METRICS, recipes["PIXEL_MAE"]))
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, recipes["IDENTITY"]))
    run = tmp_path / "run"
    app(["run", str(config), "--out", str(run)], standalone_mode=False)
    app(["export", str(run), "--out", str(tmp_path)], standalone_mode=False)
    assert "identity" in capsys.readouterr().out  # the table in the terminal

    assert yaml.safe_load((run / "config.yaml").read_text())["sparse"]["controls"][-1] == "identity"
    rows = pd.read_parquet(run / "reconstructions" / "digits.parquet")
    known = {"autoencoder", "zero_code", "mean_image", *methods.methods()}
    assert set(rows.method) == known - {"matched_gaussian"}  # two attractors have no covariance
    # The mean of |e| is between 0 and the root of the mean of e^2, and equal to it where all e are equal.
    assert ((rows.pixel_mae >= 0) & (rows.pixel_mae <= rows.pixel_mse**0.5 + 1e-9)).all()
    assert rows.pixel_mae.max() > 0.05
    whole = rows[(rows.method == "identity") & (rows.atoms == 12)]
    assert whole.latent_mse.max() < 1e-9  # all coordinates are a complete basis

    content = json.loads((run / "report" / "report.json").read_text())
    data = content["datasets"]["digits"]
    mean = rows[(rows.method == "identity") & (rows.atoms == 1)].pixel_mae.mean()
    assert data["levels"][0]["methods"]["identity"]["pixel_mae"]["mean"] == pytest.approx(mean)
    floor = rows[rows.method == "autoencoder"].pixel_mae.mean()
    assert data["autoencoder_floor"]["pixel_mae"]["mean"] == pytest.approx(floor)
    assert data["sanity"]["zero_code"]["pixel_mae"]["mean"] > 0
    assert "pixel_mae" in data["levels"][0]["methods"]["random_orthogonal"]["bases"]
    # By latent and by pixel MSE with every method but the first.
    assert content["provenance"]["statistics"]["comparisons"] == 2 * (len(data["levels"][0]["methods"]) - 1)
    assert "the transform from the weights and the standard basis" in content["verdict_rule"]
    assert Report.model_validate(content).datasets["digits"].levels[0].methods["identity"].of(
        "pixel_mae"
    ).mean == pytest.approx(mean)

    page = (run / "report" / "report.md").read_text()
    assert re.search(r"\| at 1 atom \|.* pixel MAE \|", page)
    assert re.search(r"\| identity \| 1 \|", page)
    html = (run / "report" / "report.html").read_text()
    assert '<option value="pixel_mae">pixel MAE</option>' in html
    assert "one atom per latent coordinate" in html
    assert "#F0E442" in html
    levels = pd.read_csv(tmp_path / "levels.csv")
    found = levels[(levels.method == "identity") & (levels.metric == "pixel_mae") & (levels.atoms == 1)]
    assert found["mean"].item() == pytest.approx(mean)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package, as its metadata says, with one module and entry points that a test writes."""
    site = tmp_path / "site"
    (site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(site)
    plugins.loaded.cache_clear()
    plugins._warn.cache_clear()
    yield site
    sys.modules.pop("theirs", None)
    plugins.loaded.cache_clear()


def install(site: Path, code: str, **entries: str) -> None:
    (site / "theirs.py").write_text(code)
    lines = [f"{name} = theirs:{value}" for name, value in entries.items()]
    (site / "theirs-1.0.dist-info" / "entry_points.txt").write_text("\n".join(["[probe.plugins]", *lines, ""]))


TOYS = """
from probe.methods import Material, Method, Metric

def fails(_):
    raise RuntimeError("no such luck")

METRIC = Metric("toy_metric", "toy", "a toy", function=fails)
METHOD = Method("toy", "toy", "a toy", "a toy", build=fails)
TAKEN = Method("dct", "mine", "mine", "mine", build=fails)
"""


def test_plug_ins_are_found_and_their_controls_take_part_when_named(package):
    install(package, TOYS, metric="METRIC", method="METHOD")
    assert "toy_metric" in methods.metrics()
    assert list(methods.methods())[-1] == "toy"
    assert "toy" not in load_config(None).sparse.controls
    assert load_config(None, ["sparse.controls=[toy]"]).sparse.controls == ("toy",)
    with pytest.raises(Failure, match=r"^Metric 'toy_metric' of a plug-in failed: RuntimeError: no such luck\.$"):
        plugins.call(methods.metrics()["toy_metric"], methods.metrics()["toy_metric"].function, None)


def test_a_broken_plug_in_is_one_warning(package, caplog):
    install(package, TOYS, absent="NOTHING", other="fails", taken="TAKEN")
    with caplog.at_level(logging.WARNING, "probe"):
        for _ in range(2):
            assert methods.methods()["dct"].label == "DCT"
    assert [record.message for record in caplog.records] == [
        "warning: plug-in 'absent' (theirs:NOTHING) is ignored: it cannot be loaded (AttributeError: module 'theirs' "
        "has no attribute 'NOTHING').",
        "warning: plug-in 'other' (theirs:fails) is ignored: it is none of Method, Metric, Source.",
        "warning: Method 'dct' of a plug-in is ignored: the name is taken.",
    ]


def test_a_name_must_be_a_key(recipes):
    with pytest.raises(ValueError, match="becomes a column and a key"):
        methods.Metric("pixel/mae", "x", "x", function=recipes["pixel_mae"])


def test_an_unknown_control_names_the_known_ones():
    with pytest.raises(UserError, match="controls are random_orthogonal, random_mean, matched_gaussian"):
        load_config(None, ["sparse.controls=[toy]"])
