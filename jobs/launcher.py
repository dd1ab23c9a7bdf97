"""What a launcher says of its ranks: the variables of torch (torchrun, accelerate) and of srun. Needs no torch."""

import os
import re
from contextlib import suppress

from jobs.lock import stat_fields
from probe.errors import UserError

SPECIAL_STEP = 0xFFFFFFF0
"""Step ids from here on stand for batch scripts, interactive shells and the like, which are no ranks."""


def tasks_of_step() -> int:
    """How many tasks srun started, this one included; 1 outside of srun and in a shell of ``srun --pty``, whose other
    tasks are shells without a terminal."""
    number = os.environ.get("SLURM_STEP_NUM_TASKS", "")
    step = os.environ.get("SLURM_STEP_ID", "")
    if not number.isdecimal() or (step.isdecimal() and int(step) >= SPECIAL_STEP) or _is_interactive():
        return 1
    return max(int(number), 1)


def _is_interactive() -> bool:
    """Whether this process was started from a shell of ``srun --pty``. A step within it inherits the variable."""
    with suppress(OSError):
        if os.isatty(0):  # tasks of other steps read a pipe or nothing
            return True
    if "SLURM_PTY_PORT" not in os.environ:
        return False
    try:
        return stat_fields(int(os.environ["SLURM_TASK_PID"]))[4] != "0"  # the terminal of the task that srun started
    except (KeyError, ValueError, IndexError, OSError):
        return True


def take_over_slurm() -> None:
    """Set RANK, WORLD_SIZE and the like of torch from the variables of srun, unless a launcher did already.

    Raises:
        UserError: variables of Slurm are missing, as in a container that does not pass them on.
    """
    tasks = tasks_of_step()
    if tasks == 1 or "RANK" in os.environ:
        return
    nodes, step_id = os.environ.get("SLURM_STEP_NODELIST"), os.environ.get("SLURM_STEP_ID", "")
    numbers = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_LOCALID")
    missing = [name for name in numbers if not os.environ.get(name, "").isdecimal()]
    if missing or not nodes:
        missing += [] if nodes else ["SLURM_STEP_NODELIST"]
        raise UserError(
            f"srun started {tasks} tasks, but {', '.join(missing)} is not set; pass Slurm's variables into the "
            "container, or set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT."
        )
    job, step = int(os.environ["SLURM_JOB_ID"]), int(step_id) if step_id.isdecimal() else 0
    os.environ.setdefault("MASTER_ADDR", first_host(nodes))
    os.environ.setdefault("MASTER_PORT", str(20000 + (job * 7 + step) % 20000))
    os.environ |= {"RANK": os.environ["SLURM_PROCID"], "WORLD_SIZE": str(tasks)}
    os.environ |= {"LOCAL_RANK": os.environ["SLURM_LOCALID"], "LOCAL_WORLD_SIZE": _tasks_per_node()}


def first_host(nodes: str) -> str:
    """The first name of a host list such as ``gpu[03-05,9],cpu1``; containers have no scontrol to ask."""
    first = re.match(r"(?:[^\[,]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[([^\]\-,]+)[^\]]*\]", r"\1", first[0] if first else nodes)


def ranks_here() -> int:
    """How many ranks of this run are on this node, as far as the launcher says."""
    if tasks_of_step() > 1 and "RANK" not in os.environ:  # before ``take_over_slurm``
        here = _tasks_per_node()
    else:
        here = os.environ.get("LOCAL_WORLD_SIZE", "") if os.environ.get("WORLD_SIZE", "1") != "1" else ""
    return max(_small(here), 1)


def processors_given() -> int | None:
    """Processors that Slurm gave to this rank; None if it does not say."""
    given = _small(os.environ.get("SLURM_CPUS_PER_TASK", ""))
    if not given:
        return None
    return given if tasks_of_step() > 1 else max(given // ranks_here(), 1)  # else its one task is all ranks here


def _tasks_per_node() -> str:
    """The first number of a list such as ``2(x3),1``."""
    return os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1").partition("(")[0].partition(",")[0]


def _small(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0
