"""What stages take is noted beside what was planned, and shown; and the Slurm jobs of a plan."""

import json
import re
import shutil
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

import probe
from jobs.kinds import RUN, STUDY
from jobs.run.directory import RunDirectory
from jobs.slurm.expected import Job, expected_jobs, limit_seconds, memory_bytes
from jobs.slurm.profile import ClusterProfile, load_profile
from jobs.slurm.submit import render
from jobs.spent import accounted
from jobs.study.directory import StudyDirectory
from probe.config import load_config
from probe.plan.machines import Here
from probe.plan.stage import Load, Range, StagePlan
from probe.report.planned import planned_section
from probe.results.files import read_tensors
from probe.results.planned import read_spent
from probe.studies.sweeps.kinds import parse_study_config
from probe.terminal import length

from .test_finished import FINISHED

HERE = Here("here", 2e9, {}, {"float32": 1e9})
STUDY_SETTINGS = {
    "study": "bottleneck",
    "datasets": {"digits": {"train": {"source": "bundled:digits", "n": 40}, "test": 20, "side": 16}},
    "k": [2, 3, 4],
    "seeds": [0, 1],
}


@pytest.fixture
def nothing_is_small(monkeypatch, root):
    """Works of a second are planned, too; their model is named by a path from the root of the repository."""
    monkeypatch.chdir(root)
    monkeypatch.setattr("probe.plan.begun.LEAST", 0)


def test_a_run_shows_what_was_planned_and_its_results_do_not_know(tmp_path, monkeypatch, nothing_is_small):
    first = probe.run(FINISHED / "run.yaml", out=tmp_path / "first", trust_code=True).path
    plan = json.loads((first / "plan.json").read_text())
    assert [stage["name"] for stage in plan["stages"]] == [stage.name for stage in RUN.stages]
    spent = read_spent(first)
    assert list(spent) == ["attractors", "dictionary", "reconstruct"]
    evaluations = sum(int(read_tensors(file)[0]["evaluations"].sum()) for file in first.glob("attractors/*"))
    assert spent["attractors"].decoded >= evaluations
    page, text = ((first / "report" / f"report.{end}").read_text() for end in ("html", "md"))
    assert "Planned and taken" in page
    rows = [line for line in text.partition("## Planned and taken")[2].splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[2:5]] == ["| attractors", "| dictionary", "| reconstruct"]
    cells = [cell.strip() for cell in rows[2].split("|")]
    assert spent["attractors"].cpu_seconds is not None
    assert cells[5] == length(spent["attractors"].cpu_seconds)  # beside the wall time

    before = (first / "spent.jsonl").read_bytes()
    probe.run(FINISHED / "run.yaml", out=first, trust_code=True)
    assert (first / "spent.jsonl").read_bytes() == before  # nothing was left to do

    def fails(its):
        raise ZeroDivisionError

    monkeypatch.setattr("jobs.run.work.RunWork.plan", fails)
    second = probe.run(FINISHED / "run.yaml", out=tmp_path / "second", trust_code=True).path
    assert not (second / "plan.json").exists()
    assert "Planned and taken" not in (second / "report" / "report.html").read_text()
    assert _numbers(second) == _numbers(first)
    for file in first.glob("attractors/*"):
        one, other = (read_tensors(folder / "attractors" / file.name)[0] for folder in (first, second))
        assert all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


def _numbers(folder):
    report = json.loads((folder / "report" / "report.json").read_text())
    return {key: value for key, value in report.items() if key != "provenance"}


@pytest.mark.parametrize("kind", ["run", "study", "ood", "roundtrip"])
def test_a_folder_of_an_early_version_has_no_plan_and_gets_none(kind, tmp_path, nothing_is_small):
    folder = shutil.copytree(FINISHED / kind, tmp_path / kind)
    probe.run(folder / "config.yaml", out=folder, trust_code=True)
    assert planned_section(folder) is None
    assert not (folder / "plan.json").exists()
    assert not (folder / "spent.jsonl").exists()


def test_a_stopped_stage_is_noted_and_a_torn_line_is_left_out(tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    (tmp_path / "spent.jsonl").write_text('{"stage": "attr\n[]\n')
    world = SimpleNamespace(on_rank_0=lambda call: call(), leads=True, size=3)
    model = SimpleNamespace(rows=Counter(decode=2))
    directory = SimpleNamespace(path=tmp_path, RESULTS=())
    work = SimpleNamespace(world=world, directory=directory, models=[model], prepare=lambda: None)
    stage = SimpleNamespace(name="attractors", count=lambda directory: (0, 4))

    def stopped():
        with accounted(work, stage):
            model.rows["decode"] += 5
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            stopped()
    found = read_spent(tmp_path)["attractors"]
    assert found.decoded is None  # three ranks shared the rows
    assert found.cpu_seconds is None
    assert found.rank_seconds == pytest.approx(3 * found.seconds)
    lines = [json.loads(line) for line in (tmp_path / "spent.jsonl").read_text().splitlines()[2:]]
    assert [line["rows"] for line in lines] == [{"decode": 5}] * 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("08:00:00", 28800),
        ("2-06", 194400),
        ("2-06:30", 196200),
        ("1-00:00:01", 86401),
        ("UNLIMITED", None),
        (None, None),
    ],
)
def test_time_limits_are_read_as_sbatch_reads_them(text, seconds):
    assert limit_seconds(text) == seconds


