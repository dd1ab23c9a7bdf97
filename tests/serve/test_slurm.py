"""Runs of the service on Slurm: its commands are faked, for what a real scheduler does seldom."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import yaml

from jobs.slurm import scheduler
from probe.errors import Failure, UserError
from probe.serve.executors import signal_all
from probe.serve.executors import slurm as executor
from probe.serve.executors.slurm import Queue
from probe.serve.settings import Settings
from probe.serve.states import State
from probe.serve.supervisor import Supervisor

from .conftest import Asked, supervised, until, wait

FAKE = """#!{python}
import json, os, sys, time
here = os.path.dirname(os.path.abspath(__file__))
queue = os.path.join(here, "queue.json")
name = os.path.basename(__file__)
if os.path.exists(os.path.join(here, "silent")):
    sys.exit("Unable to contact slurm controller")
jobs = json.load(open(queue)) if os.path.exists(queue) else {{}}
if name == "squeue":
    for job, (state, reason, script) in jobs.items():
        print(job, state, reason, script, sep="|")
elif name == "sbatch":
    job = str(100 + len(jobs))
    jobs[job] = ["PENDING", "Priority", sys.argv[-1]]
    print(job)
elif name == "scancel":
    for job in sys.argv[1:]:
        jobs[job][0] = "CANCELLED"
if name != "squeue":
    with open(queue + ".tmp", "w") as file:
        json.dump(jobs, file)
    os.replace(queue + ".tmp", queue)
if name == "sbatch" and os.path.exists(os.path.join(here, "slow")):
    time.sleep(600)
"""


class Fake:
    """A scheduler of files: its queue is what it was told."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("sbatch", "squeue", "scancel"):
            (folder / name).write_text(FAKE.format(python=sys.executable))
            (folder / name).chmod(0o755)

    @property
    def jobs(self) -> dict[str, list[str]]:
        file = self.folder / "queue.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def becomes(self, reason: str = "None", **states: str) -> None:
        """Jobs by stage get these states."""
        jobs = self.jobs
        for job, (_, _, script) in jobs.items():
            for stage, state in states.items():
                if script.endswith(f"-{stage}.sbatch"):
                    jobs[job] = [state, reason, script]
        (self.folder / "queue.json").write_text(json.dumps(jobs))

    def states(self) -> list[str]:
        """Of all jobs, in the order in which they came."""
        return [state for state, _, _ in self.jobs.values()]

    def does(self, what: str, does: bool = True) -> None:
        """Be ``silent``, or ``slow`` to answer sbatch although the job is there."""
        (self.folder / what).touch() if does else (self.folder / what).unlink()


@pytest.fixture
def fake(tmp_path, monkeypatch) -> Fake:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(executor, "EVERY", 0.2)
    return Fake(folder)


@pytest.fixture
def cluster(tmp_path) -> Path:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump({"nodes": 1, "tasks_per_node": 1}))
    return file


def submitted(supervisor: Supervisor, fake: Fake, tiny, jobs: int = 5) -> str:
    """A run whose jobs are in the queue, as the service knows."""
    id = supervisor.submit(Asked(tiny, executor="slurm")).id
    until(lambda: len(fake.jobs) == jobs and "waits behind other jobs" in supervisor.get(id).reason)
    return id


@pytest.mark.parametrize(
    "reason", ["launch failed requeued held", "job requeued in held state", "JobHoldMaxRequeue", "JobHeldUser"]
)
def test_a_job_that_slurm_holds_says_how_it_goes_on(root, tiny, fake, cluster, reason):
    with supervised(root, cluster=cluster) as supervisor:
        id = submitted(supervisor, fake, tiny)
        fake.becomes(reason, images="PENDING")
        until(lambda: "`scontrol release` lets it go on" in supervisor.get(id).reason)
        assert supervisor.get(id).state is State.QUEUED


def test_a_run_waits_runs_and_fails_as_slurm_says(root, tiny, fake, cluster):
    with supervised(root, cluster=cluster) as supervisor:
        id = submitted(supervisor, fake, tiny)
        row = supervisor.get(id)
        assert (row.state, [*row.slurm["jobs"].values()]) == (State.QUEUED, [*fake.jobs])
        fake.becomes(images="RUNNING")
        assert wait(supervisor, id, State.RUNNING).reason == "stage images in Slurm's job 100"
        later = ("attractors", "dictionary", "reconstruct", "report")
        fake.becomes(images="TIMEOUT", **dict.fromkeys(later, "CANCELLED"))
        assert "reached its time limit; raise `time`" in wait(supervisor, id, State.FAILED).reason
        assert len(fake.jobs) == 5  # what is the run's own fault is not tried again
        supervisor.resume(id)
        until(lambda: len(fake.jobs) == 10)


