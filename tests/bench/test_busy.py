"""The bench beside a load: which environment each contender gets, and the arithmetic of the fair share."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from probe import machine
from probe.bench import busy

SECONDS = {"torch's default": 30.0, "passive": 12.0, "one thread": 14.0, "probe": 11.0}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[dict[str, str], bool, int]]]:
    """Environment, whether it chooses, and spinners of every contender's process; each takes known seconds."""
    seen, spinning = [], []
    popen = subprocess.Popen

    def spin(command, **options):
        spinning.append(popen(command, **options))
        return spinning[-1]

    def run(command, *, env, **_):
        environment = {name: value for name, value in env.items() if name.startswith(("OMP_", "GOMP_", "MKL_"))}
        seen.append((environment, command[-1] == "1", sum(one.poll() is None for one in spinning)))
        tool = "probe" if command[-1] == "1" else next(t for t, set in busy.CONTENDERS.items() if set == environment)
        seconds = SECONDS[tool] if seen[-1][2] else 5.0
        about = json.dumps({"seconds": seconds, "threads": 4, "waiting_why": None})
        return subprocess.CompletedProcess(command, 0, stdout=about)

    monkeypatch.setattr(busy.subprocess, "Popen", spin)
    monkeypatch.setattr(busy.subprocess, "run", run)
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    yield seen
    assert all(one.poll() is not None for one in spinning)


def test_a_fair_share_is_that_of_four_threads_beside_two_others(begun):
    rows = {row.tool: row for row in busy.compare(starts=8, spinners=2, repeats=2)}
    assert list(rows) == [*SECONDS, "torch's default, idle", "probe, idle"]
    for tool, seconds in SECONDS.items():
        assert rows[tool].seconds == [seconds] * 2
        assert rows[tool].fair_seconds == 5.0 * 6 / 4
        assert rows[tool].ratio == pytest.approx(seconds / 7.5)
    assert (rows["probe, idle"].fair_seconds, rows["probe, idle"].ratio) == (5.0, 1.0)
    assert [spinners for *_, spinners in begun] == [2] * 4 + [0] * 2 + [0] * 2 + [2] * 4
    settings = [({}, False), ({"OMP_WAIT_POLICY": "PASSIVE"}, False), ({"OMP_NUM_THREADS": "1"}, False), ({}, True)]
    assert [one[:2] for one in begun[:4]] == settings  # what the user has set is in none


def test_a_contender_works_and_says_how():
    command = [sys.executable, "-m", "probe.bench.busy", "2", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["seconds"] > 0
    assert 1 <= found["threads"] <= machine.cores()
    assert found["waiting_why"]
