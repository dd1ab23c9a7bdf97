"""Signals that stop work so that it can be resumed."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from probe.errors import Interruption

STATUS = os.EX_TEMPFAIL if hasattr(os, "EX_TEMPFAIL") else 75
"""Exit status after a signal (sysexits.h): nothing is wrong, rerun the same command to resume."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a shell."""

STOPPING = [signal.Signals[name] for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if name in signal.Signals.__members__]


class Stopped(Interruption):
    """SIGTERM, SIGHUP or SIGUSR1 arrived."""


class Ended(Interruption):
    """Another rank ended, so this one must end with the same status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """SIGTERM, SIGHUP and SIGUSR1 raise ``Stopped`` at the next Python instruction; the current shard is given up.

    Results are written whole or not at all, so only the time since the last shard is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    numbers = [number for number in STOPPING if number.name != "SIGHUP" or not _is_nohup()]

    def stop(number: int, frame: FrameType | None) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)  # a second signal would disturb the clean-up
        raise Stopped(f"stopped by {signal.Signals(number).name}; rerun the same command to resume.")

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """The first SIGINT (Ctrl-C) raises ``KeyboardInterrupt``, so that the work cleans up; a second one ends the process
    at once. If SIGINT is ignored, as in the background of a script, it stays ignored."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        # torchrun forwards the terminal's Ctrl-C to ranks that received it themselves: that is not a second one.
        handed_on = "TORCHELASTIC_RUN_ID" in os.environ
        signal.signal(signal.SIGINT, signal.SIG_IGN if handed_on else signal.SIG_DFL)
        for other in STOPPING:
            if callable(signal.getsignal(other)):  # as in stop_on_signals
                signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_nohup() -> bool:
    return signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