def test_a_run_whose_node_fails_for_good_is_submitted_again(root, tiny, fake, cluster):
    with supervised(root, cluster=cluster) as supervisor:
        id = submitted(supervisor, fake, tiny)
        later = ("attractors", "dictionary", "reconstruct", "report")
        fake.becomes(images="NODE_FAIL", **dict.fromkeys(later, "CANCELLED"))
        until(lambda: len(fake.jobs) == 10)
        until(lambda: supervisor.get(id).state is State.QUEUED and supervisor.get(id).slurm["jobs"]["images"] == "105")


def test_cancelling_takes_all_jobs_out_of_the_queue(root, tiny, fake, cluster):
    with supervised(root, cluster=cluster) as supervisor:
        id = submitted(supervisor, fake, tiny)
        fake.becomes(images="RUNNING")
        wait(supervisor, id, State.RUNNING)
        supervisor.cancel(id)
        wait(supervisor, id, State.CANCELLED)
    assert fake.states() == ["CANCELLED"] * 5


def test_a_new_server_adopts_what_is_in_the_queue(root, tiny, fake, cluster):
    with supervised(root, cluster=cluster) as supervisor:
        id = submitted(supervisor, fake, tiny)
    fake.becomes(images="RUNNING")
    with supervised(root, cluster=cluster) as supervisor:
        wait(supervisor, id, State.RUNNING)
    assert len(fake.jobs) == 5


@pytest.mark.parametrize("server", ["lives", "dies"])
def test_jobs_of_a_submission_that_was_killed_are_withdrawn_before_the_next(server, root, tiny, fake, cluster):
    fake.does("slow")
    with supervised(root, cluster=cluster) as supervisor:
        id = supervisor.submit(Asked(tiny, executor="slurm")).id
        until(lambda: len(fake.jobs) == 1)
        if server == "lives":
            signal_all(root / id, signal.SIGKILL)
            fake.does("slow", False)
            until(lambda: len(fake.jobs) == 6)
    if server == "dies":
        signal_all(root / id, signal.SIGKILL)
        fake.does("slow", False)
        with supervised(root, cluster=cluster) as supervisor:
            until(lambda: len(fake.jobs) == 6)
    assert fake.states() == ["CANCELLED", *["PENDING"] * 5]


def test_while_slurm_is_silent_a_run_stays_what_it_was(root, tiny, fake, cluster):
    with supervised(root, cluster=cluster) as supervisor:
        id = submitted(supervisor, fake, tiny)
        fake.becomes(images="RUNNING")
        wait(supervisor, id, State.RUNNING)
        fake.does("silent")
        until(lambda: "Unable to contact slurm controller" in supervisor.get(id).reason)
        assert supervisor.get(id).state is State.RUNNING
        fake.does("silent", False)
        until(lambda: supervisor.get(id).reason == "stage images in Slurm's job 100")
    assert len(fake.jobs) == 5


def test_what_slurm_refuses_is_said_in_its_words(root, tiny, fake, cluster):
    (fake.folder / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: Invalid account' >&2; exit 1\n")
    with supervised(root, cluster=cluster) as supervisor:
        id = supervisor.submit(Asked(tiny, executor="slurm")).id
        assert wait(supervisor, id, State.FAILED).reason == "sbatch refused the job: Invalid account"


def test_one_look_at_the_queue_serves_all_runs(monkeypatch):
    looks = []
    tasks = [scheduler.Task(str(job), "RUNNING", "None") for job in range(9)]
    monkeypatch.setattr(executor.scheduler, "queue", lambda stages: looks.append(stages) or tasks)
    queue = Queue()
    for job in range(9):
        assert queue.states({"images": str(job)}) == {str(job): ("RUNNING", "None")}
    assert len(looks) == 1
    with pytest.raises(Failure, match="looked at next"):
        queue.tasks(since=float("inf"))


def test_a_wrong_profile_is_refused_at_the_start(root, tmp_path):
    (tmp_path / "wrong.yaml").write_text("nodez: 3")
    with pytest.raises(UserError, match="nodez"):
        Supervisor(Settings(root=root, cluster=tmp_path / "wrong.yaml"))
