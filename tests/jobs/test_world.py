"""What the ranks ask of each other, with a store that is gone."""

import os
import socket
import subprocess
import sys

import pytest
import torch.distributed as dist

from jobs.launcher import first_host, processors_given, ranks_here, take_over_slurm, tasks_of_step
from jobs.rendezvous import join
from jobs.stopping import Ended
from jobs.world import World
from probe.errors import Failure, UserError

from .conftest import free_port


class Gone:
    """The store of a rank 0 that was killed, as torch shows it."""

    def lost(self, *_):
        raise dist.DistNetworkError("failed to recv, got 0 bytes")

    add = set = get = check = multi_get = multi_set = lost


@pytest.mark.parametrize(
    "ask",
    [
        lambda world: next(world.claims("parts", [1], bool, print)),
        lambda world: world.broadcast(),
        lambda world: world.barrier(),
        lambda world: world.tell("done", 1),
        lambda world: world.watch(),
    ],
    ids=["claims", "broadcast", "barrier", "tell", "watch"],
)
def test_whatever_a_rank_asks_it_ends_where_rank_0_is_gone(ask):
    with pytest.raises(Ended, match="rank 0 is lost: its process is gone") as caught:
        ask(World(1, 2, Gone()))
    assert caught.value.status == 1


def test_a_rank_that_ends_says_so_to_nobody_where_rank_0_is_gone():
    World(1, 2, Gone()).end(1, "a failure of its own")


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node1", "node1"),
        ("node[01-04,7]", "node01"),
        ("gpu[3,5-9],cpu1", "gpu3"),
        ("cpu1,gpu[3,5-9]", "cpu1"),
        ("rack[0-1]n[08-10]", "rack0n08"),
        ("a-b[1-2].site.org", "a-b1.site.org"),
    ],
)
def test_the_first_host_of_a_list(nodes, first):
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("variables", "tasks"),
    [
        ({}, 1),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, 1),  # salloc, or a batch script
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "0"}, 4),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_ID": "0"}, 1),
        ({"SLURM_STEP_NUM_TASKS": "", "SLURM_STEP_ID": ""}, 1),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "4294967290"}, 1),  # salloc's interactive step
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "0", "SLURM_PTY_PORT": "4711"}, 1),
        # A step within that shell inherits the variable; its task has no terminal.
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "1", "SLURM_PTY_PORT": "4711", "SLURM_TASK_PID": "no-tty"}, 4),
    ],
)
def test_how_many_tasks_a_step_has(monkeypatch, variables, tasks):
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as task:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(task.pid) if value == "no-tty" else value)
        monkeypatch.setattr(os, "isatty", lambda _: False)
        assert tasks_of_step() == tasks
        monkeypatch.setattr(os, "isatty", lambda _: True)
        assert tasks_of_step() == 1
        task.communicate(b"\n")


def test_slurms_words_become_those_of_torch_without_scontrol(monkeypatch):
    monkeypatch.setenv("PATH", "")
    for name in (
        "RANK",
        "WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "SLURM_PTY_PORT",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "isatty", lambda _: False)
    words = {
        "SLURM_STEP_NUM_TASKS": "6",
        "SLURM_STEP_NODELIST": "gpu[07-08]",
        "SLURM_JOB_ID": "100",
        "SLURM_STEP_ID": "2",
        "SLURM_PROCID": "4",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_TASKS_PER_NODE": "3(x2)",
    }
    environment = dict(words)
    monkeypatch.setattr(os, "environ", environment)
    take_over_slurm()
    made = {name: environment[name] for name in environment if name not in words}
    assert made == {
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "20702",
        "RANK": "4",
        "WORLD_SIZE": "6",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "3",
    }
    monkeypatch.setattr(os, "environ", {"SLURM_STEP_NUM_TASKS": "6", "SLURM_PROCID": "1"})
    with pytest.raises(UserError, match="SLURM_JOB_ID, SLURM_LOCALID, SLURM_STEP_NODELIST is not set"):
        take_over_slurm()


STEP = {"SLURM_STEP_NUM_TASKS": "6", "SLURM_STEP_ID": "2", "SLURM_STEP_TASKS_PER_NODE": "3(x2)"}


@pytest.mark.parametrize(
    ("variables", "ranks", "given"),
    [
        ({}, 1, None),
        ({"WORLD_SIZE": "4", "RANK": "0", "LOCAL_WORLD_SIZE": "2"}, 2, None),
        ({"WORLD_SIZE": "4", "RANK": "0"}, 1, None),
        ({"WORLD_SIZE": "4", "RANK": "0", "LOCAL_WORLD_SIZE": "many"}, 1, None),  # told by ``World.gather``
        ({"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "4"}, 1, None),  # left over
        (STEP, 3, None),
        ({**STEP, "SLURM_CPUS_PER_TASK": "8"}, 3, 8),
        ({**STEP, "SLURM_STEP_TASKS_PER_NODE": "2,1"}, 2, None),
        ({"SLURM_CPUS_PER_TASK": "8"}, 1, 8),
        ({"SLURM_CPUS_PER_TASK": "8", "WORLD_SIZE": "4", "RANK": "0", "LOCAL_WORLD_SIZE": "4"}, 4, 2),
    ],
)
def test_ranks_and_processors_of_a_launcher(monkeypatch, variables, ranks, given):
    monkeypatch.setattr(os, "environ", dict(variables))
    monkeypatch.setattr(os, "isatty", lambda _: False)
    assert (ranks_here(), processors_given()) == (ranks, given)


def test_ranks_that_do_not_come_are_named_in_the_end():
    with pytest.raises(Failure, match=r"2 of 3 ranks did not arrive \(ranks 1, 2\)"):
        join(0, 3, "127.0.0.1", free_port(), patience=1)
    with pytest.raises(Failure, match=r"1 of 3 ranks did not arrive \(rank 0: Connection refused\)"):
        join(1, 3, "127.0.0.1", free_port(), patience=1)
    with pytest.raises(Failure, match=r"1 of 3 ranks did not arrive .*rank 0: "):
        join(1, 3, "nowhere.invalid", free_port(), patience=1)
    for rank, port in ((3, 29500), (0, 0), (0, 70000)):
        with pytest.raises(UserError, match="ranks count from 0"):
            join(rank, 3, "127.0.0.1", port)


def test_a_port_that_somebody_else_has(capsys):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        with pytest.raises(Failure, match=r"did not find the others at 127\.0\.0\.1"):
            join(0, 2, "127.0.0.1", other.getsockname()[1], patience=1)


@pytest.mark.parametrize(("name", "value"), [("RANK", "one"), ("RANK", ""), ("MASTER_PORT", "1e4"), ("RANK", "-1")])
def test_numbers_of_a_launcher_that_are_none(monkeypatch, name, value):
    for variable in list(os.environ):
        if variable.startswith("SLURM_"):
            monkeypatch.delenv(variable)
    for variable, good in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(variable, good)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name} must be an integer from 0 to .*, not '{value}'"):
        World.gather(cpu=True)


@pytest.mark.parametrize("there", [set(range(9)), set(), {0, 1, 4, 8}, {2, 3, 7}])
def test_missing_parts_are_those_that_are_not_there(there):
    assert World().missing(range(9), there.__contains__) == [part for part in range(9) if part not in there]
