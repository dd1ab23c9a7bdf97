"""What the stages of a work take, beside what was planned: plan.json is written before the first of them that is
planned, and a line of spent.jsonl after each."""

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch

from jobs.provenance import now
from probe.files import write_atomically
from probe.machine import resident_bytes
from probe.plan.show import as_json
from probe.results.layout import PLAN, SPENT

if TYPE_CHECKING:
    from jobs.stage import Stage

log = logging.getLogger("probe")


@contextmanager
def accounted(work: Any, stage: "Stage") -> Iterator[None]:
    """Note what the block takes, also after a stop; nothing where the stage has nothing to do, or nothing was planned.

    Each process of an array notes its own part. Of several ranks rank 0 notes its own memory and time, which are those
    of all, since they wait for each other.
    """
    if not work.world.on_rank_0(lambda: _is_undone(work, stage) and _may_be_planned(work)):
        yield
        return
    work.prepare()
    work.world.on_rank_0(lambda: _plan(work))
    began, cpu, rows = time.monotonic(), time.process_time(), _rows(work)
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    try:
        yield
    finally:
        if work.world.leads and (work.directory.path / PLAN).exists():
            line = {
                "stage": stage.name,
                "ended": now(),
                "seconds": round(time.monotonic() - began, 3),
                "cpu_seconds": round(time.process_time() - cpu, 3),
                "threads": torch.get_num_threads(),
                "ranks": work.world.size,
                "rows": {verb: n - rows[verb] for verb, n in _rows(work).items()},
                "memory_bytes": resident_bytes(most=True),
                "gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0,
            }
            # Several processes of an array append to one file: a short line goes there whole.
            with suppress(OSError), (work.directory.path / SPENT).open("a") as file:
                file.write(json.dumps(line) + "\n")


def _is_undone(work: Any, stage: "Stage") -> bool:
    done, planned = stage.count(work.directory)
    return done != planned


def _may_be_planned(work: Any) -> bool:
    """Whether there is a plan, or nothing yet that would have been made before there was one."""
    folder = work.directory.path
    return (folder / PLAN).exists() or not any((folder / name).exists() for name in work.directory.RESULTS)


def _plan(work: Any) -> None:
    """Write the plan, if it is not there. A plan that cannot be made must not end the work."""
    file = work.directory.path / PLAN
    try:
        if not file.exists() and (plan := work.plan()):
            write_atomically(file, json.dumps(as_json(plan), indent=1) + "\n")
    except Exception as error:
        log.debug(f"nothing is planned: {type(error).__name__}: {error}")
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # stages look at what is free: for batches, and for where a matrix fits


def _rows(work: Any) -> Counter[str]:
    """Rows that the models of this process encoded and decoded so far."""
    return sum((model.rows for model in work.models), Counter())
