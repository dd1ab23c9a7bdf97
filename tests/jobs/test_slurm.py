"""Submission, cancellation and status against a scheduler that is faked, for the many answers that a real one has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs.run_directory import RunDirectory
from jobs.slurm import scheduler
from jobs.slurm.profile import RUN_STAGES, ClusterProfile, load_profile
from jobs.slurm.submit import cancel, render, submit
from jobs.status import read_status
from jobs.study_directory import StudyDirectory
from probe.config import load_config
from probe.errors import Failure, UserError
from probe.studies.config import parse_study_config

FAKE = """#!{python}
# {name}: writes down how it was called, and does what the test put into {folder}/{name}.do
import json, pathlib, sys, time
folder = pathlib.Path({folder!r})
calls = folder / "calls.jsonl"
number = len(calls.read_text().splitlines()) if calls.exists() else 0
with calls.open("a") as file:
    file.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
exec((folder / "{name}.do").read_text())
"""
ODD = 'it\'s a "run" 50% $HOME; rm -rf'


class Fake:
    """sbatch, squeue and scancel on PATH."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name, do in (("sbatch", "print(100 + number)"), ("squeue", ""), ("scancel", "")):
            file = folder / name
            file.write_text(FAKE.format(python=sys.executable, name=name, folder=str(folder)))
            file.chmod(0o755)
            self.does(name, do)

    def does(self, name: str, do: str) -> None:
        """What a command does, in Python; ``number`` counts the calls so far."""
        (self.folder / f"{name}.do").write_text(do)

    def queue(self, *lines: str) -> None:
        """What squeue shows."""
        self.does("squeue", f"print({chr(10).join(lines)!r})")

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of every call of a command."""
        file = self.folder / "calls.jsonl"
        calls = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [arguments for command, *arguments in calls if command == name]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Fake(tmp_path / "bin")


@pytest.fixture
def profile(root):
    return load_profile(root / "slurm" / "example.yaml")


@pytest.fixture
def run(own, tmp_path):
    return RunDirectory.create(tmp_path / ODD, load_config(own))


def test_stages_are_chained(run, profile, root, slurm):
    jobs = submit(run, profile, root / "slurm")
    assert list(jobs) == list(RUN_STAGES)
    calls = slurm.calls("sbatch")
    assert not any("--dependency" in option for option in calls[0])
    for before, call in zip(jobs.values(), calls[1:], strict=False):
        assert f"--dependency=afterok:{before}" in call
        assert "--kill-on-invalid-dep=yes" in call  # a failed dependency takes the later jobs out of the queue
    assert all(f"--output={tmp}" in call for call, tmp in zip(calls, _logs(run), strict=True))
    assert all(Path(call[-1]).read_text().startswith("#!/bin/bash") for call in calls)
    assert json.loads((run.path / "slurm" / "jobs.json").read_text())["jobs"] == jobs


def _logs(run):
    return [f"{run.path.resolve()}/logs/slurm-%j-{stage}.log".replace("50%", "50%%") for stage in RUN_STAGES]


@pytest.fixture
def study(tmp_path):
    """Six models."""
    settings = {
        "study": "bottleneck",
        "datasets": {"digits": {"train": {"source": "bundled:digits", "n": 40}, "test": 20, "side": 16}},
        "k": [2, 3, 4],
        "seeds": [0, 1],
    }
    return StudyDirectory.create(tmp_path / ODD, parse_study_config(settings))


def test_the_models_of_a_study_are_an_array(study, profile, root, slurm, tmp_path):
    jobs = submit(study, profile, root / "slurm")
    assert list(jobs) == ["images", "models"]
    assert f"--dependency=afterok:{jobs['images']}" in slurm.calls("sbatch")[1]
    scripts = render(study, profile, root / "slurm")
    assert "--stage images" in scripts["images"]
    assert "--array" not in scripts["images"]
    for line in ("#SBATCH --array=0-3\n", "#SBATCH --nodes=1\n", "#SBATCH --ntasks-per-node=1\n", " --shared "):
        assert line in scripts["models"], line  # four ranks of the profile, one in each task
    for given, tasks in (({"array": 5}, 5), ({"nodes": 2, "tasks_per_node": 8}, 6)):
        wider = ClusterProfile(**given)
        assert f"--array=0-{tasks - 1}\n" in render(study, wider, root / "slurm")["models"]
    for name, script in scripts.items():
        (tmp_path / name).write_text(script)
        _shellcheck(tmp_path / name)
        assert _run_directory_in(script) == str(study.path.resolve())


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ("COMPLETED PENDING RUNNING", "RUNNING"),
        ("COMPLETED PENDING FAILED", "PENDING"),
        ("COMPLETED FAILED COMPLETED", "FAILED"),
        ("COMPLETED COMPLETED", "COMPLETED"),
    ],
)
def test_an_array_is_as_its_most_telling_task(study, profile, root, slurm, tasks, said):
    jobs = submit(study, profile, root / "slurm")
    slurm.queue(*(f"{jobs['models']}|{state}|None" for state in tasks.split()))
    assert [stage.slurm for stage in read_status(study.path).stages] == ["gone from the queue", said, None]
    assert cancel(study.path) == ([jobs["models"]] if said in ("RUNNING", "PENDING") else [])


REFUSALS = [
    ("invalid partition specified: gpuu", "invalid partition specified: gpuu"),
    ("Batch job submission failed: Invalid account or account/partition combination", "Invalid account"),
    ("Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)", "time limit"),
    ("", "it gave no reason"),
]


@pytest.mark.parametrize(("answer", "message"), REFUSALS)
def test_a_refusal_is_told_in_slurms_words(run, profile, root, slurm, answer, message):
    slurm.does("sbatch", f"print('sbatch: error: ' + {answer!r} if {answer!r} else '', file=sys.stderr); sys.exit(1)")
    with pytest.raises(UserError, match=message):
        submit(run, profile, root / "slurm")
    assert not (run.path / "slurm" / "jobs.json").exists()


def test_a_refusal_halfway_leaves_nothing_in_the_queue(run, profile, root, slurm):
    slurm.does("sbatch", "sys.exit('limit of submitted jobs') if number > 3 else print(100 + number)")
    with pytest.raises(UserError, match="limit of submitted jobs"):
        submit(run, profile, root / "slurm")
    accepted = len(slurm.calls("sbatch")) - 1
    assert accepted >= 2
    assert len(slurm.calls("scancel")[0]) == accepted


def test_a_scheduler_that_hangs(run, profile, root, slurm, monkeypatch):
    monkeypatch.setattr(scheduler, "PATIENCE", 0.5)
    slurm.does("sbatch", "time.sleep(60)")
    with pytest.raises(Failure, match="sbatch did not answer within"):
        submit(run, profile, root / "slurm")
    slurm.does("squeue", "time.sleep(60)")
    (run.path / "slurm" / "jobs.json").write_text('{"jobs": {"images": "7"}}')
    with pytest.raises(Failure, match="squeue did not answer"):
        submit(run, profile, root / "slurm")
    assert read_status(run.path).slurm.startswith("squeue did not answer")


def test_no_slurm_here(run, profile, root, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch is not on this machine"):
        submit(run, profile, root / "slurm")
    assert read_status(run.path).state == "new"


def test_a_run_is_in_the_queue_once(run, profile, root, slurm):
    jobs = submit(run, profile, root / "slurm")
    slurm.queue(f"{jobs['images']}|RUNNING|None", f"{jobs['attractors']}|PENDING|Dependency", "9|RUNNING|None")
    with pytest.raises(UserError, match="has jobs in the queue"):
        submit(run, profile, root / "slurm")
    assert cancel(run.path) == [jobs["images"], jobs["attractors"]]
    assert slurm.calls("scancel") == [[jobs["images"], jobs["attractors"]]]
    slurm.queue(f"{jobs['images']}|CANCELLED|None", f"{jobs['attractors']}|CANCELLED|Dependency")
    assert cancel(run.path) == []
    assert submit(run, profile, root / "slurm") != jobs


def test_cancel_without_jobs_and_with_a_dead_controller(run, slurm, profile, root):
    with pytest.raises(UserError, match="was not submitted"):
        cancel(run.path)
    jobs = submit(run, profile, root / "slurm")
    slurm.queue(f"{jobs['images']}|RUNNING|None")
    slurm.does("scancel", "sys.exit('scancel: error: Unable to contact slurm controller')")
    with pytest.raises(Failure, match="Unable to contact slurm controller"):
        cancel(run.path)
    slurm.does("scancel", "sys.exit('scancel: error: Kill job error on job id 100: Invalid job id specified')")
    assert cancel(run.path) == [jobs["images"]]  # it ended in the meantime


def test_status_names_what_slurm_says(run, profile, root, slurm):
    jobs = submit(run, profile, root / "slurm")
    slurm.queue(
        f"{jobs['images']}|COMPLETED|None",
        f"{jobs['attractors']}|FAILED|NonZeroExitCode",
        f"{jobs['dictionary']}|PENDING|DependencyNeverSatisfied",
        f"{jobs['reconstruct']}|TIMEOUT|TimeLimit",
    )
    now = read_status(run.path)
    assert [stage.slurm for stage in now.stages] == [
        "COMPLETED",
        "FAILED (NonZeroExitCode)",
        "PENDING (DependencyNeverSatisfied)",
        "TIMEOUT (TimeLimit)",
        "gone from the queue",
    ]
    assert now.state == "queued"
    slurm.does("squeue", "sys.exit('slurm_load_jobs error: Unable to contact slurm controller')")
    now = read_status(run.path)
    assert [stage.slurm for stage in now.stages] == [None] * 5
    assert now.slurm == "squeue failed: slurm_load_jobs error: Unable to contact slurm controller"


def test_scripts_are_bash_whatever_the_path(run, root, tmp_path):
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "stage.sbatch.j2").write_text((root / "slurm" / "stage.sbatch.j2").read_text())
    full = {
        "account": "my_account",
        "modules": ["cuda/12.4"],
        "setup": ["source 'my env/bin/activate'"],
        "environment": {"TOKEN_FILE": "it's here", "A": "$(rm -rf /)"},
        "options": ["--constraint=h100"],
        "stages": {"attractors": {"nodes": 4, "gpus_per_task": 1}},
    }
    (tmp_path / "slurm" / "own.yaml").write_text(yaml.safe_dump(full))
    for file in (root / "slurm" / "example.yaml", tmp_path / "slurm" / "own.yaml"):
        for stage, script in render(run, load_profile(file), file.parent).items():
            path = tmp_path / f"{stage}.sbatch"
            path.write_text(script)
            assert subprocess.run(["bash", "-n", path], capture_output=True, text=True).stderr == ""
            _shellcheck(path)
            assert _run_directory_in(script) == str(run.path.resolve())
    _shellcheck(root / "tests" / "jobs" / "cluster.sh")
    assert "#SBATCH --nodes=4" in render(run, load_profile(file), file.parent)["attractors"]
    assert "#SBATCH --nodes=1" in render(run, load_profile(file), file.parent)["report"]
    assert "export A='$(rm -rf /)'" in script


def _shellcheck(path: Path) -> None:
    try:
        # SC1091: files of the cluster cannot be followed. SC2016: there may be a dollar in a path.
        command = ["shellcheck", "--exclude=SC1091,SC2016", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        if os.environ.get("PROBE_REQUIRE_SLURM"):
            pytest.fail("shellcheck is not installed; `make debian` installs it")
        pytest.skip("shellcheck is not installed; `make debian` installs it")
    assert done.stdout == ""


def _run_directory_in(script: str) -> str:
    """What bash hands to the worker, in the words of bash: srun is replaced by a function that prints."""
    command = next(line for line in script.splitlines() if line.startswith("srun")).removesuffix("&")
    words = f'srun() {{ printf "%s\\0" "$@"; }}; SLURM_NTASKS=1; {command}'
    said = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=True).stdout.split("\0")
    return said[said.index("jobs.worker") + 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"partitoin": "gpu"}, "did you mean 'partition'"),
        ({"stages": {"attractor": {}}}, "there is no stage 'attractor'"),
        ({"stages": {"report": {"tme": 1}}}, "did you mean 'time'"),
        ({"nodes": 0}, "greater than or equal to 1"),
        ({"options": ["constraint=h100"]}, "is no option of sbatch"),
        ({"environment": {"A B": "c"}}, "is no name of an environment variable"),
    ],
)
def test_mistakes_in_a_profile(tmp_path, content, message):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=message):
        load_profile(tmp_path / "c.yaml")


def test_mistakes_in_a_template(tmp_path, run):
    (tmp_path / "c.yaml").write_text("partition: gpu")
    with pytest.raises(UserError, match=r"stage\.sbatch\.j2"):
        render(run, load_profile(tmp_path / "c.yaml"), tmp_path)
    (tmp_path / "stage.sbatch.j2").write_text("{{ gpus }}")
    with pytest.raises(UserError, match="'gpus' is undefined"):
        render(run, load_profile(tmp_path / "c.yaml"), tmp_path)
