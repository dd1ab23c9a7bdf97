"""What trackers are told is what the results say; they change nothing, and no step comes twice."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from diffusers.optimization import get_linear_schedule_with_warmup
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jobs import trackers
from jobs.ood.directory import OodDirectory
from jobs.roundtrip.directory import RoundtripDirectory
from jobs.run.directory import RunDirectory
from jobs.run.work import RunWork
from jobs.study.directory import StudyDirectory
from jobs.study.stages import StudyWork
from jobs.trackers import Tracker, flat, numbers, tracking
from probe import load_autoencoder
from probe.cli.main import app
from probe.config import TrackersConfig, load_config, parse_config
from probe.dynamics import Outcome
from probe.errors import UserError
from probe.results.files import read_tensors
from probe.studies.ood.config import parse_ood_config
from probe.studies.roundtrip.config import parse_roundtrip_config
from probe.studies.sweeps.kinds import parse_study_config
from probe.training.config import TrainConfig

from .conftest import CLEAN, do, results_of
from .ood.test_ood import SETTINGS as OOD_SETTINGS
from .study.test_study import SETTINGS, Killed

FINISHED = Path(__file__).parent / "finished"
ON = {"log_with": ["tensorboard"]}


def read(folder: Path, name: str) -> dict[str, dict[int, float]]:
    """Value by step of each tag, from TensorBoard's files; a step that was logged twice, or out of order, fails."""
    events = EventAccumulator(str(folder / "trackers" / name)).Reload()
    found = {}
    for tag in events.Tags()["scalars"]:
        # By the time of logging: two files of one second are read in any order.
        steps = [event.step for event in sorted(events.Scalars(tag), key=lambda event: event.wall_time)]
        assert steps == sorted(set(steps)), (tag, steps)
        found[tag] = {event.step: event.value for event in sorted(events.Scalars(tag), key=lambda event: event.step)}
    return found


@pytest.fixture
def tracked_run(own, tmp_path) -> Path:
    """A run on the map with TensorBoard."""
    config = load_config(own, ["trackers.log_with=[tensorboard]"])
    do(RunDirectory.create(tmp_path / "run", config))
    return tmp_path / "run"


def test_a_run_is_logged_as_it_is_reported(tracked_run):
    logged = read(tracked_run, "run")
    report = json.loads((tracked_run / "report" / "report.json").read_text())
    for outcome, count in report["solver"]["outcomes"].items():
        course = logged[f"solver/outcomes/{outcome}"]
        assert (max(course), course[max(course)]) == (40, count)
    course = logged["solver/outcomes/converged"]
    assert list(course) == list(range(4, 41, 4))  # after every shard
    assert logged["solver/median_residual"][40] == pytest.approx(report["solver"]["residual"]["median"])
    assert logged["solver/median_steps"][40] == report["solver"]["steps"]["median"]
    certified = logged["certificates/attractors"]
    assert certified[max(certified)] == report["solver"]["certificates"]["certified"] > 0
    for name, data in report["datasets"].items():
        level = next(one for one in data["levels"] if one["atoms"] == data["five_percent"])
        for method, errors in level["methods"].items():
            for metric in ("latent_mse", "pixel_mse"):
                (value,) = logged[f"{name}/{method}/{metric}"].values()
                assert value == pytest.approx(errors[metric]["mean"])
    text = "".join(file.read_text() for file in tracked_run.glob("trackers/run/*/hparams.yml"))
    assert yaml.safe_load(text)["seeds.count"] == 40


