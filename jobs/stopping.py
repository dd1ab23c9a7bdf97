"""Signals that stop a run so that it can be resumed later."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from probe.errors import Interruption

STATUS = os.EX_TEMPFAIL if hasattr(os, "EX_TEMPFAIL") else 75
"""Exit status 75 of a run that was stopped by a signal: nothing is wrong, run the same command again (sysexits.h)."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a shell."""

STOPPING = [signal.Signals[name] for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if name in signal.Signals.__members__]


class Stopped(Interruption):
    """SIGTERM, SIGHUP or SIGUSR1 arrived."""


class Ended(Interruption):
    """Another rank ended, and so must this one, with the same status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """SIGTERM, SIGHUP and SIGUSR1 raise ``Stopped`` at the next Python instruction; the shard in work is given up.

    Results are written whole or not at all, so that nothing is lost but the time since the last shard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    numbers = [number for number in STOPPING if number.name != "SIGHUP" or not _is_nohup()]

    def stop(number: int, frame: FrameType | None) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)  # once is enough; a second one would disturb the clearing up
        raise Stopped(f"stopped by {signal.Signals(number).name}; rerun the same command to resume.")

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """The first SIGINT (Ctrl-C) raises ``KeyboardInterrupt``, so that the work is put in order; a second one ends the
    process at once. Where it is ignored, as in the background of a script, it stays so."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        # torchrun hands the terminal's Ctrl-C on to ranks that heard it themselves: that is not a second one.
        handed_on = "TORCHELASTIC_RUN_ID" in os.environ
        signal.signal(signal.SIGINT, signal.SIG_IGN if handed_on else signal.SIG_DFL)
        for other in STOPPING:
            if callable(signal.getsignal(other)):  # once is enough, here as well
                signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_nohup() -> bool:
    return signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
