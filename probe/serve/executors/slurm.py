"""Runs on a Slurm cluster: ``probe submit`` under the shim, then what the queue says of the jobs."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from jobs.slurm import scheduler
from jobs.slurm.profile import STAGES, load_profile
from jobs.slurm.submit import at_work, submitted
from probe.errors import Failure, UserError
from probe.reading import Unreadable
from probe.serve.executors import Life, begin, environment, signal_all
from probe.serve.facts import is_held, process_of
from probe.serve.settings import Settings
from probe.serve.ticket import Ticket

EVERY = 5.0
"""Seconds between two looks at Slurm's queue, which are one command for all runs."""
FIRST = 10.0
"""Seconds to wait for the first look."""
OPERATORS = ("SBATCH_", "SLURM_CONF")
"""Settings of the service's environment that Slurm's commands keep."""
log = logging.getLogger("probe")
WORDS = {
    "Resources": "it waits for free nodes",
    "Priority": "it waits behind other jobs",
    "Dependency": "it waits for the stage before",
    "BeginTime": "it was put back into the queue and begins again soon",
    "JobHeldUser": "it is held in the queue; `scontrol release` lets it go on",
    "launch failed requeued held": "Slurm could not launch it and holds it; `scontrol release` lets it go on",
    "job requeued in held state": "it was put back and is held in the queue; `scontrol release` lets it go on",
    "JobHoldMaxRequeue": "it was put back too often and is held in the queue; `scontrol release` lets it go on",
    "JobHeldAdmin": "an administrator holds it in the queue",
    "PartitionDown": "its partition is down",
    "ReqNodeNotAvail": "the nodes that it needs are not available",
}
"""What Slurm's reasons mean."""
ENDS = {
    "BOOT_FAIL": "its node did not start",
    "CANCELLED": "its job was cancelled by somebody else",
    "DEADLINE": "its job missed its deadline",
    "FAILED": "its job failed",
    "LAUNCH_FAILED": "its job could not be launched",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "its job ran out of memory; raise `memory` in the cluster profile",
    "PREEMPTED": "its job was pre-empted",
    "TIMEOUT": "its job reached its time limit; raise `time` or `requeues` in the cluster profile",
}
"""What the states mean in which Slurm leaves a job that will not run again."""
LOST = frozenset({"BOOT_FAIL", "LAUNCH_FAILED", "NODE_FAIL", "PREEMPTED", "RECONFIG_FAIL", "REVOKED"})
"""Those that are no fault of the run, which is submitted again."""


class Queue:
    """Slurm's queue as it was a few seconds ago. It is asked in a thread of its own: a scheduler that does not answer
    must not hold up the service."""

    def __init__(self) -> None:
        self._known: list[scheduler.Task] | None = None
        self._trouble, self._asked = "", -float("inf")
        self._began = -float("inf")
        self._thread: threading.Thread | None = None
        self._first = threading.Event()

    def tasks(self, since: float = -float("inf")) -> list[scheduler.Task] | None:
        """What is in the queue, as it was after this monotonic time; None without Slurm.

        Raises:
            Failure: Slurm does not answer, or has not done so yet.
        """
        if time.monotonic() - self._asked >= EVERY and not (self._thread and self._thread.is_alive()):
            self._asked = time.monotonic()
            self._thread = threading.Thread(target=self._ask, name="squeue", daemon=True)
            self._thread.start()
        self._first.wait(FIRST)
        if self._trouble:
            raise Failure(self._trouble)
        if self._began < since:
            raise Failure("Slurm's queue is looked at next.")
        return self._known

    def states(self, jobs: Mapping[str, str]) -> dict[str, tuple[str, str]] | None:
        """As ``scheduler.states``."""
        if not jobs:
            return {}
        tasks = self.tasks()
        return None if tasks is None else scheduler.states_of(jobs.values(), tasks)

    def stale(self) -> None:
        """Something was changed in the queue: look again at once."""
        self._asked = -float("inf")

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            self._known, self._trouble = scheduler.queue(STAGES), ""
            self._began = began
        except (Failure, UserError) as error:
            self._trouble = str(error)
        self._first.set()


