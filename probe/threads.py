"""How many threads compute, and how they wait for each other. Decided before torch is imported: OpenMP reads its
environment when it is loaded.

1. What the user has set is left alone.
2. A thread a core, as torch takes by itself; fewer where a control group grants less time, or ranks share the cores.
   Load is no reason: it changes by the minute, and sums with another number of threads differ in the last bit.
3. Where every thread has a core to itself, a thread that waits spins for the time that sleeping would cost, and then
   sleeps. Where others run, it sleeps at once. OpenMP's own default spins for milliseconds: with others on the machine
   that is the time in which the thread that it waits for would have run.

Measured in docs/developing/learned.md. `probe doctor` shows what was chosen.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from probe import machine

THREADS, WAITING, SPINS = "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
USERS_THREADS = (THREADS, "MKL_NUM_THREADS")
USERS_WAITING = (WAITING, SPINS, "KMP_BLOCKTIME")
"""Variables by which a user has decided already, in any of the OpenMP runtimes that torch is built with."""
BRIEFLY = 2000
"""Turns of libgomp's waiting loop, about 50 microseconds; its default is 300,000. Other runtimes ignore it."""


@dataclass(frozen=True)
class Facts:
    """What the choice rests on.

    Attributes:
        cores: that this process may run on.
        processors: of the machine.
        quota: processors' worth of time of its control groups; None without a limit.
        running: processes on the machine that want a processor now, ranks of this run included.
        ranks: of this run on this node, this one included; they share cores and quota.
        given: processors that Slurm gave to this rank alone; None if it does not say.
    """

    cores: int
    processors: int
    quota: float | None = None
    running: int = 1
    ranks: int = 1
    given: int | None = None


@dataclass(frozen=True)
class Choice:
    """What was decided.

    Attributes:
        threads_why, waiting_why: a sentence each.
        environment: the variables to set.
    """

    threads_why: str
    waiting_why: str
    environment: dict[str, str] = field(default_factory=dict)


def choose(facts: Facts, environment: Mapping[str, str]) -> Choice:
    """The rule above, of facts and of the environment that the user has set."""
    limits = _limits(facts)
    threads = min(limits)
    ours = {THREADS: str(threads)} if threads < facts.cores else {}  # else torch's own number
    threads_why = limits[threads]
    if users := _set(USERS_THREADS, environment):
        ours, threads_why = {}, f"set by the user: {users}"
        threads = _integer(environment.get(THREADS) or environment[users.partition("=")[0]], threads)
    waiting_why, waiting = _waiting(facts, threads)
    if users := _set(USERS_WAITING, environment):
        waiting_why, waiting = f"set by the user: {users}", {}
    return Choice(threads_why, waiting_why, ours | waiting)


def _limits(facts: Facts) -> dict[int, str]:
    """Numbers of threads that are not to be exceeded, and why."""
    limits = {facts.cores: "one a core"}
    if facts.given is not None:
        limits.setdefault(facts.given, "Slurm gave this rank so many processors")
    elif facts.ranks > 1:
        limits.setdefault(max(facts.cores // facts.ranks, 1), f"{facts.ranks} ranks share {facts.cores} cores")
    if facts.quota is not None:
        sharing = f", which {facts.ranks} ranks share" if facts.ranks > 1 else ""
        why = f"the control groups grant {facts.quota:g} processors' time{sharing}"
        limits.setdefault(max(int(facts.quota / facts.ranks), 1), why)
    return limits


def _waiting(facts: Facts, threads: int) -> tuple[str, dict[str, str]]:
    """How threads wait: why, and what says so to OpenMP."""
    others, ours = max(facts.running - facts.ranks, 0), threads * facts.ranks
    counts = f"processors ({facts.processors}) for threads ({ours}) and other running processes ({others})"
    if ours + others > facts.processors:
        return f"asleep, since there are too few {counts}", {WAITING: "PASSIVE"}
    return f"spinning briefly, then asleep, since there are enough {counts}", {SPINS: str(BRIEFLY)}


def _set(names: tuple[str, ...], environment: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={environment[name]}" for name in names if environment.get(name))


def _integer(text: str, default: int) -> int:
    first = text.split(",")[0].strip()  # a list: for nested regions
    return int(first) if first.isascii() and first.isdecimal() and len(first) < 7 else default


_chosen: Choice | None = None


def settle(ranks: int = 1, given: int | None = None) -> Choice:
    """Choose for this process, once; what was chosen.

    Where torch is imported already, only its number of threads can still be lowered.
    """
    global _chosen
    if _chosen is None:
        facts = Facts(
            cores=machine.cores(),
            processors=os.cpu_count() or 1,
            quota=machine.cpu_quota(),
            running=machine.running(),
            ranks=ranks,
            given=given,
        )
        _chosen = choose(facts, os.environ)
        if "torch" in sys.modules:
            _chosen = _late(_chosen, facts)
        os.environ.update(_chosen.environment)
    return _chosen


def _late(choice: Choice, facts: Facts) -> Choice:
    """What is left of a choice once torch runs: fewer threads, unless somebody has set their number."""
    import torch

    threads = choice.environment.get(THREADS)
    if threads is not None and torch.get_num_threads() == facts.cores:
        torch.set_num_threads(int(threads))
    return Choice(choice.threads_why, "left as it is: torch was imported before probe could choose")


def before_torch(ranks: int = 1, given: int | None = None) -> None:
    """``settle`` for a process that is not ours, such as a notebook. Imports torch; the environment stays as it was."""
    chosen = settle(ranks, given)
    import torch  # noqa: F401

    for name in chosen.environment:
        os.environ.pop(name, None)


def environment_without_ours() -> dict[str, str]:
    """The environment as the user set it, for programs that run elsewhere or later, such as jobs of Slurm."""
    ours = _chosen.environment if _chosen else {}
    return {name: value for name, value in os.environ.items() if name not in ours}
