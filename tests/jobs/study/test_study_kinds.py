"""Studies across training, of convergence and of contraction as jobs: what is made, resuming, sharing."""

import json
from dataclasses import replace

import pytest
import torch

from jobs.study import stages as study_models
from jobs.study.directory import StudyDirectory
from jobs.study.stages import StudyWork
from probe import load_autoencoder
from probe.errors import UserError
from probe.report.study import kinds, study_table
from probe.report.study.kinds import study_kind
from probe.studies.sweeps.kinds import parse_study_config
from probe.training.checkpoint import STATE

from ..conftest import assert_same_results, do, results_of

DIGITS = {"digits": {"train": {"source": "bundled:digits", "n": 40}, "test": 16, "side": 16}}
TRAINING = {"epochs": 4, "batch_size": 16, "base_channels": 2, "initialisation": "he"}
SETTINGS = {
    "across_training": {
        "datasets": DIGITS,
        "k": [3],
        "seeds": [0, 1],
        "training": {**TRAINING, "checkpoint_every": 2},
        "solver": {"starts": 10, "max_steps": 30},
        "measure": {"points": 3, "film": 2},
        "device": "cpu",
    },
    "convergence": {
        "datasets": DIGITS,
        "k": [2, 3],
        "seeds": [0],
        "training": TRAINING,
        "solver": {"starts": 20, "max_steps": 200, "certificates": 4},
        "device": "cpu",
    },
    "contraction": {
        "architectures": ["ConvAutoencoder, k = 2", "ConvAutoencoder, k = 8"],
        "seeds": [0, 1, 2],
        "samples": 4,
    },
}
KINDS = list(SETTINGS)


def begin(path, kind) -> StudyWork:
    return StudyWork(StudyDirectory.create(path, parse_study_config({"study": kind, **SETTINGS[kind]})))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Each study made undisturbed: its folder by its kind."""
    folder = tmp_path_factory.mktemp("whole")
    for kind in KINDS:
        do(begin(folder / kind, kind))
    return {kind: folder / kind for kind in KINDS}


@pytest.mark.parametrize(("kind", "rows"), [("across_training", 3), ("convergence", 2), ("contraction", 2)])
def test_a_study_from_beginning_to_report(whole, kind, rows):
    path = whole[kind]
    report = json.loads((path / "report" / "report.json").read_text())
    assert len(report["models"]) == 2
    (section,) = report["datasets"].values()
    assert [len(section[part]) for part in ("points",)] == [rows]
    assert {claim["result"] for claim in section["claims"]} <= {"holds", "does not hold", "undecided"}
    assert all(claim["rule"] in report["rules"] for claim in section["claims"])
    assert {"report.html", "report.md", "report.json", "figures"} == {one.name for one in (path / "report").iterdir()}
    assert not (path / "work").exists()
    assert not list(path.rglob(STATE))
    (table,) = study_table(report).values()
    assert table.row_count == rows


def test_checkpoints_begin_with_the_untrained_network(whole):
    path = whole["across_training"]
    (folder, _) = sorted((path / "models").iterdir())
    assert [epoch.name for epoch in sorted(folder.iterdir())] == ["epoch-0000", "epoch-0002", "epoch-0004"]
    tensors, values = next(iter(results_of(path).values()))
    assert list(values["checkpoints"]) == ["0", "2", "4"]
    assert tensors["4.film"].shape == tensors["images"].shape == (2, 1, 16, 16)
    # The error in the result is that of the model in the folder, over the same images.
    images = torch.from_numpy(_test_images(path)).float() / 255
    for epoch in (0, 4):
        model = load_autoencoder(str(folder / f"epoch-{epoch:04d}"))
        with torch.no_grad():
            error = (model.decode(model.encode(images)) - images).square().flatten(1).mean(1).double()
        assert torch.allclose(tensors[f"{epoch}.test_error"], error[:10], rtol=1e-4)


def _test_images(path):
    from probe.studies.sweeps.datasets import draw

    return draw("digits", StudyDirectory.open(path).config.datasets["digits"]).test.numpy()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_that_was_killed_goes_on_to_the_same_results(whole, tmp_path, monkeypatch, kind):
    """Once inside the first training, and once in the second shard, after its training."""
    real, measured, trained = study_kind(kind), [], []
    real_train = study_models.train

    def dies_once(*given):
        measured.append(given)
        if len(measured) == 2:
            raise Killed
        return real.measure(*given)

    def train(images, **given):
        def kill(done, *_):
            trained.append((given["folder"].name, done))
            if len(trained) == 1:
                raise Killed

        return real_train(images, **{**given, "on_epoch": kill, "save_every": 0})

    monkeypatch.setattr(kinds, "KINDS", (replace(real, measure=dies_once),))
    monkeypatch.setattr(study_models, "train", train)
    for _ in range(1 if kind == "contraction" else 2):
        with pytest.raises(Killed):
            do(begin(tmp_path / "parts", kind))
    do(begin(tmp_path / "parts", kind))
    assert len(trained) == len(set(trained)) == (0 if kind == "contraction" else 8)  # no epoch twice
    assert len(measured) == 3  # the first shard once
    assert_same_results(results_of(tmp_path / "parts"), results_of(whole[kind]))


def test_a_mistake_is_found_before_anything_is_made(tmp_path):
    config = parse_study_config({"study": "contraction", "architectures": ["ConvAutoencoder, k = 2", "ResNet"]})
    with pytest.raises(UserError, match="there is no architecture 'ResNet'"):
        do(StudyDirectory.create(tmp_path / "study", config))
    assert not (tmp_path / "study" / "cells").exists()


def test_processes_share_architectures(whole, tmp_path):
    """As two tasks of an array: what one has made, the other leaves."""
    one, two = begin(tmp_path / "study", "contraction"), begin(tmp_path / "study", "contraction")
    for study in (one, two):
        do(study, "images")
    do(one, "models")
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "study" / "cells").iterdir()}
    do(two, "models")
    assert kept == {file: file.stat().st_mtime_ns for file in (tmp_path / "study" / "cells").iterdir()}
    assert len(do(two, "report")["models"]) == 2
    assert_same_results(results_of(tmp_path / "study"), results_of(whole["contraction"]))
