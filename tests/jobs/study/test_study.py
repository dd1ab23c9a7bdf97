"""A study as a job: resuming, sharing, refusing."""

import json
import signal

import pytest
import yaml

from jobs import doing
from jobs.kinds import STUDY
from jobs.lock import if_free
from jobs.status import read_status
from jobs.study.directory import StudyDirectory
from jobs.study.stages import StudyWork
from jobs.worker import work
from probe import load_autoencoder
from probe.errors import UserError
from probe.results.files import read_tensors
from probe.studies.sweeps.kinds import parse_study_config
from probe.training.checkpoint import STATE

from ...figures import drawn
from ...processes import completed
from ..conftest import assert_same_results, do, results_of, until

SETTINGS = {
    "study": "bottleneck",
    "datasets": {"digits": {"train": {"source": "bundled:digits", "n": 48}, "test": 20, "side": 16}},
    "k": [2, 5],
    "seeds": [0, 1],
    "training": {"epochs": 3, "batch_size": 16, "base_channels": 2, "checkpoint_every": 2},
    "solver": {"starts": 12, "max_steps": 30, "certificates": 2},
    "measure": {"nulls": 8, "gallery": 2},
    "device": "cpu",
}


def begin(path, **changes) -> StudyWork:
    return StudyWork(StudyDirectory.create(path, parse_study_config({**SETTINGS, **changes})))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study made undisturbed."""
    path = tmp_path_factory.mktemp("whole") / "study"
    with drawn(True):
        do(begin(path))
    return path


def test_a_study_from_images_to_report(whole):
    report = json.loads((whole / "report" / "report.json").read_text())
    assert len(report["models"]) == 4
    assert len(report["datasets"]["digits"]["points"]) == 2
    assert report["provenance"]["config"]["training"]["epochs"] == 3
    assert not (whole / "work").exists()
    assert not list(whole.rglob(STATE))
    for model in sorted((whole / "models").iterdir()):
        assert sorted(epoch.name for epoch in model.iterdir()) == ["epoch-0000", "epoch-0002", "epoch-0003"]
    model = load_autoencoder(str(whole / "models" / "digits-k0005-n000048-s1" / "epoch-0002"))
    assert model.latent_shape(16) == (5,)


def test_the_status_of_a_study(whole, tmp_path):
    status = read_status(whole)
    assert (status.state, [(stage.name, stage.done, stage.planned) for stage in status.stages]) == (
        "complete",
        [("images", 1, 1), ("models", 4, 4), ("report", 1, 1)],
    )
    study = begin(tmp_path / "study")
    assert read_status(study.directory.path).state == "new"
    do(study, "images")
    begun = read_status(study.directory.path)
    assert (begun.state, [stage.done for stage in begun.stages]) == ("stopped", [1, 0, 0])
    with pytest.raises(UserError, match="is not the directory of a run"):
        read_status(tmp_path)


class Killed(BaseException):
    pass


def test_a_study_that_was_killed_goes_on_to_the_same_results(whole, tmp_path, monkeypatch):
    from jobs.study import stages as module

    real, trained = module.train, []

    def train(images, **given):
        def kill(done, epochs, loss):
            trained.append((given["folder"].name, done))
            if len(trained) in (2, 7):  # in the first model, then in the third
                raise Killed
            given["on_epoch"](done, epochs, loss)

        return real(images, **{**given, "on_epoch": kill, "save_every": 0})

    monkeypatch.setattr(module, "train", train)
    for _ in range(2):
        with pytest.raises(Killed):
            do(begin(tmp_path / "parts"))
    do(begin(tmp_path / "parts"))
    assert len(trained) == len(set(trained)) == 12  # 4 models of 3 epochs, none of them twice
    assert_same_results(results_of(tmp_path / "parts"), results_of(whole))


def test_what_is_there_is_not_made_again_and_what_is_damaged_is(whole, tmp_path, caplog):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    files = sorted((copy / "cells").iterdir())
    files[1].write_bytes(files[1].read_bytes()[:-9])
    kept = {file: file.stat().st_mtime_ns for file in files if file != files[1]}
    with caplog.at_level("WARNING", logger="probe"):
        do(StudyDirectory.open(copy))
    assert f"{files[1]} is computed again" in caplog.text
    assert kept == {file: file.stat().st_mtime_ns for file in kept}
    assert_same_results(results_of(copy), results_of(whole))


def test_another_configuration_is_refused_and_named(whole, tmp_path):
    with pytest.raises(UserError, match=r"holds another study, which differs in training.epochs: 3 there, 4 now"):
        begin(whole, training={**SETTINGS["training"], "epochs": 4})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("")
    with pytest.raises(UserError, match="exists and is not the directory of a study"):
        begin(tmp_path / "other")
    with pytest.raises(
        UserError, match=r"is not the directory of a study: it has no config.yaml; `probe study CONFIG --out"
    ):
        StudyDirectory.open(tmp_path)
    (tmp_path / "config.yaml").write_text("study: [")
    with pytest.raises(UserError, match="is not YAML"):
        StudyDirectory.open(tmp_path)


def test_a_mistake_is_found_before_anything_is_trained(tmp_path):
    wrong = parse_study_config({**SETTINGS, "k": [2, 100]})
    with pytest.raises(UserError, match="k = 100 is more than the 16 features"):
        work(tmp_path / "study", STUDY, doing.STUDY.all, wrong)
    assert not (tmp_path / "study" / "models").exists()
    begin(tmp_path / "study", k=[2])  # and so the folder is still free


def test_changed_images_are_refused(whole, tmp_path, monkeypatch):
    import shutil

    from jobs.study import stages as module

    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    next((copy / "cells").iterdir()).unlink()
    real = module.draw_images

    def draw(name, spec):
        drawn = real(name, spec)
        drawn.train[0, 0, 0, 0] ^= 1
        return drawn

    monkeypatch.setattr(module, "draw_images", draw)
    with pytest.raises(UserError, match="data set 'digits' has changed since"):
        do(StudyDirectory.open(copy))


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(SETTINGS))
    return file


@pytest.mark.busy(30)
def test_ranks_share_the_models_and_train_each_alone(whole, config, tmp_path, start):
    out = tmp_path / "out"
    ranks = start("study", config, "--out", out, ranks=2, module="probe.cli.main")
    assert ranks.wait() == [0, 0], ranks.said(0) + ranks.said(1)
    assert_same_results(results_of(out), results_of(whole))  # no gradient was averaged with another model's
    workers = {read_tensors(file)[1]["rank"] for file in (out / "cells").iterdir()}
    assert workers == {0, 1}


@pytest.mark.busy
def test_processes_that_know_nothing_of_each_other_share_a_study(whole, config, tmp_path, start):
    out = tmp_path / "out"
    both = [
        start("study", config, "--out", out, "--shared", module="probe.cli.main", SLURM_ARRAY_TASK_ID=str(task))
        for task in (0, 1)
    ]
    assert [one.wait() for one in both] == [[0], [0]], both[0].said() + both[1].said()
    assert_same_results(results_of(out), results_of(whole))
    assert sum("report.html" in one.said() for one in both) >= 1
    assert json.loads((out / "report" / "report.json").read_text())["models"]
    assert sum("memorization of the attractors falls" in one.said() for one in both) >= 1


def test_a_model_in_another_processs_hands_is_left_to_it(tmp_path):
    study = begin(tmp_path / "study")
    do(study, "images")
    first = study.directory.left()[0]
    with if_free(tmp_path / "study" / "work" / "locks" / first.name) as mine:
        assert mine
        do(study, "models")
        assert study.directory.left() == [first]
        with pytest.raises(UserError, match=f"misses 1 models, {first.name} first"):
            do(study, "report")
    do(study, "models")
    assert not study.directory.left()


@pytest.mark.busy
def test_a_signal_stops_a_study_and_the_same_command_goes_on(whole, config, tmp_path, start):
    out = tmp_path / "out"
    ranks = start("study", config, "--out", out, module="probe.cli.main")
    until(lambda: (out / "cells").exists() and any((out / "cells").iterdir()))
    ranks.processes[0].send_signal(signal.SIGTERM)
    assert ranks.wait() == [75]
    done = completed("probe.cli.main", "study", config, "--out", out, "--json", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["models"]) == 4
    assert_same_results(results_of(out), results_of(whole))
