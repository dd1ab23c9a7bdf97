"""Threads and how they wait: the rule over facts, control groups as files, and what OpenMP itself says it was told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from probe import machine
from probe.threads import BRIEFLY, Facts, choose

PASSIVE, BRIEF = {"OMP_WAIT_POLICY": "PASSIVE"}, {"GOMP_SPINCOUNT": str(BRIEFLY)}


@pytest.mark.parametrize(
    ("facts", "threads"),
    [
        (Facts(8, 8), None),  # torch's own number
        (Facts(8, 8, quota=8.0), None),
        (Facts(8, 8, quota=64.0), None),
        (Facts(8, 8, quota=3.9), 3),
        (Facts(8, 8, quota=0.5), 1),
        (Facts(8, 8, ranks=3), 2),
        (Facts(2, 8, ranks=4), 1),
        (Facts(8, 8, ranks=2, quota=2.0), 1),
        (Facts(8, 8, ranks=2, given=4), 4),
        (Facts(4, 8, ranks=2, given=4), None),  # Slurm bound the rank to its own cores
        (Facts(4, 8, given=16), None),
        (Facts(8, 8, ranks=2, given=4, quota=6.0), 3),
        (Facts(8, 8, running=50), None),  # load changes no numbers
    ],
)
def test_threads_never_exceed_cores_quota_and_share(facts: Facts, threads: int | None):
    chosen = choose(facts, {}).environment
    assert chosen.get("OMP_NUM_THREADS") == (None if threads is None else str(threads))


@pytest.mark.parametrize(
    ("facts", "waiting"),
    [
        (Facts(2, 2), BRIEF),
        (Facts(2, 2, running=2), PASSIVE),
        (Facts(2, 2, running=0), BRIEF),  # a system that does not count
        (Facts(2, 64, running=63), BRIEF),  # there is room elsewhere
        (Facts(2, 64, running=64), PASSIVE),
        (Facts(64, 64, quota=4.0, running=40), BRIEF),
        (Facts(8, 8, ranks=4, running=4), BRIEF),  # the ranks of this run are no others
        (Facts(8, 8, ranks=4, running=5), PASSIVE),
    ],
)
def test_threads_wait_asleep_unless_each_has_a_processor(facts: Facts, waiting: dict[str, str]):
    chosen = choose(facts, {}).environment
    assert {name: chosen[name] for name in chosen if name != "OMP_NUM_THREADS"} == waiting


def test_what_the_user_has_set_is_left_alone():
    busy = Facts(8, 8, quota=2.0, running=9)
    assert set(choose(busy, {}).environment) == {"OMP_NUM_THREADS", "OMP_WAIT_POLICY"}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        chosen = choose(busy, {name: "6"})
        assert (chosen.environment, chosen.threads_why) == (PASSIVE, f"set by the user: {name}=6")
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        chosen = choose(busy, {name: "0"})
        assert chosen.environment == {"OMP_NUM_THREADS": "2"}
        assert chosen.waiting_why == f"set by the user: {name}=0"
    assert choose(busy, {"OMP_NUM_THREADS": ""}).environment["OMP_NUM_THREADS"] == "2"  # empty: not set
    # The user's number is the one that must find room.
    assert choose(Facts(8, 8, running=5), {}).environment == PASSIVE
    assert choose(Facts(8, 8, running=5), {"OMP_NUM_THREADS": "4,2"}).environment == BRIEF


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """groups(own, {file: content}): the control groups of this process."""

    def make(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "groups" / name).write_text(content)

    monkeypatch.setattr(machine, "OWN", tmp_path / "own")
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")
    return make


V1 = "9:name=systemd:/\n4:memory:/other\n3:cpu,cpuacct:/docker/abc\n2:cpuset:/docker/abc\n0::/init\n"


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/user.slice/job\n", {"user.slice/job/cpu.max": "max 100000\n"}, None),
        ("0::/user.slice/job\n", {"user.slice/job/cpu.max": "150000 100000\n"}, 1.5),
        # The narrowest group on the way to the root counts.
        (
            "0::/a/b\n",
            {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "100000 50000\n", "cpu.max": "max 100000\n"},
            2.0,
        ),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),  # a container sees its own group as the root
        ("0::/a\n", {}, None),
        ("0::/a\n", {"a/cpu.max": "broken\n"}, None),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "-1\n", "cpu/docker/abc/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "250000\n", "cpu/docker/abc/cpu.cfs_period_us": "100000\n"}, 2.5),
        # A container of version 1 is named by its host's path, and sees its own group as the root.
        (V1, {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3.0),
        # The limits of other controllers are others.
        (V1, {"memory/cpu.cfs_quota_us": "100000\n", "memory/cpu.cfs_period_us": "100000\n"}, None),
        ("", {"cpu.max": "50000 100000\n"}, None),
    ],
)
def test_the_quota_of_control_groups(groups, own: str, files: dict[str, str], quota: float | None):
    groups(own, files)
    assert machine.cpu_quota() == quota


def test_no_control_groups_are_no_quota(groups):
    assert machine.cpu_quota() is None


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/a\n", {"a/memory.max": "8000\n", "a/memory.current": "6000\n", "a/memory.stat": "inactive_file 1000\n"}),
        (
            "4:memory:/a\n",
            {
                "memory/a/memory.limit_in_bytes": "8000\n",
                "memory/a/memory.usage_in_bytes": "6000\n",
                "memory/a/memory.stat": "inactive_file 7\ntotal_inactive_file 1000\n",
            },
        ),
    ],
)
def test_free_memory_is_that_of_the_control_group(groups, own: str, files: dict[str, str]):
    groups(own, files)
    assert machine.free_bytes() == 3000  # 8000 less what is used, which is 6000 less the files that can be dropped


def test_hardware_threads_of_a_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "CPUS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    assert machine.cores() == 4
    for cpu, siblings in {0: "0,4", 1: "1,5", 2: "2,6", 5: "1,5"}.items():
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(siblings)
    assert machine.cores() == 3


def test_the_fewest_running_processes_of_a_few_glances(monkeypatch: pytest.MonkeyPatch):
    class Load:
        texts = iter([f"9.00 9.00 9.00 {n}/99 1" for n in (4, 3, 7, 3, 5)])

        def read_text(self) -> str:
            return next(self.texts)

    monkeypatch.setattr(machine, "LOAD", Load())
    assert machine.running() == 3


FOREIGN = ("OMP_", "GOMP_", "MKL_", "KMP_", "SLURM_")


def doctor(**environment: str) -> tuple[dict, str]:
    """What `probe doctor` finds in an environment, and what OpenMP's own runtime prints when it is loaded."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    command = [sys.executable, "-m", "probe.cli.main", "doctor", "--json"]
    done = subprocess.run(
        command, env={**clean, "OMP_DISPLAY_ENV": "VERBOSE", **environment}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="another OpenMP than GNU's")