def test_sizes_are_read_as_sbatch_reads_them():
    assert [memory_bytes(text) for text in ("64G", "512", "1tb", "0", None)] == [2**36, 2**29, 2**40, None, None]


@pytest.fixture
def study(tmp_path):
    return StudyDirectory.create(tmp_path / "study", parse_study_config(STUDY_SETTINGS))


def test_the_jobs_of_a_plan_are_those_that_are_submitted(own, study, root, tmp_path):
    run = RunDirectory.create(tmp_path / "run", load_config(own))
    wide = ClusterProfile(nodes=2, tasks_per_node=3, gpus_per_task=1, stages={"attractors": {"array": 5}})
    for kind, directory in ((RUN, run), (STUDY, study)):
        for profile in (load_profile(root / "slurm" / "example.yaml"), wide):
            scripts = render(directory, profile, root / "slurm")
            jobs = expected_jobs(kind, directory.config, profile, {}, HERE)
            assert [job.stage for job in jobs] == list(scripts)
            for job, script in zip(jobs, scripts.values(), strict=True):
                asked = dict(re.findall(r"#SBATCH --([a-z-]+)=(\S+)", script))
                assert (str(job.nodes), str(job.tasks)) == (
                    asked["nodes"],
                    str(int(asked["nodes"]) * int(asked["ntasks-per-node"])),
                )
                assert job.partition == asked.get("partition")
                assert asked.get("array", "0-0") == f"0-{job.array - 1}"


def _job(study, hours: float, size: dict[str, float] | None = None, **profile) -> Job:
    """The job of the models, which take so many hours of one rank."""
    load = Load("training", Range.exactly(1), seconds=3600 * hours)
    plan = StagePlan("models", "models", 6, (load,), **(size or {}), shards=6)
    asked = ClusterProfile(gpus_per_task=1, **profile)
    return expected_jobs(STUDY, study.config, asked, {"models": plan}, HERE)[1]


def test_a_job_that_ends_in_time_is_not_warned_of(study):
    job = _job(study, 6, array=3, time="03:00:00", memory="4G")
    assert (job.array, job.requeues, job.warnings) == (3, 0, ())
    assert job.does == ("models", "report")
    assert job.used == pytest.approx(6)
    assert job.gpu_hours == pytest.approx(6, rel=0.01)


def test_requeues_are_expected_and_a_job_that_never_ends_is_named(study):
    three = _job(study, 6, array=2, time="01:30:00", signal_seconds=600)  # three hours, in lives of 80 minutes
    assert (three.requeues, three.warnings) == (2, ())
    (sentence,) = _job(study, 6, array=2, time="01:00:00", requeues=1).warnings
    assert "would not end within 2 lives of 01:00:00" in sentence
    (sentence,) = _job(study, 6, array=2, time="01:00:00", signal_seconds=0).warnings  # nobody tells it to stop
    assert "within 1 life" in sentence


def test_tasks_of_an_array_take_rounds_and_fewer_that_take_as_long_are_named(own):
    config = load_config(own)
    parts = StagePlan("dictionary", "shards", 6, (Load("f", Range.exactly(6), seconds=3600.0),), shards=6)

    def job(array: int) -> Job:
        asked = ClusterProfile(gpus_per_task=1, stages={"dictionary": {"array": array}})
        found = expected_jobs(RUN, config, asked, {"dictionary": parts}, HERE)
        return next(one for one in found if one.stage == "dictionary")

    four = job(4)
    assert four.array == 4
    assert four.seconds.expected == pytest.approx(2 * 3600, rel=0.01)  # four shards, then two
    (hint,) = four.hints
    assert "`array: 3` for it" in hint
    assert "2.01 GPU hours less" in hint
    assert job(3).hints == ()


def test_tasks_of_a_study_leave_when_all_models_are_taken(study):
    four = _job(study, 1, array=4)  # six models: two tasks take two of them
    assert four.seconds.expected == pytest.approx(2 * 600, rel=0.05)
    assert four.gpu_hours == pytest.approx(1 + 4 * 30 / 3600)
    assert four.hints == ()


def test_memory_that_does_not_fit_is_named(study):
    (sentence,) = _job(study, 1, {"host": 1.5e9}, array=1, memory="3G").warnings
    assert sentence.endswith("`memory` is 3G; raise it.")
    (sentence,) = _job(study, 1, {"memory": 3e9, "least": 2.5e9}, array=1, memory="3G").warnings
    assert "needs 2.33 GiB, and here has 1.86 GiB" in sentence


def test_tensors_on_a_gpu_are_not_in_the_memory_of_the_node(study):
    job = _job(study, 1, {"memory": 9e9, "least": 1e9, "host": 1e8}, array=1, memory="3G")
    assert (job.memory, job.gpu, job.warnings) == (2.1e9, HERE.memory, ())  # batches become smaller
