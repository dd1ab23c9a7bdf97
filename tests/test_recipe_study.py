"""docs/developing/recipe-study.md: a new kind of study is a configuration, two files and two entries.

The toy kind asks whether small bottlenecks shrink the norm of latents of test images: its first part would be in
probe/studies/sweeps/kinds.py, its second probe/studies/sweeps/shrinkage.py, its third probe/report/study/shrinkage.py.
"""

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from pydantic import Field

from jobs.doing import STUDY
from jobs.study.directory import StudyDirectory
from jobs.study.stages import StudyWork
from probe import load_autoencoder
from probe.configuration import example, keys
from probe.errors import UserError
from probe.metrics.interval import mean_interval, verdict
from probe.report.study import kinds, study_table
from probe.report.study.page import Rule, StudyKind, StudyPage
from probe.report.study.schema import StudyClaim, TrainedModel
from probe.results.study import Found
from probe.studies.inputs import encode
from probe.studies.sweeps import kinds as configurations
from probe.studies.sweeps.config import GridConfig
from probe.studies.sweeps.datasets import draw
from probe.studies.sweeps.grid import Measured, Tell
from probe.studies.sweeps.grid import TrainedModel as Model
from probe.studies.sweeps.kinds import Study, parse_study_config

# --- probe/studies/sweeps/kinds.py: the configuration, and ``ASKED`` in ``STUDIES``


class ShrinkageConfig(GridConfig):
    """Norms of latents before and after one step of f."""

    study: Literal["shrinkage"] = Field(description="the kind of study")
    images: int = Field(8, ge=1, le=10**6, description="test images whose latents are measured")


ASKED = Study("shrinkage", ShrinkageConfig)

# --- probe/studies/sweeps/shrinkage.py: the measure


def measure(trained: Model, config: ShrinkageConfig, tell: Tell) -> Measured:
    """The ratio ||f(z)|| / ||z|| at latents z of test images."""
    tell(0.0, "norms of latents")
    model = trained.load()
    z = encode(model, trained.test[: config.images], trained.side)
    with torch.no_grad():
        ratio = model.encode(model.decode(z)).norm(dim=1) / z.norm(dim=1)
    return Measured({"ratio": float(ratio.mean())}, {"ratio": ratio})


# --- probe/report/study/shrinkage.py: the page


class Shrinkage(TrainedModel):
    """One model of a ``shrinkage`` study."""

    ratio: float = Field(description="mean of ||f(z)|| / ||z||")


def claims(found: Sequence[Found[Shrinkage]]) -> list[StudyClaim]:
    ratios = mean_interval(np.concatenate([one.arrays["ratio"] for one in found]))
    return [
        StudyClaim(
            name="shrinks",
            claim="one step of f shrinks latents",
            result=verdict(ratios, below=1),
            rule="ratio",
            statistic=ratios.mean,
            ci95=ratios.ci95,
            n=len(found),
            over="models",
        )
    ]


def figures(name, data, found, results) -> dict[str, Figure | None]:
    figure = Figure()
    figure.subplots().plot(
        [point.value for point in data.points], [point.columns["ratio"].mean for point in data.points]
    )
    return {name: figure}


PAGE = StudyPage(
    axis="k",
    model=Shrinkage,
    columns={"ratio": ("||f(z)|| / ||z||", lambda model: model.ratio)},
    note="Mean and standard deviation over seeds.",
    rules={"ratio": Rule("Latents shrink if the 95 % interval of the mean lies below 1.", statistic="mean ratio")},
    claims=claims,
    figures=figures,
)

KIND = StudyKind("shrinkage", measure, PAGE)

# --- probe/report/study/kinds.py: ``shrinkage.KIND`` in ``KINDS``

SETTINGS = {
    "study": "shrinkage",
    "datasets": {"digits": {"train": {"source": "bundled:digits", "n": 32}, "test": 8, "side": 16}},
    "k": [2, 3],
    "seeds": [0],
    "training": {"epochs": 1, "batch_size": 16, "base_channels": 2},
    "device": "cpu",
}


def test_a_new_kind_of_study_from_its_entry_to_its_page(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="there is no study 'shrinkage'"):
        parse_study_config(SETTINGS)
    monkeypatch.setattr(configurations, "STUDIES", (*configurations.STUDIES, ASKED))
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, KIND))
    directory = StudyDirectory.create(tmp_path, parse_study_config(SETTINGS))
    report = STUDY.all(StudyWork(directory))

    # The numbers are those of the models in the folder at the test images, drawn again.
    images = draw("digits", directory.config.data["digits"]).test.float() / 255
    assert [model["k"] for model in report["models"]] == [2, 3]
    assert len(list((tmp_path / "cells").iterdir())) == 2
    for one in report["models"]:
        (folder,) = (tmp_path / "models").glob(f"digits-k{one['k']:04d}*/epoch-0001")
        model = load_autoencoder(str(folder))
        with torch.no_grad():
            z = model.encode(images)
            ratio = model.encode(model.decode(z)).norm(dim=1) / z.norm(dim=1)
        assert one["ratio"] == pytest.approx(float(ratio.mean()), rel=1e-4)

    # All renderings know the kind.
    (section,) = report["datasets"].values()
    assert [(point["value"], point["columns"]["ratio"]["n"]) for point in section["points"]] == [(2, 1), (3, 1)]
    assert section["verdicts_in_words"][0].startswith("one step of f shrinks latents: ")
    assert "mean ratio" in section["verdicts_in_words"][0]
    page, text = (tmp_path / "report" / name for name in ("report.html", "report.md"))
    assert "||f(z)|| / ||z||" in page.read_text()
    assert "Latents shrink if the 95 % interval" in text.read_text()
    assert (tmp_path / "report" / "figures" / "digits.png").exists()
    assert study_table(report)["digits"].row_count == 2
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == report


def test_its_keys_are_listed_exemplified_and_checked(monkeypatch):
    monkeypatch.setattr(configurations, "STUDIES", (*configurations.STUDIES, ASKED))
    (key,) = [key for key in keys("images") if "shrinkage" in key.kinds]
    assert (key.meaning, key.default) == ("test images whose latents are measured", "8")
    assert parse_study_config(yaml.safe_load(example("shrinkage"))).images == 8
    with pytest.raises(UserError, match="did you mean 'images'"):
        parse_study_config({**SETTINGS, "image": 3})
