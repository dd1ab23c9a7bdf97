"""Work beside processes that never rest: torch's own threads against ours, each in a process with its own environment.

| contender | what it sets |
|---|---|
| torch's default | nothing |
| passive | OMP_WAIT_POLICY=PASSIVE |
| one thread | OMP_NUM_THREADS=1 |
| probe | what ``settle`` chooses |

The fair share: a scheduler that is fair to C threads and to S others on C cores gives C / (C + S) of the time to the
threads, so the work takes (C + S) / C times as long as ours on the idle machine. The work is that of the quickstart in
small: iterations, certificates and sparse codes. Loading is not in it.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from probe import machine
from probe.bench import in_turn
from probe.errors import Failure
from probe.heap import keep_freed_memory
from probe.threads import THREADS, USERS_THREADS, USERS_WAITING, WAITING, settle

CONTENDERS: dict[str, dict[str, str]] = {
    "torch's default": {},
    "passive": {WAITING: "PASSIVE"},
    "one thread": {THREADS: "1"},
    "probe": {},
}
OURS, IDLE = "probe", ", idle"
ALONE = ("torch's default", OURS)
"""Contenders that are measured on the idle machine, too."""
CERTIFIED, SIGNALS, FIELD = 16, 128, 1024
"""Points that are certified; signals that are coded, and their dimension."""


@dataclass
class Measured:
    """One contender.

    Attributes:
        tool: its name.
        threads: of torch.
        seconds: of each repeat, beside the load or idle.
        fair_seconds: what a fair scheduler would give it, the median over the repeats.
        ratio: its seconds over fair_seconds, the median over the repeats.
        waiting_why: how its threads wait, and why; None if nobody chose.
    """

    tool: str
    threads: int
    seconds: list[float] = field(default_factory=list)
    fair_seconds: float = 0.0
    ratio: float = 0.0
    waiting_why: str | None = None


def compare(*, starts: int = 128, spinners: int = 2, repeats: int = 3) -> list[Measured]:
    """Measure all contenders in turn, ``repeats`` times, beside ``spinners`` processes that never rest.

    Raises:
        Failure: a contender's process fails.
    """
    found: dict[str, Measured] = {}
    work = {tool: partial(_measure, found, tool, starts, spinners) for tool in CONTENDERS}
    alone = {tool + IDLE: partial(_measure, found, tool + IDLE, starts, 0) for tool in ALONE}
    in_turn(work | alone, repeats)
    slower = 1 + spinners / machine.cores()
    for row in found.values():
        fair = [idle * (1 if row.tool.endswith(IDLE) else slower) for idle in found[OURS + IDLE].seconds]
        row.fair_seconds = statistics.median(fair)
        row.ratio = statistics.median(a / b for a, b in zip(row.seconds, fair, strict=True))
    return list(found.values())


def _measure(found: dict[str, Measured], tool: str, starts: int, spinners: int) -> None:
    """Add a repeat of a contender to what was found."""
    name = tool.removesuffix(IDLE)
    users = {name: value for name, value in os.environ.items() if name not in (*USERS_THREADS, *USERS_WAITING)}
    command = [sys.executable, "-m", "probe.bench.busy", str(starts), str(int(name == OURS))]
    with _spinning(spinners):
        done = subprocess.run(command, env=users | CONTENDERS[name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"the bench of {tool} failed: {done.stderr.strip()[-300:]}")
    about = json.loads(done.stdout)
    row = found.setdefault(tool, Measured(tool, about["threads"], waiting_why=about["waiting_why"]))
    row.seconds.append(about["seconds"])


@contextmanager
def _spinning(n: int) -> Iterator[None]:
    """Processes that never rest, meanwhile."""
    command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    spinners = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(n)]
    try:
        for one in spinners:
            one.stdout.readline()  # type: ignore[union-attr]  # it spins now
        yield
    finally:
        for one in spinners:
            one.kill()
            one.communicate()


def _work(starts: int) -> float:
    """The seconds of the work, after a step that is not counted."""
    import torch  # here, since a contender chooses before

    from probe import LatentMap, load_autoencoder
    from probe.bench.sparse import smooth_fields
    from probe.config import load_config
    from probe.dynamics import certify
    from probe.sparse import Dictionary, omp
    from probe.studies.probing.end_points import solve_all

    settings = load_config(None, [f"seeds.count={starts}", "model.device=cpu"])
    model = load_autoencoder(settings.model)
    shape, f = model.latent_shape(settings.resolution), LatentMap(model, clamp=settings.model.clamp)
    atoms, signals = (smooth_fields(FIELD, FIELD, decay=decay, seed=0) for decay in (6.0, 1.0))
    seeds, solver = settings.seeds, settings.solver
    solving = partial(solve_all, f, shape, device=model.device, dtype=model.dtype)
    solving(seeds.model_copy(update={"count": 1}), solver.model_copy(update={"max_steps": 2}))
    omp(Dictionary(atoms[:8], torch.float64), signals[:1], [2])  # compiles
    began = time.perf_counter()
    ends = solving(seeds, solver)
    certify(f, ends.end[:CERTIFIED], tolerance=solver.tolerance, budget=solver.products)
    omp(Dictionary(atoms, torch.float64), signals[:SIGNALS], [FIELD // 20])
    return time.perf_counter() - began


def _contend(starts: int, chooses: bool) -> None:
    """The process of a contender: its seconds, its threads, and how they wait, as JSON on stdout."""
    keep_freed_memory()
    why = settle().waiting_why if chooses else None
    seconds = _work(starts)
    import torch

    print(json.dumps({"seconds": seconds, "threads": torch.get_num_threads(), "waiting_why": why}))


if __name__ == "__main__":
    _contend(int(sys.argv[1]), sys.argv[2] == "1")