class Slurm:
    """Runs as jobs of a cluster. A submission takes seconds, under the shim; then the jobs are all that lives."""

    def __init__(self, settings: Settings, queue: Queue):
        """Check the cluster profile.

        Raises:
            UserError: it cannot be read, or is wrong.
        """
        assert settings.cluster is not None
        load_profile(settings.cluster)
        self.profile, self.queue = settings.cluster.resolve(), queue
        self._seen: dict[Path, tuple[object, float]] = {}
        self._withdrawing: dict[Path, float] = {}
        self._before: dict[Path, Life] = {}

    def room(self, taken: Collection[int]) -> int | None:
        """As ``Executor``: Slurm has the queue."""
        return 0

    def size(self) -> int | None:
        """As ``Executor``."""
        return None

    def start(self, ticket: Ticket, path: Path) -> None:
        """As ``Executor``."""
        command = [sys.executable, "-P", "-m", "probe.cli.main", "submit", str(path / "config.yaml")]
        command += [
            "--out",
            str(path),
            "--cluster",
            str(self.profile),
            "--json",
            *(["--trust-code"] if ticket.trust else []),
        ]
        operators = {name: value for name, value in os.environ.items() if name.startswith(OPERATORS)}
        begin(path, ticket.attempts[-1].number, command, {**environment(), **operators})

    def cancel(self, ticket: Ticket, path: Path, hard: bool) -> None:
        """As ``Executor``. A submission may end first, so that its jobs are known."""
        if is_held(path):
            if hard:
                signal_all(path, signal.SIGKILL)
            return
        self._withdraw(path)

    def life(self, ticket: Ticket, path: Path) -> Life:
        """As ``Executor``: the shim's lock while it submits, then the queue. While that is unknown, a run is where it
        was."""
        try:
            self._before[path] = found = self._life(ticket, path)
        except (Failure, Unreadable) as trouble:
            before = self._before.get(path)
            return Life(alive=True, waiting=before.waiting if before else True, reason=str(trouble))
        return found

    def _life(self, ticket: Ticket, path: Path) -> Life:
        if is_held(path):
            return Life(alive=True, waiting=True, reason="it is being submitted to Slurm")
        shim, attempt = process_of(path), ticket.attempts[-1]
        if shim is None or shim.get("attempt") != attempt.number:
            return Life(alive=False, began=False)
        jobs = _of_attempt(path, attempt.begun)
        tasks = self.queue.tasks(since=self._first_seen(path, (attempt.number, *jobs.values())))
        if tasks is None:
            raise Failure("squeue is not on this machine.")
        if jobs:
            return _of_jobs(jobs, tasks)
        if at_work(path, tasks):
            self._withdraw(path)
            return Life(alive=True, waiting=True, reason="its submission was interrupted; its jobs are withdrawn")
        status = shim.get("exit")
        if isinstance(status, int) and status >= 0:
            return Life(alive=False, ended=shim.get("ended"), exit=status or 1)
        return Life(alive=False, reason="its submission to Slurm was interrupted")

    def _first_seen(self, path: Path, what: object) -> float:
        """The monotonic time at which this was first known of a run: a queue of before says nothing about it."""
        if self._seen.get(path, (None,))[0] != what:
            self._seen[path] = what, time.monotonic()
            self.queue.stale()
        return self._seen[path][1]

    def _withdraw(self, path: Path) -> None:
        """Cancel the jobs of a run, apart from what the service does meanwhile."""
        if time.monotonic() - self._withdrawing.get(path, -EVERY) >= EVERY:
            self._withdrawing[path] = time.monotonic()
            threading.Thread(target=self._cancel, args=(path,), name="scancel", daemon=True).start()

    def _cancel(self, path: Path) -> None:
        try:
            scheduler.cancel(at_work(path, scheduler.queue(STAGES) or ()))
        except (Failure, UserError) as error:
            log.warning(f"{path}: {error}")
        self.queue.stale()


def _of_attempt(path: Path, begun: str) -> dict[str, str]:
    """Jobs by stage that were submitted since an attempt began; none where it did not come to that."""
    record = submitted(path)
    return record["jobs"] if str(record.get("submitted", "")) >= begun else {}


def _of_jobs(jobs: Mapping[str, str], tasks: list[scheduler.Task]) -> Life:
    """What the queue says of the jobs of a run, by stage and in order."""
    states = scheduler.states_of(jobs.values(), tasks)
    known = {stage: (job, *states[job]) for stage, job in jobs.items() if job in states}
    there = {stage: of for stage, of in known.items() if not scheduler.is_over(of[1])}
    for stage, (job, state, _) in there.items():
        if scheduler.STATES.get(state) == scheduler.WORKING:
            return Life(alive=True, reason=f"stage {stage} in Slurm's job {job}")
    for stage, (job, _, reason) in there.items():
        why = WORDS.get(reason, f"Slurm says {reason}" if reason not in ("", "None") else "it waits")
        return Life(alive=True, waiting=True, reason=f"{why} (stage {stage}, Slurm's job {job})")
    for stage, (job, state, _) in known.items():
        if state != "COMPLETED":  # the first: those after it were cancelled because of it
            why = f"{ENDS.get(state, f'its job ended as {state}')} (stage {stage}, Slurm's job {job})"
            return Life(alive=False, exit=None if state in LOST else 1, reason=why)
    return Life(alive=False, reason="its jobs have left Slurm's queue, which does not say how they ended")
