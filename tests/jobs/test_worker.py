"""Real processes: ranks that share a run, and all the ways in which they end."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
import yaml

from jobs.run.attractors import load_end_points
from jobs.run.directory import RunDirectory
from jobs.world import BEAT, SILENCE
from probe.dynamics import gaussian_starts
from probe.results.files import read_tensors

from .conftest import ATTRACTOR, CLEAN, SENTENCE_SECONDS, assert_same_run, free_port, shard_files, until

pytestmark = pytest.mark.busy(40)


def test_one_rank_finds_the_known_attractors(run_of_one):
    ends = load_end_points(RunDirectory.open(run_of_one))
    means = gaussian_starts(1, range(40), (3, 4, 4)).mean((2, 3))
    assert ends.counts()["converged"] == 40
    expected = (ATTRACTOR * means.sign())[:, :, None, None].expand_as(ends.end)
    assert torch.allclose(ends.end, expected, atol=1e-2)
    report = json.loads((run_of_one / "report" / "report.json").read_text())
    signs = set(map(tuple, means.sign().tolist()))
    assert report["dictionary"]["atoms"] == report["dictionary"]["certified"] == len(signs)


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_accelerate_launch_gives_the_same_run(run_of_one, own, tmp_path, count):
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", f"--num_processes={count}"]
    launcher += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
    launcher += [f"--main_process_port={free_port()}"]
    out = tmp_path / "many"
    command = [*launcher, "-m", "jobs.worker", str(own), "--out", str(out), f"--world-size={count}"]
    done = subprocess.run(command, capture_output=True, text=True, env={**CLEAN, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_run(run_of_one, out)
    manifest = RunDirectory.open(out).manifest
    assert (manifest["world_size"], [rank["device"] for rank in manifest["ranks"]]) == (
        count,
        [f"cpu ({rank})" for rank in range(count)],
    )
    assert "attractors: 40 starts" in done.stderr
    assert sorted(file.name for file in (out / "logs").iterdir()) == [f"rank-{rank:04d}.log" for rank in range(count)]


def test_accelerate_on_cpu_alone_is_refused(own, tmp_path):
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes=2"]
    command = [*launcher, "-m", "jobs.worker", str(own), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=CLEAN, check=False)
    assert done.returncode != 0
    assert "use `accelerate launch --multi_gpu`" in done.stderr


@pytest.mark.parametrize(
    ("world", "more", "message"),
    [
        (["--world-size=2"], {}, "2 ranks were promised with --world-size, but this world has 1"),
        ([], {"SLURM_STEP_NUM_TASKS": "2", "RANK": "0"}, "srun started 2 tasks, but this world has 1"),
        ([], {"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_ADDR is not set"),
    ],
)
def test_too_few_ranks_are_refused(own, tmp_path, start, world, more, message):
    one = start(own, "--out", tmp_path / "out", *world, **more)
    assert one.wait()[0] in (1, 2)
    assert message in one.said()
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_the_failure_of_one_rank_is_that_of_all(own, tmp_path, start):
    ranks = start(own, "--out", tmp_path / "out", ranks=3, OWN_SLEEP="0.02", OWN_FAILS="1")
    assert ranks.wait() == [1, 1, 1]
    assert "Traceback" in ranks.said(1)
    for other in (0, 2):
        assert "rank 1 on " in ranks.said(other)
        assert "the map fell off the bus" in ranks.said(other)
    error = json.loads((tmp_path / "out" / "error.json").read_text())
    assert (error["rank"], error["status"]) == (1, 1)
    assert start(tmp_path / "out", ranks=2).wait() == [0, 0]
    assert not (tmp_path / "out" / "error.json").exists()


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_rank_that_is_killed_takes_the_others_with_it(own, tmp_path, start, killed):
    """Without a launcher that would see to it: rank 0 hosts the store; of another, rank 0 notices the silence."""
    ranks = start(own, "--out", tmp_path / "out", ranks=2, OWN_SLEEP="0.1")
    until(lambda: len(shard_files(tmp_path / "out")) > 1)
    ranks.processes[killed].kill()
    assert ranks.processes[1 - killed].wait(SENTENCE_SECONDS + BEAT * SILENCE * killed) == 1
    expected = "rank 0 is lost: its process is gone" if killed == 0 else "rank 1 has not been heard of"
    assert expected in ranks.said(1 - killed)
    assert start(tmp_path / "out", ranks=2).wait() == [0, 0]


@pytest.mark.parametrize(
    ("number", "rank"),
    [
        (signal.SIGTERM, 0),
        (signal.SIGUSR1, 1),
        (signal.SIGTERM, 1),
        (signal.SIGUSR1, 0),
    ],
)
def test_a_signal_stops_all_ranks_and_the_run_goes_on(run_of_one, own, tmp_path, start, number, rank):
    ranks = start(own, "--out", tmp_path / "out", ranks=2, OWN_SLEEP="0.1")
    until(lambda: len(shard_files(tmp_path / "out")) > 1)
    ranks.processes[rank].send_signal(number)
    assert ranks.wait(SENTENCE_SECONDS) == [75, 75]
    assert f"stopped by {number.name}" in ranks.said(0)
    kept = {file: file.stat().st_mtime_ns for file in shard_files(tmp_path / "out")}
    assert 1 < len(kept) < 10
    assert start(own, "--out", tmp_path / "out", ranks=3).wait() == [0, 0, 0]
    assert kept == {file: file.stat().st_mtime_ns for file in kept}
    assert_same_run(run_of_one, tmp_path / "out")


def test_a_second_process_is_told_who_holds_the_run(own, tmp_path, start):
    first = start(own, "--out", tmp_path / "out", OWN_SLEEP="0.05")
    until(lambda: shard_files(tmp_path / "out"))
    second = start(own, "--out", tmp_path / "out")
    assert second.wait() == [2]
    assert f"is being worked on by process {first.processes[0].pid} on {os.uname().nodename}" in second.said()
    first.processes[0].kill()  # and a dead owner holds nothing
    assert start(own, "--out", tmp_path / "out").wait() == [0]


SKEWED = '''
import time
import torch

class Skewed:
    """z <- rate z: most starts take 13 steps, the few whose first coordinate is large take 100 and more."""
    def decode(self, z):
        time.sleep(0.03)
        rate = torch.where(z[:, :1, :1, :1].abs() > 0.5 * z.abs().amax((1, 2, 3), keepdim=True), 0.95, 0.5)
        return torch.nn.functional.interpolate(rate * z, scale_factor=4)

    def encode(self, x):
        return torch.nn.functional.avg_pool2d(x, 4)

def load():
    return Skewed()
'''


def test_no_rank_is_idle_while_starts_of_very_different_lengths_wait(own, tmp_path, start):
    (tmp_path / "own.py").write_text(SKEWED)
    settings = yaml.safe_load(own.read_text())
    settings |= {
        "seeds": {"count": 60, "seed": 254, "shard_size": 1},  # of the slow starts 0, 8 and 2 in each third
        "solver": {"max_steps": 400, "batch_size": 1},
        "datasets": {},
    }
    own.write_text(yaml.safe_dump(settings))
    out = tmp_path / "out"
    assert start(own, "--out", out, "--stage", "attractors", ranks=3).wait() == [0, 0, 0]
    steps, written = [], {0: [], 1: [], 2: []}
    for file in shard_files(out):
        tensors, about = read_tensors(file)
        steps.append(int(tensors["steps"].sum()))
        written[about["rank"]].append(file.stat().st_mtime)
    thirds = [sum(steps[i : i + 20]) for i in (0, 20, 40)]
    assert max(thirds) > 2.5 * min(thirds)  # equal shares of the starts would be unequal shares of the work.
    # When a rank finds nothing left, each of the others has only the shard in hand to finish, however fast they are.
    ends = sorted(max(times) for times in written.values())
    last = max(sorted(times)[-1] - sorted(times)[-2] for times in written.values())
    assert ends[-1] - ends[0] <= 1.2 * last + 1
