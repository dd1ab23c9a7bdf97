"""A map with eight known attractors, in a file of its own, and real processes that work on it."""

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from jobs.directory import Directory
from jobs.doing import DOINGS, Doing
from jobs.independent import Independent
from jobs.run.attractors import load_end_points
from jobs.run.directory import RunDirectory
from jobs.work import Work
from probe.dynamics import Outcome
from probe.results.files import read_tensors

from ..processes import Process

MAP = '''
"""f(z) = tanh(2 m(z)) with m the mean of each channel: attractors are the eight constant latents of signs
(+-t, +-t, +-t) with t = tanh(2 t) = 0.9575, and the sign of a start's means says in which one it ends."""
import os, time
import torch

EVALUATIONS = 0

class Own:
    image_range = (-1.0, 1.0)

    def decode(self, z):
        global EVALUATIONS
        EVALUATIONS += 1
        # A job that Slurm began anew is not slow again, or only so often.
        if int(os.environ.get("SLURM_RESTART_COUNT") or 0) < int(os.environ.get("OWN_SLOW_LIVES", 1)):
            time.sleep(float(os.environ.get("OWN_SLEEP", 0)))
        if os.environ.get("OWN_FAILS") == os.environ.get("RANK", "0") and EVALUATIONS > 12:
            raise RuntimeError("the map fell off the bus")
        means = z.mean((2, 3), keepdim=True).expand_as(z)
        return torch.nn.functional.interpolate(torch.tanh(2 * means), scale_factor=4)

    def encode(self, x):
        return torch.nn.functional.avg_pool2d(x, 4)

def load():
    return Own()
'''
ATTRACTOR = 0.957504
SENTENCE_SECONDS = 90.0
"""How long a rank may take to end once it was told to, on a busy machine."""


def configure(folder: Path) -> Path:
    """The configuration file of a run on the map, in a folder."""
    (folder / "own.py").write_text(MAP)
    settings = {
        "model": {"source": f"python:{folder}/own.py:load", "device": "cpu"},
        "resolution": 16,
        "seeds": {"count": 40, "seed": 1, "shard_size": 4},
        "solver": {"max_steps": 60, "batch_size": 4},
        "basins": {"probes": 3, "partners": 1, "separations": [0.03, 0.3], "attractors": 1, "directions": 2},
        "sparse": {"levels": [1, 4], "batch_size": 4, "controls": ["random_orthogonal", "one_step"], "random_bases": 2},
        "datasets": {"digits": {"n": 12, "holdout": 4}, "textures": {"n": 10, "holdout": 4}},
    }
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


@pytest.fixture(scope="module", autouse=True)
def figures(undrawn):
    """To draw them is most of what a small job takes."""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The configuration file of a run on the map."""
    return configure(tmp_path)


@pytest.fixture(scope="session")
def run_of_one(tmp_path_factory) -> Path:
    """A run on the map that one process made undisturbed."""
    folder = tmp_path_factory.mktemp("one")
    arguments = [configure(folder), "--out", folder / "run"]
    assert Process("jobs.worker", arguments, {**CLEAN, "OMP_NUM_THREADS": "1"}, folder / "said").wait(600) == 0
    return folder / "run"


def work_on(directory: Directory) -> Work:
    """The work on a directory of any kind, of one process."""
    return _doing(directory).work(directory)


def do(directory: Directory | Work, *stages: str):
    """Do stages by their names, or all of them; what the last one returns."""
    work = directory if isinstance(directory, Work) else work_on(directory)
    doing = _doing(work.directory)
    return [doing.do(name, work) for name in stages][-1] if stages else doing.all(work)


def _doing(directory: Directory) -> Doing:
    return next(one for one in DOINGS if isinstance(directory, one.kind.directory))


def shared_by(tasks: int, directory: Directory, stage: str) -> None:
    """Do a stage by so many independent processes; they are threads here."""
    doing = _doing(directory)

    def task(number: int) -> None:
        torch.set_num_threads(1)
        world = Independent(directory.path, number, tasks)
        doing.do(stage, doing.work(doing.kind.directory.open(directory.path), world))

    with ThreadPoolExecutor(tasks) as pool:
        list(pool.map(task, range(tasks)))


class Ranks:
    """Processes that a test started, by rank; each has a file for what it says."""

    def __init__(self, processes: list[Process], folder: Path):
        self.processes, self.folder = processes, folder

    def wait(self, seconds: float = 600) -> list[int]:
        """The exit statuses."""
        until = time.monotonic() + seconds
        return [process.wait(max(until - time.monotonic(), 0.1)) for process in self.processes]

    def said(self, rank: int = 0) -> str:
        """stderr and stdout of a rank."""
        return (self.folder / f"{rank}.txt").read_text()


@pytest.fixture
def start(tmp_path):
    """start(arguments, ranks=n): workers as a launcher would start them; whatever is left at the end is killed."""
    begun = []

    def begin(*arguments, ranks=1, only=None, module="jobs.worker", **more) -> Ranks:
        folder = Path(tempfile.mkdtemp(prefix="said-", dir=tmp_path))  # begun by any thread of a test
        shared = {**CLEAN, "OMP_NUM_THREADS": "1", **more}
        if ranks > 1:
            shared |= {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        processes = []
        for rank in range(ranks) if only is None else only:
            env = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else shared
            processes.append(Process(module, arguments, env, folder / f"{rank}.txt"))
        begun.append(Ranks(processes, folder))
        return begun[-1]

    yield begin
    for process in (process for ranks in begun for process in ranks.processes):
        process.kill()
        process.wait()


CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "RANK", "WORLD_SIZE", "MASTER_", "LOCAL_"))}


def free_port() -> int:
    """A port that nobody listens on: of those that the system gives to no connection, and this process to no other."""
    first = 20000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    for port in (first + (os.getpid() + next(ASKED)) % 1000 for _ in range(1000)):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


ASKED = itertools.count()


def until(condition, seconds=600.0):
    """Wait for a condition to hold."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def shard_files(path: Path) -> list[Path]:
    """The shards of the attractors stage that are there."""
    return sorted(path.glob("attractors/*.safetensors"))