@pytest.fixture
def one_thread():
    """As in ``run_of_one``: more threads round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_trackers_may_come_and_go_and_change_nothing(own, tmp_path, run_of_one):
    def begun(*overrides) -> RunWork:
        return RunWork(RunDirectory.create(tmp_path / "run", load_config(own, overrides)))

    do(begun(), "attractors")
    with_them = begun("trackers.log_with=[tensorboard]")
    fingerprint = with_them.directory.made_with.fingerprint
    do(with_them)
    assert "solver/outcomes/converged" not in read(tmp_path / "run", "run")  # that was over before
    before = read(tmp_path / "run", "run")
    do(begun("trackers.log_with=[tensorboard]"), "report")
    assert read(tmp_path / "run", "run") == before
    without = begun()
    assert without.directory.made_with.fingerprint == fingerprint
    assert load_config(tmp_path / "run" / "config.yaml").trackers == TrackersConfig()
    report = do(without, "report")
    assert "trackers" not in report["provenance"]["config"]
    undisturbed = json.loads((run_of_one / "report" / "report.json").read_text())
    assert report["solver"]["outcomes"] == undisturbed["solver"]["outcomes"]
    assert report["datasets"].keys() == undisturbed["datasets"].keys()
    for name, data in report["datasets"].items():
        assert data["levels"] == undisturbed["datasets"][name]["levels"]


@pytest.mark.busy(40)
def test_of_several_ranks_the_first_logs_for_all(own, tmp_path, start):
    run, on = tmp_path / "run", "trackers.log_with=[tensorboard]"
    ranks = start(own, "--out", run, "--set", on, "--stage", "attractors", ranks=2, OWN_SLEEP="0.01")
    assert ranks.wait() == [0, 0], ranks.said()
    shards = [read_tensors(file) for file in (run / "attractors").iterdir()]
    assert {about["rank"] for _, about in shards} == {0, 1}
    course = read(run, "run")["solver/outcomes/converged"]
    assert course[40] == sum(int((tensors["outcome"] == Outcome.CONVERGED).sum()) for tensors, _ in shards)
    assert len(list((run / "trackers" / "run").glob("events*"))) == 1


def begin(path: Path, **changes) -> StudyWork:
    return StudyWork(StudyDirectory.create(path, parse_study_config({**SETTINGS, **changes})))


def test_each_model_of_a_study_has_its_training_curve_also_after_a_kill(tmp_path, monkeypatch):
    from jobs.study import stages as module

    real, trained = module.train, []

    def train(images, **given):
        def kill(done, epochs, loss):
            given["on_epoch"](done, epochs, loss)
            trained.append(done)
            if len(trained) == 2:  # logged, and not on disk: this epoch is trained again
                raise Killed

        return real(images, **{**given, "on_epoch": kill, "save_every": 1e9})

    monkeypatch.setattr(module, "train", train)
    changes = {"trackers": ON, "training": {**SETTINGS["training"], "checkpoint_every": None}}
    with pytest.raises(Killed):
        do(begin(tmp_path / "study", **changes))
    do(begin(tmp_path / "study", **changes))
    assert len(trained) == 4 * 3 + 2
    for values in (values for _, values in results_of(tmp_path / "study").values()):
        name = f"{values['dataset']}-k{values['k']:04d}-n{values['size']:06d}-s{values['seed']}"
        logged = read(tmp_path / "study", name)
        assert list(logged["loss"].values()) == pytest.approx(values["loss"])
        assert logged["test_error"] == {3: pytest.approx(values["test_error"])}
        assert list(logged["learning_rate"]) == [1, 2, 3]


def test_models_made_without_trackers_are_told_afterwards_and_checkpoints_by_epoch(tmp_path):
    settings = {
        "study": "across_training",
        "k": [2],
        "seeds": [0],
        "solver": {"starts": 4, "max_steps": 5},
        "measure": {"points": 4, "film": 2},
    }
    changes = {key: value for key, value in SETTINGS.items() if key not in settings} | settings
    do(StudyDirectory.create(tmp_path / "study", parse_study_config(changes)))
    assert not (tmp_path / "study" / "trackers").exists()
    do(StudyDirectory.create(tmp_path / "study", parse_study_config({**changes, "trackers": ON})))
    ((_, values),) = results_of(tmp_path / "study").values()
    (name,) = (file.stem for file in (tmp_path / "study" / "cells").iterdir())
    assert list(read(tmp_path / "study", name)["loss"].values()) == pytest.approx(values["loss"])
    course = read(tmp_path / "study", f"{name}-checkpoints")["test_error"]
    assert course == {int(e): pytest.approx(one["test_error"]["mean"]) for e, one in values["checkpoints"].items()}
    assert len(course) == 3


def test_an_ood_experiment_logs_its_training_and_its_report(tmp_path):
    config = parse_ood_config({**OOD_SETTINGS, "trackers": ON})
    report = do(OodDirectory.create(tmp_path / "ood", config))
    logged = read(tmp_path / "ood", "run")
    assert list(logged["loss"].values()) == pytest.approx(report["training"]["loss"])
    for name, one in report["sets"].items():
        for score, found in one["scores"].items():
            assert logged[f"{name}/{score}/auroc"] == {2: pytest.approx(found["auroc"]["value"])}
            assert logged[f"{name}/{score}/fpr95"] == {2: pytest.approx(found["fpr95"]["value"])}


def test_a_round_trip_logs_its_curves_by_cycle(tmp_path, monkeypatch):
    monkeypatch.chdir(FINISHED.parents[2])
    settings = yaml.safe_load((FINISHED / "roundtrip.yaml").read_text())
    report = do(RoundtripDirectory.create(tmp_path / "trips", parse_roundtrip_config({**settings, "trackers": ON})))
    logged = read(tmp_path / "trips", "run")
    for one in report["overall"]["series"]:
        tag = f"{one['model']}/{one['between'].replace(':', '-')}"
        expected = zip(report["cycles_drawn"], one["curves"]["psnr"]["mean"], strict=True)
        assert logged[f"{tag}/psnr"] == {cycle: pytest.approx(mean) for cycle, mean in expected}


def test_the_embedded_training_logs_its_figures_anew_each_time(tmp_path, capsys):
    noise = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        Image.fromarray(noise.integers(0, 256, (20, 1024, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "tiny.yaml").write_text(
        "{steps: 4, log_every: 2, batch_size: 4, fresh_rows: 2, trajectories: 4, trajectory_rows: 2, held_out: 20, "
        "warmup: 1, trackers: {log_with: [tensorboard]}}"
    )
    command = ["train-embedded", f"{tmp_path}/tiny.yaml", "--data", str(tmp_path), "--out", f"{tmp_path}/out", "--json"]
    for _ in range(2):
        assert app(command, standalone_mode=False) is None
        figures = json.loads(capsys.readouterr().out)
        logged = read(tmp_path / "out", "run")
        assert list(logged["reconstruction"]) == [2, 4]
        assert logged["reconstruction"][4] == pytest.approx(figures["reconstruction"])
        assert logged["psnr_held_out"] == {4: pytest.approx(figures["psnr"])}
    assert load_autoencoder(str(tmp_path / "out")).latent_shape(32)


def test_the_learning_rate_is_that_of_the_schedule():
    config, epochs, steps = TrainConfig(learning_rate=0.3), 7, 5
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=config.learning_rate)
    schedule = get_linear_schedule_with_warmup(optimiser, 0, epochs * steps)
    for epoch in range(1, epochs + 1):
        assert config.rate(epoch, epochs) == pytest.approx(schedule.get_last_lr()[0])
        for _ in range(steps):
            optimiser.step()
            schedule.step()


class Fake(GeneralTracker):
    """A tracker that keeps what it is told, by its name."""

    name, requires_logging_directory, tracker = "wandb", False, None
    told: dict[str, list] = {}  # noqa: RUF012

    def __init__(self, project, **given):
        super().__init__()
        self.about = (project, given)

    def start(self):
        print("* created new run")  # as trackio does
        Fake.told.setdefault(self.about[1]["id"], []).append(self.about)

    def store_init_configuration(self, values):
        Fake.told[self.about[1]["id"]].append(values)

    def log(self, values, step=None, **_):
        if "fails" in values:
            raise ConnectionError("the line is dead\nand more")
        Fake.told[self.about[1]["id"]].append((step, values))


@pytest.fixture
def fake(monkeypatch) -> dict[str, list]:
    """Weights & Biases replaced by ``Fake``; what it is told, by id."""
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "wandb", Fake)
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(Fake, "told", {})
    return Fake.told


def test_a_run_keeps_its_id_and_its_steps(fake, tmp_path, caplog, capsys):
    config = TrackersConfig(log_with=("wandb",), project="mine", name="first")
    for values in ({"loss": 0.5, "absent": None}, {"loss": 0.4}):  # begun again: step 1 is known
        with tracking(tmp_path, config, "run", {"a": {"b": [1], "c": None}}, cpu=True) as tracker:
            tracker.log(values, step=1)
            tracker.log({"error": values["loss"]})
    (course,) = fake.values()
    began = ("mine", {"name": "first", "id": next(iter(fake)), "resume": "allow", "dir": str(tmp_path / "trackers")})
    assert course == [began, {"a.b": "[1]"}, (1, {"loss": 0.5}), (1, {"error": 0.5}), began]
    with tracking(tmp_path, config, "run", {}, cpu=True) as tracker:
        tracker.log({"fails": 1.0}, step=2)
        tracker.log({"loss": 0.3}, step=3)
    assert course[-1] == began  # it is left out from its first failure on
    assert "tracker wandb: the line is dead; continuing without it" in caplog.text
    said = capsys.readouterr()
    assert said.out == ""  # stdout is for results
    assert said.err.count("* created new run") == 3


def test_an_absent_package_is_named_before_any_work(own, tmp_path, monkeypatch):
    from jobs import doing
    from jobs.kinds import RUN
    from jobs.worker import work

    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    config = load_config(own, ["trackers.log_with=[trackio]"])
    with pytest.raises(UserError, match=r"trackio is not installed; `pip install trackio`, or leave it out\.$"):
        work(tmp_path / "run", RUN, doing.RUN.all, config)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"trackers\.log_with"):
        parse_config({"trackers": {"log_with": ["tensorbord"]}})


def test_trackers_are_not_imported_when_they_are_off(own, tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom probe.config import load_config\nfrom jobs.doing import RUN\n"
        "from jobs.worker import work\n"
        "work(Path(sys.argv[2]), RUN.kind, lambda its: RUN.do('attractors', its), load_config(sys.argv[1]))\n"
        "print([name for name in ('tensorboard', 'trackio', 'wandb') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(own), str(tmp_path / "run")]
    done = subprocess.run(command, env={**CLEAN, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "run" / "trackers").exists()


def test_values_become_tags():
    nested = {"a": {"mse": {"mean": 1, "ci95": [0, 2]}, "n": 3}, "auroc": {"value": 0.5}, "text": "x", "flag": True}
    assert numbers(nested, "set/") == {"set/a/mse": 1.0, "set/a/n": 3.0, "set/auroc": 0.5}
    assert flat({"a": {"b": True, "c": None}, "d": (1, 2)}) == {"a.b": True, "d": "(1, 2)"}
    assert not Tracker({})
