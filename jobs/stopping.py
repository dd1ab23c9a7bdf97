"""Signals that stop a run so that it can go on later."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from probe.errors import Interruption

STATUS = os.EX_TEMPFAIL if hasattr(os, "EX_TEMPFAIL") else 75
"""Exit status 75 of a run that was stopped by a signal: nothing is wrong, run the same command again (sysexits.h)."""


class Stopped(Interruption):
    """SIGTERM or SIGUSR1 arrived."""


class Ended(Interruption):
    """Another rank ended, and so must this one, with the same status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """SIGTERM and SIGUSR1 raise ``Stopped`` at the next Python instruction; the shard in work is given up.

    Results are written whole or not at all, so that nothing is lost but the time since the last shard.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    numbers = [signal.SIGTERM] + ([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])

    def stop(number: int, frame: FrameType | None) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)  # once is enough; a second one would disturb the clearing up
        raise Stopped(f"stopped by {signal.Signals(number).name}; the same command goes on")

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
