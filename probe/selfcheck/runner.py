"""Run checks one after the other within a time; what fails, lacks a package or finds no time is said, and the rest goes
on."""

import contextlib
import gc
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import torch

from probe.errors import UserError
from probe.selfcheck.check import Check, Row, Setting, Verdict


@dataclass
class Done:
    """A check after its turn.

    Attributes:
        status: ``done``, ``skipped``, ``stopped`` (by its deadline) or ``failed`` (by an exception).
        reason: why it is not ``done``; empty where it is.
        seconds: by the clock.
    """

    check: Check
    status: str = "done"
    reason: str = ""
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)


def chosen(checks: Sequence[Check], names: Sequence[str]) -> list[Check]:
    """The checks of these names or groups, or all if there are no names.

    Raises:
        UserError: there is no check and no group of that name.
    """
    known = [*dict.fromkeys(one.group for one in checks), *(one.name for one in checks)]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"there is no check {unknown[0]!r}; use one of {', '.join(known)}.")
    return [one for one in checks if not names or one.name in names or one.group in names]


def run(
    checks: Sequence[Check],
    device: torch.device,
    *,
    small: bool = False,
    budget: float = 480.0,
    keep: Callable[[list[Done]], None] = lambda found: None,
) -> list[Done]:
    """Run all checks in ``budget`` seconds.

    Args:
        keep: is given what was found so far, after each row: to write it down.
    """
    end, found = time.monotonic() + budget, list[Done]()
    for check in checks:
        done = Done(check)
        found.append(done)
        began = time.monotonic()
        if reason := _cannot(check, device, end - began):
            done.status, done.reason = "skipped", reason
        else:
            _collect(done, Setting(device, small, min(began + check.seconds, end)), lambda: keep(found))
            _tidy(device)
        done.seconds = time.monotonic() - began
        keep(found)
    return found


def _cannot(check: Check, device: torch.device, left: float) -> str:
    """Why a check cannot be run; empty if it can."""
    if missing := [name for name in check.needs if find_spec(name) is None]:
        return f"needs {', '.join(missing)}"
    if check.cuda and device.type != "cuda":
        return "needs a GPU"
    if left < check.seconds:
        return f"may take {check.seconds:.0f} s, and {max(left, 0):.0f} s were left"
    return ""


class _Late(BaseException):
    """The deadline has passed. No Exception, so that no handler of a check takes it."""


def _collect(done: Done, setting: Setting, keep: Callable[[], None]) -> None:
    """Take the rows of a check until its deadline or its first exception, which become its status."""
    try:
        with _alarm(setting.left()):
            for row in done.check.run(setting):
                done.rows.append(row)
                keep()
            setting.synchronize()
    except _Late:
        done.status, done.reason = "stopped", f"took longer than {done.check.seconds:.0f} s"
    except Exception as error:  # whatever it is, the table says it
        done.status, done.reason = "failed", _place(error)
        done.rows.append(Row("ran to its end", False, expected="True", verdict=Verdict.FAIL, note=done.reason))


def _place(error: Exception) -> str:
    """What was raised, and the innermost line of this package that was reached."""
    frames = traceback.extract_tb(error.__traceback__)
    room, here = Path(__file__).parents[1], Path(__file__)
    own = [one for one in frames if Path(one.filename).is_relative_to(room) and Path(one.filename) != here] or frames
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
    return f"{type(error).__name__} at {where}: {(str(error).splitlines() or [''])[0]}"


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise ``_Late`` after a time; in a thread other than the main one, and where there is no such signal, never."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _tidy(device: torch.device) -> None:
    """Leave the device to the next check as it was found."""
    gc.collect()
    if device.type == "cuda":
        with contextlib.suppress(Exception):  # after an asynchronous error every call fails; the next check will say so
            torch.cuda.empty_cache()
