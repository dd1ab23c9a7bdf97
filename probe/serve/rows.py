"""The row of a run for the index: what a list, a run's page and its events show, from its folder alone."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.provenance import now
from jobs.status import Status
from probe.config import read_yaml
from probe.errors import UserError
from probe.kinds import kind_of
from probe.reading import Unreadable, read_object
from probe.results.layout import CONFIG, MANIFEST, REPORT_JSON
from probe.serve.facts import Facts
from probe.serve.index import Row
from probe.serve.outcomes import outcomes_so_far
from probe.serve.states import OVER, State
from probe.serve.ticket import Ticket


def row_of(
    id: str,
    path: Path,
    ticket: Ticket | None,
    state: State,
    reason: str,
    facts: Facts,
    status: Status | None,
    fingerprint: str = "",
) -> Row:
    """The row of a run.

    Args:
        ticket: None for a run that the service did not make.
        status: None where the folder cannot be read.
    """
    manifest = _object(path / MANIFEST)
    report = _object(path / REPORT_JSON) if state is State.DONE else {}
    settings = ticket.settings if ticket else _settings(path)
    begun = next((one.get("started") for one in manifest.get("sessions", [])), None) or manifest.get("started")
    finished = manifest.get("finished") if state is State.DONE else None
    if ticket:
        begun = ticket.attempts[0].begun if ticket.attempts else None
        if state in OVER:  # the manifest's is from before the report is made
            ended = facts.life.ended if facts.life else None
            finished = ended or finished or (None if ticket.attempts else ticket.asked)
    return Row(
        id=id,
        name=ticket.name if ticket else path.name,
        kind=ticket.kind if ticket else kind_of(path),
        state=state,
        reason=reason,
        model=_model(settings),
        executor=ticket.executor if ticket else None,
        submitted=ticket.submitted if ticket else str(begun or _made(path)),
        ours=ticket is not None,
        started=begun,
        finished=finished,
        updated=now(),
        progress=_progress(status) if state in (State.RUNNING, State.STOPPING) else None,
        stages=[
            {"name": stage.name, "state": stage.state, "done": stage.done, "planned": stage.planned, "unit": stage.unit}
            for stage in (status.stages if status else [])
        ],
        outcomes=_outcomes(report) or outcomes_so_far(path),
        error=_error(state, reason, facts, status),
        slurm=_slurm(status),
        summary=_summary(report),
        key=ticket.key if ticket else None,
        digest=ticket.digest if ticket else None,
        fingerprint=fingerprint,
    )


def _error(state: State, reason: str, facts: Facts, status: Status | None) -> dict[str, Any] | None:
    """Of the last attempt: what error.json says, or what the state was derived from where a worker died without it."""
    if state is State.DONE:
        return None
    if facts.error and status and status.last_error:
        return {name: status.last_error.get(name) for name in ("status", "message", "time")}
    if state is State.FAILED:
        life = facts.life
        return {"status": life.exit if life else None, "message": reason, "time": life.ended if life else None}
    return None


def _made(path: Path) -> str:
    return datetime.fromtimestamp((path / CONFIG).stat().st_mtime, UTC).isoformat(timespec="seconds")


def _settings(path: Path) -> dict[str, Any]:
    try:
        return read_yaml(path / CONFIG)
    except UserError:
        return {}


def _model(settings: dict[str, Any]) -> str | None:
    """The source of the model, or the sources of several."""
    one, several = settings.get("model"), settings.get("models")
    models = [one] if isinstance(one, dict) else list(several.values()) if isinstance(several, dict) else []
    sources = [str(model.get("source")) for model in models if isinstance(model, dict) and model.get("source")]
    return ", ".join(sources) or None


def _object(file: Path) -> dict[str, Any]:
    try:
        return read_object(file)
    except Unreadable:
        return {}


def _progress(status: Status | None) -> dict[str, Any] | None:
    """The last report of the stage that is at work; None once that stage is complete."""
    if status is None or status.progress is None:
        return None
    if any(stage.name == status.progress["stage"] and stage.state == "complete" for stage in status.stages):
        return None
    return {name: status.progress[name] for name in ("stage", "unit", "done", "total", "rate", "seconds_left")}


def _outcomes(report: dict[str, Any]) -> dict[str, int] | None:
    for part in ("solver", "attractors"):
        found = report.get(part)
        if isinstance(found, dict) and isinstance(found.get("outcomes"), dict):
            return found["outcomes"]
    return None


def _slurm(status: Status | None) -> dict[str, Any] | None:
    jobs = {stage.name: stage for stage in (status.stages if status else []) if stage.job}
    if not jobs:
        return None
    return {
        "jobs": {name: stage.job for name, stage in jobs.items()},
        "states": {name: stage.slurm for name, stage in jobs.items() if stage.slurm},
    }


SMALL = {
    "d": ("model", "d"),
    "starts": ("solver", "n"),
    "atoms": ("dictionary", "atoms"),
    "certified": ("solver", "certificates", "certified"),
    "study": ("study",),
    "cycles": ("cycles",),
}
"""Numbers of report.json that a list shows, by their place there."""


def _summary(report: dict[str, Any]) -> dict[str, Any] | None:
    found = {}
    for name, place in SMALL.items():
        value: Any = report
        for key in place:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float | str):
            found[name] = value
    return found or None
