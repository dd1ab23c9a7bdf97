"""Slurm's commands, as far as they are used: sbatch, squeue, scancel."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence

from probe.errors import Failure, UserError

PATIENCE = 60.0


def submit(script: str, options: Sequence[str]) -> str:
    """Submit a script; its job id.

    Raises:
        UserError: Slurm is not here, or refuses it; with Slurm's own words.
    """
    if shutil.which("sbatch") is None:
        raise UserError(
            "sbatch is not on this machine; submit on a login node of the cluster, or see the scripts with --dry-run."
        )
    done = _run(["sbatch", "--parsable", *options, script])
    if done.returncode:
        raise UserError(f"sbatch refused the job: {_sentence(done.stderr)}")
    return done.stdout.strip().partition(";")[0]


def states(jobs: Mapping[str, str]) -> dict[str, tuple[str, str]] | None:
    """State and reason of the jobs that the queue still knows, by id; None where there is no Slurm.

    An array is as its most telling task: one that runs, else one that waits, else one that did not complete.

    Args:
        jobs: ids by stage.

    Raises:
        Failure: Slurm does not answer.
    """
    if shutil.which("squeue") is None:
        return None
    if not jobs:
        return {}
    # By name, and a filter here: squeue -j fails as a whole where it has forgotten one of the jobs.
    names = ",".join(map(job_name, jobs))
    done = _run(["squeue", "-h", "-t", "all", f"--name={names}", "-o", "%F|%T|%r"])  # %F: an array has one number
    if done.returncode:
        raise Failure(f"squeue failed: {_sentence(done.stderr)}")
    tasks: dict[str, list[tuple[str, str]]] = {}
    for line in done.stdout.splitlines():
        job, state, reason = line.split("|", 2)
        if job in jobs.values():
            tasks.setdefault(job, []).append((state, reason))
    return {job: min(states, key=_telling) for job, states in tasks.items()}


OVER = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}


def _telling(task: tuple[str, str]) -> tuple[bool, bool, bool]:
    """Of an array's tasks one that runs says most, then one that waits, then one that failed."""
    state = task[0]
    return state != "RUNNING", state in OVER, state == "COMPLETED"


def job_name(stage: str) -> str:
    """What a stage's job is called in the queue."""
    return f"probe-{stage}"


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; one that has ended already is no error.

    Raises:
        Failure: Slurm does not answer.
    """
    if not jobs:
        return
    done = _run(["scancel", *jobs])
    if done.returncode and "Invalid job id" not in done.stderr:
        raise Failure(f"scancel failed: {_sentence(done.stderr)}")


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not answer within {PATIENCE:.0f} s; try again later.") from None
    except OSError as error:
        raise Failure(f"{command[0]} cannot be run: {error.strerror}.") from None


def _sentence(text: str) -> str:
    for name in ("sbatch", "squeue", "scancel"):
        text = text.replace(f"{name}: error:", "")
    return " ".join(text.split()) or "it gave no reason"
