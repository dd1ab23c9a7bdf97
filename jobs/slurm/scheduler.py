"""Slurm's commands: sbatch, squeue, scancel."""

import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from probe.errors import Failure, UserError
from probe.threads import environment_without_ours

PATIENCE = 60.0


def submit(script: str, options: Sequence[str]) -> str:
    """Submit a script; its job id.

    Raises:
        UserError: Slurm is not installed here, or refuses the script; with Slurm's own words.
        Failure: Slurm seems to have accepted it, but printed no job id.
    """
    if shutil.which("sbatch") is None:
        raise UserError("sbatch is not on this machine; submit on a login node, or print the scripts with --dry-run.")
    done = _run(["sbatch", "--parsable", *options, script])
    if done.returncode:
        raise UserError(f"sbatch refused the job: {_sentence(done.stderr)}")
    # Anything else that a site prints (a greeting, a budget) is on lines of its own.
    ids = [line.strip() for line in done.stdout.splitlines() if re.fullmatch(r"\s*\d+(;\S+)?\s*", line)]
    if not ids:
        name = next((o.partition("=")[2] for o in options if o.startswith("--job-name=")), "")
        said = " ".join(done.stdout.split())[:200]
        raise Failure(
            f"sbatch printed no job id, but {said!r}; the job may be in the queue: find it with "
            f"`squeue --me --name={name}`, and cancel it with `scancel` before you submit again."
        )
    return ids[-1].partition(";")[0]


@dataclass(frozen=True)
class Task:
    """A job that the queue knows, or a task of an array.

    Attributes:
        job: its id, or that of the array.
        state, reason: in Slurm's words.
        script: the batch script that was submitted.
    """

    job: str
    state: str
    reason: str
    script: str = ""


def queue(stages: Iterable[str]) -> list[Task] | None:
    """The jobs of these stages, of any folder, that are still known to the queue; None without Slurm.

    Raises:
        Failure: Slurm does not answer.
    """
    if shutil.which("squeue") is None:
        return None
    # By name: squeue -j fails as a whole if it has forgotten one of the jobs. %F: an array has one number.
    names = ",".join(map(job_name, stages))
    done = _run(["squeue", "-h", "-t", "all", f"--name={names}", "-o", "%F|%T|%r|%o"])
    if done.returncode:
        raise Failure(f"squeue failed: {_sentence(done.stderr)}")
    lines = (line.strip().split("|", 3) for line in done.stdout.splitlines())
    return [Task(*parts) for parts in lines if len(parts) > 2 and parts[0].isdecimal()]  # others are not squeue's


def states(jobs: Mapping[str, str]) -> dict[str, tuple[str, str]] | None:
    """State and reason of the jobs still known to the queue, by id; None without Slurm.

    Args:
        jobs: ids by stage.

    Raises:
        Failure: Slurm does not answer.
    """
    tasks = queue(jobs) if jobs else []
    return None if tasks is None else states_of(jobs.values(), tasks)


def states_of(jobs: Collection[str], tasks: Iterable[Task]) -> dict[str, tuple[str, str]]:
    """State and reason of the jobs that are among these tasks, by id.

    An array has the state of a task that runs, else of one that waits; else it is COMPLETED if one of its tasks is, and
    the reason says how many are not.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for task in tasks:
        if task.job in jobs:
            found.setdefault(task.job, []).append((task.state, task.reason))
    return {job: _of_array(states) for job, states in found.items()}


def _of_array(tasks: list[tuple[str, str]]) -> tuple[str, str]:
    found = min(tasks, key=lambda task: STATES.get(task[0], WAITING))
    undone = sum(state != "COMPLETED" for state, _ in tasks)
    if is_over(found[0]) and 0 < undone < len(tasks):
        return "COMPLETED", f"{undone} of {len(tasks)} tasks {found[0]}"
    return found


WORKING, WAITING, UNDONE, DONE = range(4)
STATES = {
    **dict.fromkeys(("RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"), WORKING),
    **dict.fromkeys(("PENDING", "CONFIGURING", "POWER_UP_NODE", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD"), WAITING),
    **dict.fromkeys(("RESV_DEL_HOLD", "SPECIAL_EXIT", "UPDATE_DB"), WAITING),
    **dict.fromkeys(("BOOT_FAIL", "CANCELLED", "DEADLINE", "EXPIRED", "FAILED", "LAUNCH_FAILED", "NODE_FAIL"), UNDONE),
    **dict.fromkeys(("OUT_OF_MEMORY", "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"), UNDONE),
    "COMPLETED": DONE,
}
"""What Slurm's states mean (`man squeue`, JOB STATE CODES). An unknown state counts as waiting: the job is in the queue
and can be cancelled."""


def is_over(state: str) -> bool:
    """Whether a job in this state will never run again."""
    return STATES.get(state, WAITING) >= UNDONE


def life(states: Iterable[str]) -> str:
    """``running`` if a job in one of these states runs, ``queued`` if one is in the queue, else empty."""
    there = [state for state in states if not is_over(state)]
    return "" if not there else "running" if "RUNNING" in there else "queued"


def job_name(stage: str) -> str:
    """The name of a stage's job in the queue."""
    return f"probe-{stage}"


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; one that has already ended is no error.

    Raises:
        UserError: Slurm is not installed here.
        Failure: Slurm does not answer.
    """
    if not jobs:
        return
    if shutil.which("scancel") is None:
        raise UserError(f"scancel is not on this machine; run `scancel {' '.join(jobs)}` on a login node.")
    done = _run(["scancel", *jobs])
    if done.returncode and "Invalid job id" not in done.stderr:
        raise Failure(f"scancel failed: {_sentence(done.stderr)}")


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    # The user's SQUEUE_PARTITION and the like would hide jobs. Jobs inherit the rest, and have cores of their own.
    env = {name: value for name, value in environment_without_ours().items() if not name.startswith("SQUEUE_")}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=PATIENCE, env=env
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not answer within {PATIENCE:.0f} s; try again later.") from None
    except OSError as error:
        raise Failure(f"{command[0]} cannot be run: {error.strerror}.") from None


def _sentence(text: str) -> str:
    return " ".join(re.sub("(sbatch|squeue|scancel): error:", "", text).split())[:300] or "it gave no reason"