@pytest.mark.slow
def test_openmp_is_told_before_torch_is_imported():
    found, openmp = doctor()
    spins = {"OMP_WAIT_POLICY": "0", "GOMP_SPINCOUNT": str(BRIEFLY)}[next(iter(found["openmp"]))]
    assert f"GOMP_SPINCOUNT = '{spins}'" in openmp  # a passive wait is one of no turns
    assert found["threads"] == found["cores"]
    ranks = {"WORLD_SIZE": "64", "LOCAL_WORLD_SIZE": "64"}
    found, openmp = doctor(**ranks)
    assert (found["threads"], found["threads_why"][:14]) == (max(found["cores"] // 64, 1), "64 ranks share")
    assert f"OMP_NUM_THREADS = '{found['threads']}'" in openmp
    own = {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "ACTIVE"}
    found, openmp = doctor(**ranks, **own)
    assert found["openmp"] == own
    assert "OMP_NUM_THREADS = '3'" in openmp
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in openmp


def test_slurms_jobs_inherit_what_the_user_set_and_nothing_of_ours():
    script = "; ".join(
        [
            "from probe import machine, threads",
            "machine.cores, machine.cpu_quota = lambda: 8, lambda: 2.0",
            "threads.settle()",
            "import os, json",
            "print(json.dumps([dict(os.environ), threads.environment_without_ours()]))",
        ]
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    for users in ({}, {"OMP_NUM_THREADS": "4"}, {"GOMP_SPINCOUNT": "7"}):
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=clean | users, capture_output=True, text=True, check=True)
        here, there = ({k: v for k, v in env.items() if k.startswith(FOREIGN)} for env in json.loads(done.stdout))
        assert there == users
        assert here == {"OMP_NUM_THREADS": "2"} | {k: v for k, v in here.items() if k not in users} | users


def test_where_torch_is_imported_already_only_its_threads_are_lowered():
    script = """
import os, torch
from probe import machine, threads
before, torch_own = dict(os.environ), torch.get_num_threads()
machine.cores, machine.cpu_quota = lambda: torch_own, lambda: 1.0
threads.before_torch()
print(torch.get_num_threads(), dict(os.environ) == before, threads.settle().environment)
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout == "1 True {}\n"


def test_torch_that_a_script_imports_later_is_told_and_the_environment_is_as_before():
    script = """
import os, sys
from probe import machine, threads
before = dict(os.environ)
machine.cores, machine.cpu_quota = lambda: 8, lambda: 1.0
threads.before_torch()
print("torch" in sys.modules, dict(os.environ) == before, sys.modules["torch"].get_num_threads())
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout == "True True 1\n"
