"""Many ranks on one store: how often each asks it, whatever their number, and that none is left without work.

All is counted; no test depends on how long anything takes.
"""

import heapq
import types
from collections import Counter

import pytest
from torch.distributed import HashStore

from jobs import progress, rendezvous, world
from jobs.rendezvous import pauses
from jobs.world import World
from probe.bench.ranks import free_port, live_together, seconds_of
from probe.errors import Failure

SHARDS = 60


@pytest.mark.parametrize("size", [4, 16])
def test_a_rank_asks_as_often_whatever_the_number_of_ranks(tmp_path, monkeypatch, size):
    for module, name in ((world, "GLANCE"), (world, "BEAT"), (progress, "FILE_EVERY")):
        monkeypatch.setattr(module, name, 3600.0)  # what depends on time does not happen
    lived = live_together(range(size), size, free_port(), folder=tmp_path, shards=SHARDS, mean=0.001, last=0.0)
    assert sorted(one.rank for one in lived) == list(range(size))
    assert sum(one.shards for one in lived) == SHARDS
    for one in lived:
        assert not one.why
        asked = Counter(question.kind for question in one.questions)
        del asked["check"]  # a wait asks again and again: below
        if one.rank == 0:
            assert asked.pop("multi_set") == asked.pop("multi_get") == 1  # for all ranks at once
            del asked["add"]  # it waits in the end, with others gone
            assert asked == {"set": asked["set"], "get": 1}
            assert asked["set"] <= 6  # where it is the last one at the barrier it says so
        else:
            # Here, alive, and about itself; whether it is alone, and what is missing; each shard, that there is none
            # left, what it has done, the barrier, and its end.
            assert 3 <= asked.pop("set") <= 4
            assert asked == {"get": 2, "add": asked["add"]}
            assert one.shards + 3 <= asked["add"] <= one.shards + 4  # without a shard it has done nothing to tell


class Waiting:
    """A store that knows nothing for a while, and a clock that only sleeping moves."""

    def __init__(self, seconds: float):
        self.now, self.until, self.asked = 0.0, seconds, Counter()

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    def check(self, keys: list[str]) -> bool:
        self.asked[keys[0]] += 1
        return keys != ["ended"] and self.now >= self.until

    def add(self, key: str, more: int) -> int:
        return more

    def set(self, key: str, value: str) -> None:
        pass

    get = multi_get = multi_set = set


@pytest.mark.parametrize(("size", "most"), [(2, 22), (64, 22), (1024, 3), (10_000, 0.4)])
def test_the_more_ranks_wait_the_less_each_asks(monkeypatch, size, most):
    """So that all of them together ask some 3,000 times a second at most, and a store answers some 50,000."""
    store = Waiting(100.0)
    monkeypatch.setattr(world, "time", types.SimpleNamespace(sleep=store.sleep, monotonic=store.monotonic))
    World(5, size, store).barrier()
    assert store.now < 100 + size * rendezvous.POLL_OF_A_RANK + 1  # it has not slept long beyond
    assert sum(store.asked.values()) <= 100 * most + 10  # the first questions follow quickly
    assert store.asked["ended"] >= 9  # and the end of another rank is noticed


def test_a_short_wait_is_short_for_any_number_of_ranks():
    assert [next(pauses(size)) for size in (1, 64, 100_000)] == [rendezvous.POLL] * 3


def test_of_many_ranks_each_gets_shards_and_none_is_idle_while_there_are_some():
    size, shards = 1024, 8 * 1024
    store, seconds = HashStore(), [seconds_of(shard, shards, 1.0, 5.0) for shard in range(shards)]
    ranks = [World(0, 1, store).claims("shards", range(shards), bool, bool) for _ in range(size)]
    done, claimed, idle = Counter(), [], []
    free = [(0.0, rank) for rank in range(size)]
    while free:  # the one that is free first claims next
        now, rank = heapq.heappop(free)
        shard = next(ranks[rank], None)
        if shard is None:
            idle.append(now)
        else:
            claimed.append(shard)
            done[rank] += 1
            heapq.heappush(free, (now + seconds[shard], rank))
    assert sorted(claimed) == list(range(shards))
    assert min(done[rank] for rank in range(size)) >= 1
    assert max(idle) - min(idle) <= max(seconds)
    assert sum(seconds) / size <= max(idle) <= sum(seconds) / size + max(seconds)  # Graham's bound


def test_missing_ranks_are_found_with_few_questions():
    store, keys = HashStore(), [f"here/{rank}" for rank in range(1024)]
    for rank in {*range(1024)} - {3, 500, 1023}:
        store.set(keys[rank], "")
    asked = []
    counting = types.SimpleNamespace(check=lambda keys: asked.append(keys) or store.check(keys))
    assert rendezvous._absent(counting, keys) == [3, 500, 1023]
    assert len(asked) <= 3 * 2 * 10 + 1  # three ways down a tree of ten floors
    assert rendezvous._absent(store, keys[4:500]) == []


def test_missing_parts_take_little_room_in_the_store():
    alone = World()
    parts = range(1_000_000)
    assert alone.missing(parts, {2, 3, 7, 999_999}.__contains__)[:6] == [0, 1, 4, 5, 6, 8]
    assert len(alone.store.get("1/broadcast")) < 100
    assert alone.missing(range(5), lambda _: True) == []
    assert alone.missing(range(5), lambda _: False) == [0, 1, 2, 3, 4]


def test_rank_0_may_open_as_many_files_as_there_are_ranks(monkeypatch):
    resource = pytest.importorskip("resource")
    limits, hard = [], 4096
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.append(both))
    rendezvous._allow_connections(64)
    assert limits == []
    rendezvous._allow_connections(1024)
    assert limits == [(1024 + rendezvous.SPARE_FILES, hard)]
    with pytest.raises(Failure, match=r"5000 ranks connect to rank 0, .* but 4096 are allowed on .*ulimit -Hn"):
        rendezvous._allow_connections(5000)
