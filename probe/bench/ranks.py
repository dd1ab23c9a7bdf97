"""How well many ranks share work: real processes on a map that costs nothing, and a simulated thousand.

A simulated rank is a thread with its own connection to a real store. It meets the others, claims shards, tells its
progress and ends with the code of a real one (``jobs.world``, ``jobs.progress``); its work is a sleep. All questions to
the store are noted. Rank 0, which serves the store, has a process of its own, as have the ranks that are to be killed.

| phase | of a rank |
|---|---|
| start | from its beginning to its first claim |
| work | to where it finds no shard left |
| wait | to where all shards are done: the last one takes ``LAST`` seconds |
| end | to its end |
"""

import json
import logging
import math
import multiprocessing
import os
import random
import runpy
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

from torch.distributed import TCPStore

from jobs.progress import Meter, progress
from jobs.rendezvous import join
from jobs.stopping import Ended
from jobs.world import World
from probe.errors import Failure
from probe.results.files import read_tensors
from probe.results.layout import LOG, SHARD

SHARDS, SHARE, RATE = "shards", "shards a rank, least to most", "claims a second"
START = "seconds from all ranks' beginning to the last one's first claim"
END = "seconds from the last shard to the end of all"
PHASES = ("start", "work", "wait", "end")
LAST = 10.0
"""Seconds that the last simulated shard takes, while all other ranks wait."""
HOST, HOLDERS = "127.0.0.1", 3
"""Where all is; processes that the simulated ranks are spread over."""
MAP = '''
import torch

class Own:
    """f(z) = tanh(2 m) with m the mean of each of three channels: eight attractors."""

    image_range = (-1.0, 1.0)

    def decode(self, z):
        means = z.mean((2, 3), keepdim=True).expand_as(z)
        return torch.nn.functional.interpolate(torch.tanh(2 * means), scale_factor=2)

    def encode(self, x):
        return torch.nn.functional.avg_pool2d(x, 2)

def load():
    return Own()
'''


@dataclass(frozen=True)
class Question:
    """One to the store: when (monotonic seconds), which, bytes of keys and values, and seconds to the answer."""

    at: float
    kind: str
    size: int
    seconds: float


@dataclass
class Lived:
    """One simulated rank.

    Attributes:
        rank: its number.
        began, claimed, idle, released, ended: monotonic seconds of its phases; 0 for those it did not reach.
        shards: that it did.
        questions: to the store.
        why: what ended it; empty if all went well.
    """

    rank: int
    began: float = 0.0
    claimed: float = 0.0
    idle: float = 0.0
    released: float = 0.0
    ended: float = 0.0
    shards: int = 0
    questions: list[Question] = field(default_factory=list)
    why: str = ""

    def phase(self, name: str) -> tuple[float, float]:
        """Its beginning and end."""
        times = (self.began, self.claimed, self.idle, self.released, self.ended)
        at = PHASES.index(name)
        return times[at], times[at + 1]

    def asked(self, name: str) -> list[Question]:
        """The questions of a phase."""
        begin, end = self.phase(name)
        return [one for one in self.questions if begin <= one.at < end]


@dataclass(frozen=True)
class Fact:
    """A row of the table: what was measured, of real processes and of simulated ranks."""

    what: str
    real: str = ""
    simulated: str = ""


class CountingStore(TCPStore):
    """A store, or a connection to it, that notes every question. Lists are appended to by several threads."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.questions: list[Question] = []


def _noted(name: str) -> Callable[..., Any]:
    ask = getattr(TCPStore, name)

    def noted(store: CountingStore, *args: Any) -> Any:
        began = time.monotonic()
        answer = ask(store, *args)
        store.questions.append(Question(began, name, _size(args) + _size(answer), time.monotonic() - began))
        return answer

    return noted


for _name in ("add", "set", "get", "check", "multi_get", "multi_set", "delete_key"):
    setattr(CountingStore, _name, _noted(_name))


def _size(value: Any) -> int:
    """Bytes of what is sent."""
    if isinstance(value, str | bytes):
        return len(value)
    return sum(map(_size, value)) if isinstance(value, list | tuple) else 8


def seconds_of(shard: int, shards: int, mean: float, last: float = LAST) -> float:
    """How long a simulated shard takes: exponentially distributed, but for the last one."""
    return last if shard == shards - 1 else -mean * math.log(1 - random.Random(shard).random())


def live(
    rank: int,
    size: int,
    port: int,
    *,
    folder: Path,
    shards: int,
    mean: float,
    last: float = LAST,
    dies: float | None = None,
) -> Lived:
    """A simulated rank, from its beginning to its end; or to ``dies`` seconds after its first claim, when its process
    is killed."""
    lived = Lived(rank, began=time.monotonic())
    store = join(rank, size, HOST, port, kind=CountingStore)
    lived.questions = store.questions  # type: ignore[attr-defined]
    world = World(rank, size, store)
    try:
        world.introduce({"host": f"simulated {rank}"})
        parts = world.missing(range(shards), lambda _: False)
        with progress(folder, world, "simulated", "shards", shards) as meter:
            lived.claimed = time.monotonic()
            if dies is not None:
                threading.Timer(dies, os.kill, (os.getpid(), signal.SIGKILL)).start()
            for shard in world.claims("simulated", parts, bool, bool):
                _work(seconds_of(shard, shards, mean, last), meter)
                meter.finish(1)
                lived.shards += 1
            lived.idle = time.monotonic()
            world.barrier()
            lived.released = time.monotonic()
        world.end(0, "done")
    except Ended as end:
        lived.why = str(end)
        world.end(1, lived.why)
    lived.ended = time.monotonic()
    return lived


def _work(seconds: float, meter: Meter) -> None:
    """Sleep, and tell the progress now and then, which raises ``Ended`` where another rank has ended."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        meter.update(1 - left / seconds)
        time.sleep(min(left, 0.5))


