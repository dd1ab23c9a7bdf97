"""What a machine does to a run: processes killed at any instant, and full disks."""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..processes import Process
from .conftest import assert_same_run, shard_files

pytestmark = pytest.mark.busy(60)

SHARDS = 10


@pytest.mark.parametrize("kills", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_kills_at_random_instants_lose_and_double_nothing(run_of_one, own, tmp_path, start, capsys, kills):
    """Runs are begun, two at a time, until so many processes were killed; each is resumed until it is done, and then as
    if nothing was."""

    def begin(out: Path) -> Process:
        return start(own, "--out", out, OWN_SLEEP="0.05").processes[0]

    with ThreadPoolExecutor(2) as pool:
        # The instants are drawn over the time that a whole run takes here, now.
        began = time.monotonic()
        whole = [begin(tmp_path / f"whole-{lane}") for lane in range(2)]
        assert [process.wait(1800) for process in whole] == [0, 0]
        seconds = time.monotonic() - began

        def lane(number: int) -> list[int]:
            chance, lives, runs = random.Random(number), [], 0
            while len(lives) < kills // 2:
                out, runs = tmp_path / f"run-{number}-{runs}", runs + 1
                while True:
                    process, before = begin(out), len(shard_files(out))
                    # While shards are lacking, when a random one of them appears, if it does in that time.
                    enough = chance.randint(before + 1, SHARDS) if before < SHARDS else SHARDS + 1
                    end = time.monotonic() + chance.uniform(0.3, 0.95) * seconds
                    while process.poll() is None and time.monotonic() < end and len(shard_files(out)) < enough:
                        time.sleep(chance.uniform(0, 0.05))
                    process.kill()
                    if process.wait() == 0:
                        break
                    assert process.returncode == -signal.SIGKILL
                    lives.append(len(shard_files(out)))
                assert_same_run(run_of_one, out)
            return lives

        lives = [at for found in pool.map(lane, range(2)) for at in found]
    runs = len(list(tmp_path.glob("run-*")))
    with capsys.disabled():
        print(f"\n{len(lives)} kills in {runs} runs, shards there at each: {lives}; all runs equal the undisturbed one")


@pytest.fixture
def small_disk(disk):
    """A file system of its own: (folder, resize to so many KiB)."""
    folder, again = disk
    return folder, lambda size: again(f"size={size}k")


@pytest.mark.parametrize("size", [8, 40, 120, 260])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on(run_of_one, own, start, small_disk, size):
    folder, resize = small_disk
    resize(size)
    out = folder / "run"
    full = start(own, "--out", out)
    assert full.wait() == [1], full.said()
    assert "No space left on device" in full.said()
    assert "Traceback" not in full.said()
    resize(16000)
    again = start(own, "--out", out)
    assert again.wait() == [0], again.said()
    assert_same_run(run_of_one, out)
    assert not list(out.rglob("*.tmp"))
