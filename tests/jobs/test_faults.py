"""What a machine does to a run: processes killed at any instant, and full disks."""

import os
import random
import subprocess
import time

import pytest

from .conftest import assert_same_run, shard_files

KILLS = 30


@pytest.mark.slow
def test_thirty_kills_at_random_instants_lose_and_double_nothing(run_of_one, own, tmp_path, start, capsys):
    """Runs are begun until 30 processes were killed; each is resumed until it is done, and then as if nothing was.

    The instants are drawn over the time that a whole run takes, so that a busy machine sees the same kills."""
    began = time.monotonic()
    assert start(own, "--out", tmp_path / "whole", OWN_SLEEP="0.02").wait(600) == [0]
    whole = time.monotonic() - began  # on this machine, now: most of it is imports
    chance, kills, runs, lives = random.Random(0), 0, 0, []
    while kills < KILLS:
        out, killed = tmp_path / f"run-{runs}", 0
        while True:
            process = start(own, "--out", out, OWN_SLEEP="0.02").processes[0]
            try:
                assert process.wait(chance.uniform(0.2, 1.2) * whole) == 0
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
                lives.append(len(shard_files(out)))
        assert_same_run(run_of_one, out)
        kills, runs = kills + killed, runs + 1
    with capsys.disabled():
        print(f"\n{kills} kills in {runs} runs, shards there at each: {lives}; all runs equal the undisturbed one")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own: (folder, resize to so many KiB)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        reason = f"a small tmpfs cannot be mounted here: {done.stderr.strip()}"
        if os.environ.get("PROBE_REQUIRE_SLURM"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield folder, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}k", folder], check=True)
    for _ in range(50):  # processes of the test may be about to end
        if subprocess.run(["umount", folder], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)


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