def assert_same_run(one: Path, two: Path) -> None:
    """The same starts, end points, atoms and errors within float tolerance, and nothing lost or doubled."""
    runs = [RunDirectory.open(path) for path in (one, two)]
    a, b = map(load_end_points, runs)
    assert torch.equal(a.outcome, b.outcome)
    assert torch.equal(a.steps, b.steps)
    settled = a.outcome == Outcome.CONVERGED
    assert torch.allclose(a.end[settled], b.end[settled], atol=1e-5)
    for run in runs:
        index = torch.cat([read_tensors(file)[0]["index"] for file in shard_files(run.path)])
        assert index.tolist() == list(range(run.config.seeds.count))
        assert not (run.path / "work").exists()
    (x, _), (y, _) = (read_tensors(path / "dictionary.safetensors") for path in (one, two))
    assert x.keys() == y.keys()
    for name in x:
        assert torch.allclose(x[name].double(), y[name].double(), atol=1e-4, equal_nan=True), name
    for name in runs[0].config.datasets:
        p, q = (pd.read_parquet(path / "reconstructions" / f"{name}.parquet") for path in (one, two))
        pd.testing.assert_frame_equal(p, q, check_exact=False, rtol=1e-4, atol=1e-7)
    p, q = (json.loads((path / "report" / "report.json").read_text()) for path in (one, two))
    assert p["solver"]["outcomes"] == q["solver"]["outcomes"]
    assert [d["verdict"] for d in p["datasets"].values()] == [d["verdict"] for d in q["datasets"].values()]


def results_of(study: Path) -> dict:
    """Tensors and values of all result files of a study, by name; the rank and the file's own checksum aside."""
    found = {}
    for file in sorted((study / "cells").iterdir()):
        tensors, about = read_tensors(file)
        found[file.name] = (tensors, about["model"])
    return found


def assert_same_results(one: dict, two: dict) -> None:
    """``results_of`` two studies are the same to the bit."""
    assert one.keys() == two.keys()
    for name, (tensors, values) in one.items():
        assert values == two[name][1], name
        assert tensors.keys() == two[name][0].keys()
        assert all(torch.equal(tensors[key], two[name][0][key]) for key in tensors), name


@pytest.fixture(scope="session")
def slurmd(root):
    from .slurm_cluster import Cluster

    lacking = [tool for tool in ("slurmctld", "slurmd", "munged", "ip") if not shutil.which(tool, path=PATH)]
    if lacking or os.geteuid():
        reason = f"{', '.join(lacking) or 'root'} is needed for a Slurm cluster on this machine; see `make debian`"
        pytest.fail(reason) if os.environ.get("PROBE_REQUIRE_SLURM") else pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="probe-slurm-"))  # munge wants a path that everybody may walk
    script = root / "tests" / "jobs" / "cluster.sh"
    try:
        with (folder / "start").open("w") as out:  # daemons inherit it, so that a pipe would never end
            started = subprocess.run([script, "start", folder], stdout=out, stderr=subprocess.STDOUT, timeout=60)
        assert started.returncode == 0, (folder / "start").read_text()
        yield Cluster(folder)
    finally:
        subprocess.run([script, "stop", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


@pytest.fixture
def cluster(slurmd):
    yield slurmd
    slurmd.stop()
