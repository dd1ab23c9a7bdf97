"""A folder in which work was begun keeps its configuration; one that holds nothing yet may get another, with a word."""

import json

import pytest
import torch
import yaml

from jobs import doing
from jobs.kinds import RUN
from jobs.kinds import STUDY as STUDY_KIND
from jobs.ood.directory import OodDirectory
from jobs.run.attractors import load_end_points
from jobs.run.directory import RunDirectory
from jobs.study.directory import StudyDirectory
from jobs.worker import work
from probe.config import parse_config
from probe.errors import UserError
from probe.studies.ood.config import parse_ood_config
from probe.studies.sweeps.kinds import parse_study_config

from .conftest import configure, do, work_on
from .ood.test_ood import SETTINGS as OOD
from .study.test_study import SETTINGS as STUDY


class Killed(BaseException):
    """What ends a process without a word."""


def stop(*_, **__):
    raise Killed


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.fixture
def settings(tmp_path):
    return yaml.safe_load(configure(tmp_path).read_text())


def attractors_only(run):
    do(run, "attractors")
    return load_end_points(run.directory).end


def files(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != ".lock"}


def refused(directory, path, config, told):
    """Another configuration is refused by name, and every file still there."""
    before = files(path)
    with pytest.raises(UserError, match=told):
        directory.create(path, config)
    assert files(path) == before


@pytest.mark.parametrize("end", [stop, interrupt])
@pytest.mark.parametrize("datasets", [True, False])
def test_a_run_that_ended_before_its_first_shard_keeps_its_configuration(
    settings, tmp_path, monkeypatch, end, datasets
):
    if not datasets:
        settings["datasets"] = {}
    path = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("jobs.run.attractors.solve", end)
        with pytest.raises((Killed, KeyboardInterrupt)):
            work(path, RUN, doing.RUN.all, parse_config(settings))
    assert not (path / "attractors").exists()
    changed = parse_config({**settings, "seeds": {"count": 8, "seed": 2, "shard_size": 4}})
    refused(RunDirectory, path, changed, "seeds.count: 40 there, 8 now; seeds.seed: 1 there, 2 now")
    trackers = parse_config({**settings, "trackers": {"name": "other"}})
    assert RunDirectory.create(path, trackers).config.trackers.name == "other"
    assert len(work(path, RUN, attractors_only, parse_config(settings))[0])


def test_an_edited_config_in_a_begun_folder_is_refused_too(settings, tmp_path, monkeypatch):
    path = tmp_path / "run"
    monkeypatch.setattr("jobs.run.attractors.solve", stop)
    with pytest.raises(Killed):
        do(RunDirectory.create(path, parse_config(settings)))
    edited = yaml.safe_load((path / "config.yaml").read_text())
    edited["seeds"]["seed"] = 2
    (path / "config.yaml").write_text(yaml.safe_dump(edited))
    refused(RunDirectory, path, parse_config(edited), "seeds.seed: 1 there, 2 now")
    with pytest.raises(UserError, match=r"config.yaml has changed since .* seeds.seed: 1 there, 2 now; change it back"):
        work_on(RunDirectory.open(path))


@pytest.mark.parametrize("during", ["draw", "train", "first cell"])
def test_a_study_that_was_begun_keeps_its_configuration(during, tmp_path, monkeypatch):
    path, settings = tmp_path / "study", STUDY
    if during == "first cell":
        settings = {"study": "contraction", "architectures": ["ConvAutoencoder, k = 2"], "seeds": [0, 1]}
    name = {
        "draw": "jobs.study.stages.draw_images",
        "train": "jobs.study.stages.train",
        "first cell": "probe.studies.sweeps.contraction.variance_ratio",
    }
    monkeypatch.setattr(name[during], stop)
    with pytest.raises(Killed):
        do(StudyDirectory.create(path, parse_study_config(settings)))
    assert not (path / "cells").exists()
    refused(
        StudyDirectory, path, parse_study_config({**settings, "seeds": [1, 2]}), r"seeds: \[0, 1\] there, \[1, 2\] now"
    )


@pytest.mark.parametrize("during", ["draw_set", "train", "references"])
def test_an_experiment_that_was_begun_keeps_its_configuration(during, tmp_path, monkeypatch):
    path = tmp_path / "ood"
    monkeypatch.setattr(f"jobs.ood.stages.{during}", stop)
    with pytest.raises(Killed):
        do(OodDirectory.create(path, parse_ood_config(OOD)))
    refused(OodDirectory, path, parse_ood_config({**OOD, "seed": 3}), "seed: 0 there, 3 now")


def test_submitted_jobs_keep_their_configuration(settings, tmp_path):
    path = RunDirectory.create(tmp_path / "run", parse_config(settings)).path
    (path / "slurm").mkdir()
    (path / "slurm" / "jobs.json").write_text("{}")
    refused(RunDirectory, path, parse_config({**settings, "resolution": 32}), "resolution: 16 there, 32 now")


def test_a_folder_that_holds_nothing_is_begun_anew_with_a_word(settings, tmp_path, capsys):
    path = tmp_path / "run"
    wrong = {**settings, "model": {"source": f"python:{tmp_path}/none.py:load", "device": "cpu"}}
    with pytest.raises(UserError):
        work(path, RUN, doing.RUN.all, parse_config(wrong))
    report, _ = work(path, RUN, doing.RUN.all, parse_config({**settings, "datasets": {}}))
    assert report["solver"]["n"] == 40
    told = capsys.readouterr().err
    assert f"{path} was begun with other settings and holds no results yet: datasets.digits: only there" in told
    assert "none.py:load" in told


def test_after_a_mistake_images_are_no_work_but_results_are(tmp_path, caplog):
    path = tmp_path / "study"
    with pytest.raises(UserError, match="k = 100 is more than"):
        work(path, STUDY_KIND, doing.STUDY.all, parse_study_config({**STUDY, "k": [2, 100]}))
    assert (path / "work" / "data" / "digits.safetensors").exists()
    partial = path / "work" / "attractors" / "some.safetensors"
    partial.parent.mkdir()
    partial.write_bytes(b"")
    config = parse_study_config({**STUDY, "k": [2]})
    refused(StudyDirectory, path, config, r"k: \[2, 100\] there, \[2\] now")
    partial.unlink()
    StudyDirectory.create(path, config)
    assert "holds no results yet: k: [2, 100] there, [2] now" in caplog.text
    assert not (path / "work").exists()


def test_a_mistake_before_the_last_session_does_not_count(settings, tmp_path):
    run = RunDirectory.create(tmp_path / "run", parse_config(settings))
    do(run, "images")
    error = {"time": "2020-01-01T00:00:00+00:00", "rank": 0, "status": 2, "message": "long ago"}
    (run.path / "error.json").write_text(json.dumps(error))
    refused(RunDirectory, run.path, parse_config({**settings, "resolution": 32}), "resolution: 16 there, 32 now")


def test_no_stage_computes_in_tf32(settings, tmp_path):
    """cuDNN convolves in TF32 by default: images would be encoded and decoded with errors of 5e-4."""
    assert torch.backends.cudnn.allow_tf32
    seen, _ = work(tmp_path / "run", RUN, lambda _: torch.backends.cudnn.allow_tf32, parse_config(settings))
    assert not seen
    assert torch.backends.cudnn.allow_tf32
