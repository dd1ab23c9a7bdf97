"""How a probe is run: the run directory and the stages that fill it.

Ctrl-C is heard from here on, while Python still imports the modules of a command.
"""

import os
import signal
import sys
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\nprobe: interrupted; rerun the same command to resume.\n")
    os._exit(130)


# Until ``jobs.worker.guarded`` takes over; nothing in a process that is no command of this tool.
_command = os.path.basename(sys.argv[0] if sys.argv else "")  # -m: Python looks for the module
if _command in ("probe", "-m") and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
