"""Ctrl-C while Python still imports the modules of a command."""

import os
import signal
import sys
from types import FrameType


def hear_interrupts() -> None:
    """Let Ctrl-C end this process with a sentence until ``jobs.worker.guarded`` takes over. Does nothing in a process
    that is no command of this tool."""
    command = os.path.basename(sys.argv[0] if sys.argv else "") in ("probe", "-m")  # -m: Python looks for the module
    if command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\nprobe: interrupted; rerun the same command to resume.\n")
    os._exit(130)