def live_together(ranks: Iterable[int], size: int, port: int, **options: Any) -> list[Lived]:
    """Several simulated ranks in this process, each a thread."""
    found: list[Lived] = []
    threads = [
        threading.Thread(target=lambda rank=rank: found.append(live(rank, size, port, **options)), daemon=True)
        for rank in ranks
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return found


def simulate(size: int, *, shards: int, mean: float, killed: Sequence[int] = ()) -> tuple[list[Lived], float]:
    """Simulated ranks on this machine.

    Args:
        size: how many.
        shards: how many they share.
        mean: seconds that one takes, in the mean.
        killed: ranks that are killed when about half of the shards are done.

    Returns:
        The ranks that were not killed, and when the others were (monotonic seconds; 0 where none was).

    Raises:
        Failure: a process of them failed.
    """
    rest = [rank for rank in range(1, size) if rank not in killed]
    groups = [[0], sorted({*killed} - {0}), *(rest[at::HOLDERS] for at in range(HOLDERS))]
    with tempfile.TemporaryDirectory(prefix="probe-ranks-") as folder, ExitStack() as stack:
        port = free_port()
        begun: list[subprocess.Popen[str]] = []
        doomed: list[subprocess.Popen[str]] = []
        for ranks in filter(None, groups):
            dies = mean * shards / size / 2 if ranks[0] in killed else None
            options = {"folder": folder, "shards": shards, "mean": mean, "dies": dies}
            told = json.dumps({"ranks": ranks, "size": size, "port": port, **options})
            command = [sys.executable, "-m", "probe.bench.ranks", told]
            one = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stack.callback(one.kill)
            (begun if dies is None else doomed).append(one)
        moment = max((_gone(one) for one in doomed), default=0.0)
        said = [(one, *one.communicate()) for one in begun]
    for one, _, errors in said:
        if one.returncode:
            told = "; ".join(line for line in errors.splitlines() if not line.startswith("[W"))  # torch's own warnings
            raise Failure(f"a process of simulated ranks ended with status {one.returncode}: {told[-300:]}")
    lived = [Lived(**rank) for _, text, _ in said for rank in json.loads(text)]
    for rank in lived:
        rank.questions = [Question(**question) for question in rank.questions]  # type: ignore[arg-type]
    return sorted(lived, key=lambda rank: rank.rank), moment


def _gone(process: subprocess.Popen[str]) -> float:
    process.communicate()
    return time.monotonic()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return one.getsockname()[1]


def facts_of(lived: Sequence[Lived], shards: int) -> dict[str, str]:
    """What simulated ranks tell, by what it is of."""
    leader, others = lived[0], lived[1:]
    together = max(one.began for one in lived)
    first, done = min(one.claimed for one in lived), max(one.idle for one in lived)
    questions = [question for one in lived for question in one.questions]
    claims = [q for one in lived for q in one.asked("work") if q.kind == "add"]
    working = statistics.median(one.idle for one in lived) - first
    waiting = {one.rank: one.asked("wait") for one in lived}
    seconds = {one.rank: max(one.idle, one.released) - one.idle for one in lived}
    idle = [len(waiting[one.rank]) / seconds[one.rank] for one in others if seconds[one.rank] > LAST / 2]
    starts = [len(one.asked("start")) for one in others]
    all_waiting = sum(idle) * len(others) / max(len(idle), 1)
    return {
        SHARDS: str(shards),
        START: f"{max(one.claimed for one in lived) - together:.2f}",
        RATE: f"{sum(one.shards for one in lived) / working:.0f}",
        SHARE: f"{min(one.shards for one in lived)} to {max(one.shards for one in lived)}",
        END: f"{max(one.ended for one in lived) - done:.2f}",
        "questions to the store a rank until its first claim": f"{statistics.mean(starts):.1f}",
        "the same, rank 0": str(len(leader.asked("start"))),
        "questions a shard": f"{sum(len(one.asked('work')) for one in lived) / shards:.2f}",
        "questions a second of a rank that waits": f"{statistics.mean(idle):.2f}" if idle else "-",
        "the same, rank 0, waiting": f"{len(waiting[0]) / max(seconds[0], 1e-9):.1f}",
        "questions a second of all ranks, waiting": f"{all_waiting:.0f}",
        "bytes a question, mean": f"{statistics.mean(q.size for q in questions):.0f}",
        "milliseconds of an answer while they work, median and 99 %": _spread([q.seconds for q in claims]),
    }


def facts_of_killed(lived: Sequence[Lived], moment: float) -> dict[str, str]:
    """What simulated ranks tell whose company was killed."""
    return {
        "ranks that ended with a sentence": f"{sum(bool(one.why) for one in lived)} of {len(lived)}",
        "seconds from the kill to the end of all": f"{max(one.ended for one in lived) - moment:.1f}",
        "what they said": Counter(one.why for one in lived).most_common(1)[0][0],
    }


def launch(size: int, shards: int) -> dict[str, str]:
    """What real ranks tell: stage attractors of a run, a start a shard. They are forked from a process that has read
    torch, since each would take 360 MB and 5 s of a core to read it.

    Raises:
        Failure: a rank failed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jobs.doing", "jobs.worker"])
    with tempfile.TemporaryDirectory(prefix="probe-ranks-") as name, mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):
        folder = Path(name)
        (folder / "own.py").write_text(MAP)
        seeds, model = {"count": shards, "shard_size": 1}, {"source": f"python:{folder}/own.py:load", "device": "cpu"}
        settings = {"model": model, "resolution": 4, "seeds": seeds, "solver": {"batch_size": 4}, "datasets": {}}
        (folder / "config.yaml").write_text(json.dumps(settings))
        world = {"WORLD_SIZE": str(size), "MASTER_ADDR": HOST, "MASTER_PORT": str(free_port())}
        context.Process().start()  # the process that they are forked from
        began = time.time()
        ranks = [context.Process(target=_become_rank, args=(rank, world, folder)) for rank in range(size)]
        for one in ranks:
            one.start()
        for one in ranks:
            one.join()
        ended = time.time()
        if failed := [rank for rank, one in enumerate(ranks) if one.exitcode]:
            said = (folder / f"{failed[0]}.txt").read_text().strip()
            raise Failure(f"{len(failed)} of {size} ranks failed, rank {failed[0]} with: {said[-300:]}")
        return _facts_of_run(folder / "run", size, began, ended)


def _become_rank(rank: int, world: dict[str, str], folder: Path) -> None:
    """In a new process: what a launcher starts."""
    with (folder / f"{rank}.txt").open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    os.environ |= {**world, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": world["WORLD_SIZE"]}
    sys.argv = ["jobs.worker", f"{folder}/config.yaml", "--out", f"{folder}/run", "--stage", "attractors"]
    sys.modules.pop("jobs.worker", None)  # it is run, and not the one that was read
    runpy.run_module("jobs.worker", run_name="__main__", alter_sys=True)


def _facts_of_run(run: Path, size: int, began: float, ended: float) -> dict[str, str]:
    files = list(run.glob(SHARD.glob))
    each = Counter(read_tensors(file)[1]["rank"] for file in files)
    written = sorted(file.stat().st_mtime for file in files)
    met = max(_first_line(run / LOG.at(rank=rank)) for rank in range(size))
    return {
        SHARDS: str(len(files)),
        "seconds from the first rank's beginning to where all have met": f"{met - began:.1f}",
        "seconds from there to the first shard": f"{written[0] - met:.2f}",
        RATE: f"{len(files) / (written[-1] - met):.0f}",
        SHARE: f"{min(each[rank] for rank in range(size))} to {max(each.values())}",
        END: f"{ended - written[-1]:.2f}",
        "files": str(sum(file.is_file() for file in run.rglob("*"))),
    }


def _first_line(log: Path) -> float:
    """When the first line of a log was written, in seconds of the epoch."""
    return datetime.strptime(log.read_text()[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp()


def compare(*, processes: int, simulated: int, shards: int, mean: float, killed: Sequence[int] = ()) -> list[Fact]:
    """The table.

    Args:
        processes: real ranks; 0: none.
        simulated: ranks; 0: none.
        shards: of each rank.
        mean: seconds that a simulated shard takes, in the mean.
        killed: simulated ranks that are killed half-way.

    Raises:
        Failure: a process failed.
    """
    real = launch(processes, processes * shards) if processes else {}
    told: dict[str, str] = {}
    if simulated:
        lived, moment = simulate(simulated, shards=simulated * shards, mean=mean, killed=killed)
        told = facts_of_killed(lived, moment) if moment else facts_of(lived, simulated * shards)
    return [Fact(what, real.get(what, ""), told.get(what, "")) for what in {**real, **told}]


def _spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    return f"{1000 * ordered[len(ordered) // 2]:.2f}, {1000 * ordered[len(ordered) * 99 // 100]:.2f}"


def _process() -> None:
    """A process of simulated ranks, which are told as JSON on stdout."""
    logging.getLogger("probe").addHandler(logging.NullHandler())
    sys.setswitchinterval(0.05)  # hundreds of threads that ask for their turn every 5 ms leave no time for a turn
    told = json.loads(sys.argv[1])
    lived = live_together(
        told.pop("ranks"), told.pop("size"), told.pop("port"), **told | {"folder": Path(told["folder"])}
    )
    print(json.dumps([asdict(one) for one in lived]))


if __name__ == "__main__":
    _process()
