"""A check, what it is given, and the rows of numbers that it finds."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import torch

Value = float | int | str | bool | None


class Verdict(StrEnum):
    """What a row says."""

    PASS = "pass"
    FAIL = "fail"
    INFO = "info"
    """A number to know; nothing is asked of it."""


@dataclass(frozen=True)
class Row:
    """One number that a check found.

    Attributes:
        name: what was measured; unique within its check.
        value: the number, or a word.
        unit: such as ``TFLOP/s``, ``rows/s``, ``starts``; empty where there is none.
        expected: what the value must be, as text: ``0``, ``<= 0.05``; empty where nothing is asked.
        verdict: whether it is so.
        note: how it was measured, or why it failed.
    """

    name: str
    value: Value
    unit: str = ""
    expected: str = ""
    verdict: Verdict = Verdict.INFO
    note: str = ""


def equals(name: str, value: Value, expected: Value, unit: str = "", note: str = "") -> Row:
    """A row that passes if the value is the expected one."""
    return Row(name, value, unit, str(expected), _verdict(value == expected), note)


def at_most(name: str, value: float, limit: float, unit: str = "", note: str = "") -> Row:
    """A row that passes if the value is no larger; NaN fails."""
    return Row(name, value, unit, f"<= {limit:g}", _verdict(value <= limit), note)


def at_least(name: str, value: float, limit: float, unit: str = "", note: str = "") -> Row:
    """A row that passes if the value is no smaller; NaN fails."""
    return Row(name, value, unit, f">= {limit:g}", _verdict(value >= limit), note)


def _verdict(holds: bool) -> Verdict:
    return Verdict.PASS if holds else Verdict.FAIL


@dataclass(frozen=True)
class Setting:
    """Where and how large to check.

    Attributes:
        device: the device that is checked.
        small: sizes that a CPU does in a second or two: every path is taken, and no speed means anything.
        deadline: when this check should be done, in seconds of ``time.monotonic``.
    """

    device: torch.device
    small: bool = False
    deadline: float = float("inf")

    @property
    def cuda(self) -> bool:
        """Whether the device is an NVIDIA GPU (or AMD's, which torch calls the same)."""
        return self.device.type == "cuda"

    def left(self) -> float:
        """Seconds until the deadline: a sweep asks before it takes the next step."""
        return self.deadline - time.monotonic()

    def synchronize(self) -> None:
        """Wait until the device has done everything."""
        if self.cuda:
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: for ``--only NAME``; unique.
        group: ``correctness`` or ``speed``.
        what: one line for the tables.
        seconds: it is skipped if less time is left, and stopped after this time; the rows that it has given by then
            count. State it for an H100.
        run: gives rows as it finds them, so that what was found is kept.
        needs: packages beyond torch, numpy and scipy, by the name to import. Without one the check is skipped.
        cuda: whether it needs a GPU; skipped elsewhere.
    """

    name: str
    group: str
    what: str
    seconds: float
    run: Callable[[Setting], Iterator[Row]]
    needs: tuple[str, ...] = ()
    cuda: bool = False
