"""How far a run, study, OOD experiment or round trip is, from its files alone; and the states of its Slurm jobs."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from jobs.kinds import kind_of
from jobs.lock import is_suspended, is_there
from probe.errors import Failure
from probe.reading import Unreadable, read_object
from probe.results.layout import ERROR, OWNER, PROGRESS

FRESH = 60.0
"""Seconds after which progress.json is out of date."""
NOT_ANSWERING = "not answering"


class _Said(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class Progress(_Said):
    """progress.json."""

    stage: str
    unit: str
    done: float
    total: float
    rate: float
    seconds_left: float | None
    ranks: int
    updated: str


class Owner(_Said):
    """.owner.json."""

    host: str
    pid: int
    since: str


class LastError(_Said):
    """error.json."""

    time: str
    rank: int
    message: str


@dataclass
class StageStatus:
    """A stage: units done and units planned, None while that is unknown; ``complete``, ``waiting``, or, for the first
    that is not complete, the state of the directory; and why it has nothing to do, if so."""

    name: str
    done: int
    planned: int | None
    state: str = "waiting"
    job: str | None = None
    slurm: str | None = None
    unit: str = "parts"
    skipped: str = ""


@dataclass
class Status:
    """The status of a directory.

    Attributes:
        run_dir: its folder.
        state: ``complete``, ``running``, ``not answering`` (its process exists, but is suspended or silent for a
            minute), ``queued``, ``stopped`` or ``new``.
        stages: in order.
        progress: last reported by rank 0: stage, done, total, unit, rate (per second), seconds_left, ranks, updated.
        owner: the process at work: host, pid, since.
        last_error: time, rank, status, message; None after a good end.
        slurm: why Slurm's states are unknown; empty if they are known, or if nothing was submitted.
        unreadable: a sentence for each file that could not be read.
    """

    run_dir: str
    state: str
    stages: list[StageStatus]
    progress: dict[str, Any] | None = None
    owner: dict[str, Any] | None = None
    last_error: dict[str, Any] | None = None
    slurm: str = ""
    unreadable: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


States = Callable[[Mapping[str, str]], dict[str, tuple[str, str]] | None]
"""As ``jobs.slurm.scheduler.states``."""


def read_status(path: Path, states_of: States | None = None) -> Status:
    """The status of a run, study, OOD experiment or round trip.

    Args:
        states_of: what Slurm says of jobs; by default its queue is asked.

    Raises:
        UserError: the folder holds none of them.
    """
    from jobs.slurm import scheduler
    from jobs.slurm.submit import submitted

    kind = kind_of(path)
    directory = kind.directory.open(path)
    stages = [
        StageStatus(
            stage.name,
            *stage.count(directory),
            unit=stage.unit,
            skipped=stage.skipped(directory) if stage.skipped else "",
        )
        for stage in kind.stages
    ]
    unreadable: list[str] = []
    jobs: dict[str, str] = {}
    note, states = "", None
    try:
        jobs = submitted(path).get("jobs", {})
        states = (states_of or scheduler.states)(jobs)
        note = "no squeue here" if jobs and states is None else ""
    except Unreadable as error:
        unreadable.append(str(error))
    except Failure as failure:
        note = str(failure)
    progress = _read(path / PROGRESS, Progress, unreadable)
    owner = _read(path / OWNER, Owner, unreadable)
    last_error = _read(path / ERROR, LastError, unreadable)
    life = _life(owner, progress)
    known = [states[job][0] for job in jobs.values() if job in states] if states else []
    began = any(stage.done for stage in stages) or (path / PROGRESS).exists()
    state = life or scheduler.life(known) or ("stopped" if began else "new")
    at_work = state
    for stage in stages:
        stage.job = jobs.get(stage.name)
        if stage.job and states is not None:
            queue, reason = states.get(stage.job, ("", ""))
            stage.slurm = f"{queue} ({reason})" if reason not in ("", "None") else queue or "gone from the queue"
        if stage.planned == stage.done:
            stage.state = "complete"
        elif at_work in ("running", NOT_ANSWERING, "stopped"):
            stage.state, at_work = at_work, ""  # the first that is not complete
    if all(stage.state == "complete" for stage in stages):
        state = "complete"
    holder = {key: owner[key] for key in ("host", "pid", "since")} if life and owner else None
    return Status(str(path), state, stages, progress, holder, last_error, note, unreadable)


def _life(owner: dict[str, Any] | None, progress: dict[str, Any] | None) -> str:
    """``running`` or ``not answering`` if a process holds the directory, else empty.

    A process on this machine is looked up; one elsewhere is known only by what it wrote.
    """
    if owner is None:
        return ""
    there = is_there(owner)
    begun, heard = _age(owner["since"]), _age(progress["updated"]) if progress else None
    if there is None:  # a time that is still to come says as little as an old one: a clock was put back
        return "running" if min(abs(age) for age in (begun, heard, FRESH) if age is not None) < FRESH else ""
    if not there:
        return ""
    # Until its first report it loads a model, which may take long; later it reports every few seconds.
    silent = begun is not None and heard is not None and FRESH <= heard < begun
    return NOT_ANSWERING if silent or is_suspended(owner) else "running"


def _read(file: Path, kind: type[BaseModel], unreadable: list[str]) -> dict[str, Any] | None:
    """The content of a file; None if it is absent, or unreadable, which is noted."""
    if not file.exists():
        return None
    try:
        content = read_object(file)
        kind.model_validate(content)
        return content
    except Unreadable as error:
        unreadable.append(str(error))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        unreadable.append(str(Unreadable(file, f"its entry {first['loc'][0]}: {first['msg']}")))
    return None


def _age(moment: str) -> float | None:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (TypeError, ValueError):
        return None
