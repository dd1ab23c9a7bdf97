"""A check of the audit, and running it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from probe.errors import UserError, reason_of
from probe.results.audit import Finding, skipped
from probe.studies.audit.subject import Subject


@dataclass(frozen=True)
class Check:
    """A question that the audit asks.

    Attributes:
        name: for the table, JSON, and ``probe audit --only NAME``.
        title: the question in a few words.
        run: answers it with one or more findings, whose ``check`` is ``name``. It leaves ``subject.model`` as it is:
            what changes a model loads one of its own (``subject.again``). What it raises becomes a skipped finding.
        wanted: whether it runs without being named.
    """

    name: str
    title: str
    run: Callable[[Subject], list[Finding]]
    wanted: bool = True


def chosen(checks: Sequence[Check], names: Sequence[str], also: Sequence[str] = ()) -> list[Check]:
    """The checks of these names, or all that run without being named if there are no names; and those of ``also``.

    Raises:
        UserError: there is no check of that name.
    """
    known = [one.name for one in checks]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"there is no check {unknown[0]!r}; the checks are {', '.join(known)}.")
    return [one for one in checks if one.name in (*names, *also) or (not names and one.wanted)]


def answer(check: Check, subject: Subject) -> list[Finding]:
    """What a check finds. One that cannot be run is skipped, with the reason, so that the others still count."""
    try:
        return check.run(subject)
    except torch.OutOfMemoryError:
        return [skipped(check.name, "The device has too little memory for it, even with one row at a time.")]
    except Exception as error:  # of any type, from the model's own code or from torch
        return [skipped(check.name, f"It could not be run: {type(error).__name__}: {reason_of(error)}")]
