"""The state of a run: a pure function of what was asked and of facts. Nothing here looks at a disk or a process."""

from enum import StrEnum
from typing import TYPE_CHECKING

from jobs.stopping import INTERRUPTED, STATUS

if TYPE_CHECKING:
    from probe.serve.facts import Facts
    from probe.serve.ticket import Ticket

MOST_LOST = 3
"""Attempts in a row that may be lost without any progress before the run is given up."""


class State(StrEnum):
    """Of a run, as people see it."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


OVER = frozenset({State.DONE, State.FAILED, State.CANCELLED, State.LOST})
"""States that only a person's wish or a hand-started process changes."""


def derive(ticket: "Ticket | None", facts: "Facts") -> tuple[State, str]:
    """The state, and the reason for it: a sentence, or empty where the state says it all.

    Args:
        ticket: None for a run that the service did not make.
    """
    if ticket is None:
        return _of_foreign(facts)
    life = facts.life
    if life and life.alive:
        if ticket.wanted == "cancel":
            return State.STOPPING, ticket.reason or life.reason
        return (State.QUEUED if life.waiting else State.RUNNING), life.reason
    if facts.owner:
        if ticket.wanted == "cancel":
            return State.STOPPING, f"worked on by {facts.owner}, which this service did not start: end it there"
        return State.RUNNING, f"worked on by {facts.owner}"
    if facts.complete:
        return State.DONE, ""
    if ticket.wanted == "cancel":
        return State.CANCELLED, ticket.reason
    if ticket.last is None or (life and not life.began):
        return State.QUEUED, ""
    return _of_ended(ticket, facts)


def _of_ended(ticket: "Ticket", facts: "Facts") -> tuple[State, str]:
    """Of an attempt that is over without a report."""
    life = facts.life
    status = life.exit if life else None
    if facts.unreadable:
        return State.FAILED, facts.unreadable
    if life and status is not None and status >= 0 and status not in (STATUS, INTERRUPTED):
        if status == 0 and not life.reason:
            return State.FAILED, "its worker ended well, and yet its results are not complete; resume it to go on"
        said = facts.error or life.reason or facts.said
        return State.FAILED, said or f"its worker ended with status {status} and said nothing"
    if status is None and facts.error:
        return State.FAILED, facts.error
    if status in (STATUS, INTERRUPTED):
        what = "its worker was stopped by a signal that this service did not send"
    elif status is not None:
        what = f"its worker was killed by signal {-status}"
    else:
        what = life.reason if life and life.reason else "its worker is gone, and nobody was left to say why"
    if (losses := ticket.losses(facts.done)) > MOST_LOST:
        return State.LOST, f"{what}, {losses} times in a row without progress; resume it to try again"
    return State.QUEUED, f"{what}; it resumes"


def _of_foreign(facts: "Facts") -> tuple[State, str]:
    if facts.owner:
        return State.RUNNING, f"worked on by {facts.owner}"
    if facts.unreadable:
        return State.LOST, facts.unreadable
    if facts.complete:
        return State.DONE, ""
    if facts.life and facts.life.alive:
        return (State.QUEUED if facts.life.waiting else State.RUNNING), facts.life.reason
    if facts.error:
        return State.FAILED, facts.error
    return State.LOST, "it is not complete, and no process works on it; the command that began it resumes it"
