"""What the Slurm jobs of a work will take, by its plan: time against the limit, requeues, GPU hours, memory."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.table import Table

from jobs.kinds import Kind
from jobs.slurm.profile import ClusterProfile, Resources
from jobs.slurm.submit import resources
from jobs.stage import Stage
from probe.plan.machines import Machine
from probe.plan.parts import PROCESS, WITH_CARD
from probe.plan.show import span as ranged
from probe.plan.stage import Range, StagePlan
from probe.terminal import amount, digits, length, size

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
STARTING = 30.0
"""Seconds that a job takes to begin: imports, the meeting of its ranks, the model. Each requeue takes them again."""


@dataclass(frozen=True)
class Job:
    """One job of `probe submit`, or an array of them.

    Attributes:
        stage: of its script.
        does: the stages that it works on: an array goes on with those after it.
        partition: None: the cluster's default.
        nodes, tasks: of one job; a task is a rank. array: number of such jobs, 1 without an array.
        limit: seconds from the start to the time limit; None: none is asked for.
        seconds: that one job takes, all its lives together.
        requeues: how often it is expected to reach its limit; None where there is no limit.
        gpu_hours: allocated; used: those in which a rank had work to do.
        memory: bytes expected in the main memory of a node; allowed: of the profile; None: the cluster's default.
        gpu: bytes that a rank takes on its GPU; 0 without one.
        warnings: sentences; hints: what would save some of it.
    """

    stage: str
    does: tuple[str, ...]
    partition: str | None
    nodes: int
    tasks: int
    array: int
    limit: float | None
    seconds: Range
    requeues: int | None
    gpu_hours: float
    used: float
    memory: float
    allowed: float | None
    gpu: float
    warnings: tuple[str, ...]
    hints: tuple[str, ...] = ()


def expected_jobs(
    kind: Kind, config: Any, profile: ClusterProfile, plans: Mapping[str, StagePlan], machine: Machine
) -> list[Job]:
    """The jobs that `probe submit` would make of a configuration, in order.

    Args:
        plans: of the stages, by name; a stage without one is taken to need no time.
        machine: what a rank works on; what a processor does takes as long on any.

    Raises:
        UserError: as ``ClusterProfile.of``.
    """
    asked = resources(kind, config, profile)
    return [_job(kind, stage, config, one, plans, machine) for stage, one in asked.items()]


def jobs_table(jobs: Sequence[Job], machine: Machine) -> Table:
    """A row per job, and one for all of them, one after the other."""
    found = Table(title=f"Slurm jobs on {machine.name}, without the time in the queue", title_justify="left")
    names = (
        "job",
        "partition",
        "nodes x tasks",
        "time",
        "limit",
        "expected\nrequeues",
        "GPU hours\n(with work)",
        "GPU memory",
        "node memory",
    )
    for name in names:
        found.add_column(name, justify="left" if name in names[:2] else "right")
    for job in jobs:
        tasks = f"{job.nodes} x {job.tasks // job.nodes}" + (f", array of {job.array}" if job.array > 1 else "")
        found.add_row(
            ", ".join(job.does),
            job.partition or "default",
            tasks,
            ranged(job.seconds),
            "none" if job.limit is None else length(job.limit),
            "-" if job.requeues is None else str(job.requeues),
            f"{digits(job.gpu_hours)} ({digits(job.used)})" if job.gpu_hours else "-",
            f"{size(job.gpu)} of {size(machine.memory)}" if job.gpu else "-",
            f"{size(job.memory)} of {size(job.allowed) if job.allowed else 'the default'}",
        )
    found.add_section()
    held, used = (sum(getattr(job, name) for job in jobs) for name in ("gpu_hours", "used"))
    seconds = ranged(Range.total(job.seconds for job in jobs))
    found.add_row("all", "", "", seconds, "", "", f"{digits(held)} ({digits(used)})" if held else "-")
    return found


def _job(
    kind: Kind, stage: Stage, config: Any, asked: Resources, plans: Mapping[str, StagePlan], machine: Machine
) -> Job:
    array = asked.array or 1
    after = kind.stages[kind.stages.index(stage) + 1 :] if stage.leaves else ()
    ranks = asked.nodes * asked.tasks_per_node
    seconds, work = Range.exactly(STARTING), 0.0
    there = [plans[one.name] for one in (stage, *after) if one.name in plans]
    for one in there:
        shared = ranks * array if one.name == stage.name else 1  # one task of an array does what comes after
        seconds = Range.total([seconds, one.seconds(machine, shared)])
        work += one.seconds(machine).expected
    # Tensors on a GPU are not in the memory that Slurm counts.
    own = max((one.host if asked.gpus_per_task else one.memory + one.host for one in there), default=0.0)
    on_node = (own + (WITH_CARD if asked.gpus_per_task else PROCESS)) * asked.tasks_per_node
    limit, allowed = limit_seconds(asked.time), memory_bytes(asked.memory)
    life = None if limit is None else limit - asked.signal_seconds
    gpus = asked.gpus_per_task * ranks
    found = Job(
        stage=stage.name,
        does=tuple(one.name for one in (stage, *after)),
        partition=asked.partition,
        nodes=asked.nodes,
        tasks=ranks,
        array=array,
        limit=limit,
        seconds=seconds,
        requeues=None if life is None else math.ceil(seconds.expected / max(life - STARTING, 1.0)) - 1,
        gpu_hours=gpus * _held(stage, array, seconds.expected, work) / 3600,
        used=asked.gpus_per_task * work / 3600,
        memory=on_node,
        allowed=allowed,
        gpu=max((one.taken(machine) for one in there), default=0.0) if gpus else 0.0,
        warnings=(),
    )
    return replace(
        found,
        warnings=tuple(_warnings(found, asked, machine)),
        hints=tuple(_hints(found, stage, plans[stage.name])) if stage.name in plans else (),
    )


def _held(stage: Stage, array: int, seconds: float, work: float) -> float:
    """Seconds for which the jobs of an array are there, in all. The tasks of a stage that leaves end when no part is
    left to take; those of others wait for the last part."""
    return array * STARTING + work if stage.leaves else array * seconds


def _hints(job: Job, stage: Stage, plan: StagePlan) -> Iterator[str]:
    """What would save GPU hours and take no longer: tasks that find no part, or fewer parts than others."""
    enough = plan.enough(job.array)
    if not stage.leaves and enough < job.array and job.gpu_hours:
        less = digits(job.gpu_hours * (1 - enough / job.array))
        yield (
            f"stage {job.stage} has {amount(plan.shards, 'shards')} to share for {job.array} tasks: "
            f"`array: {enough}` for it in `stages` takes as long and holds {less} GPU hours less."
        )


def _warnings(job: Job, asked: Resources, machine: Machine) -> Iterator[str]:
    tries = (asked.requeues if asked.signal_seconds else 0) + 1
    if job.requeues is not None and job.requeues >= tries:
        lives = "1 life" if tries == 1 else f"{tries} lives"
        yield (
            f"job {job.stage} needs {length(job.seconds.expected)} and would not end within {lives} of {asked.time}; "
            f"raise `time` or `requeues` of stage {job.stage}, or give it more {'tasks' if job.array > 1 else 'ranks'}."
        )
    if job.allowed is not None and job.memory > job.allowed:
        yield (
            f"job {job.stage} takes {size(job.memory)} on a node, and its `memory` is {asked.memory}; raise it"
            f"{', or lower `tasks_per_node`' if asked.tasks_per_node > 1 else ''}."
        )
    if job.gpu > machine.memory:
        yield f"a rank of job {job.stage} needs {size(job.gpu)}, and {machine.name} has {size(machine.memory)}."


def limit_seconds(text: str | None) -> float | None:
    """A time limit of sbatch in seconds; None for none: minutes, minutes:seconds, hours:minutes:seconds, days-hours,
    days-hours:minutes, days-hours:minutes:seconds."""
    if text is None or not text[0].isdigit():
        return None
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # from hours on
        hours, minutes, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, [*parts, 0][:2]
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


def memory_bytes(text: str | None) -> float | None:
    """A size of sbatch --mem, by default in MiB; None where none is asked for, or 0: all of the node."""
    if text is None:
        return None
    number, unit = re.fullmatch(r"(\d+)([KMGT]?)B?", text.upper()).groups()  # type: ignore[union-attr]  # the profile checks it
    return float(int(number) * UNITS[unit or "M"]) or None
