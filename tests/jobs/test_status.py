"""Whether a run is said to be running: by its process where that is on this machine, else by its last words."""

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from jobs.lock import this_process
from jobs.run.directory import RunDirectory
from jobs.status import read_status
from probe.config import load_config
from probe.results.layout import OWNER

from .conftest import shard_files, until

SAYS = """
import json, time
from jobs.lock import this_process
print(json.dumps(this_process()), flush=True)
time.sleep(600)
"""


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


@pytest.fixture
def run(own, tmp_path):
    """run(owner, heard): the state of a run that a process holds, which was last heard of so many seconds ago."""
    directory = RunDirectory.create(tmp_path / "run", load_config(own))

    def write(owner: object, heard: float | None = None) -> str:
        (directory.path / OWNER).write_text(owner if isinstance(owner, str) else json.dumps(owner))
        if heard is not None:
            said = {"stage": "attractors", "unit": "starts", "done": 1, "total": 2, "rate": 1.0, "seconds_left": None}
            said |= {"ranks": 1, "updated": ago(heard)}
            (directory.path / "progress.json").write_text(json.dumps(said))
        return read_status(directory.path).state

    return write


@pytest.fixture
def process():
    """Another process, and what it writes down of itself."""
    with subprocess.Popen([sys.executable, "-c", SAYS], stdout=subprocess.PIPE, text=True) as begun:
        yield begun, json.loads(begun.stdout.readline())
        begun.kill()


def test_a_process_that_is_killed_is_not_running(run, process):
    child, owner = process
    assert run(owner) == "running"  # it has said nothing yet
    assert run(owner, heard=2) == "running"
    child.kill()
    child.wait()
    assert run(owner, heard=2) == "stopped"
    assert run({**owner, "host": "elsewhere"}, heard=2) == "running"
    to_come = {**owner, "host": "elsewhere", "since": ago(-1000)}  # the clock was put back
    assert run(to_come, heard=70) == "stopped"
    assert run({**owner, "host": "elsewhere", "since": ago(1000)}, heard=70) == "stopped"


def test_a_process_that_nobody_waited_for_is_not_running(run, process):
    child, owner = process
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert run(owner, heard=2) == "stopped"


def test_another_process_of_the_same_number_is_not_it(run, process):
    _, owner = process
    assert run({**owner, "started": this_process()["started"]}, heard=2) == "stopped"


def test_a_process_that_is_suspended_or_silent_does_not_answer(run, process):
    child, owner = process
    child.send_signal(signal.SIGSTOP)
    until(lambda: run(owner, heard=2) == "not answering")
    child.send_signal(signal.SIGCONT)
    until(lambda: run(owner, heard=2) == "running")
    old = {**owner, "since": ago(1000)}
    assert run(old, heard=300) == "not answering"
    assert run(old, heard=2000) == "running"  # the last words are those of the process before; this one loads a model
    assert run(old, heard=5) == "running"


@pytest.mark.parametrize(
    "owner", ["", "[]", "{", "null", '{"pid": 1}', "[" * 5000, '{"host": "h", "pid": "x", "since": 3}']
)
def test_junk_is_nobody(run, owner):
    assert run(owner) == "new"
    assert run(owner, heard=2) in ("stopped", "running")


def test_who_holds_it_is_told(run, tmp_path):
    run(this_process())
    assert read_status(tmp_path / "run").owner.keys() == {"host", "pid", "since"}


@pytest.mark.busy
def test_a_run_that_is_killed_at_work_is_stopped_at_once(own, tmp_path, start):
    out = tmp_path / "out"
    ranks = start(own, "--out", out, OWN_SLEEP="0.05")
    until(lambda: shard_files(out))
    now = read_status(out)
    assert (now.state, now.owner["pid"], now.owner["host"]) == ("running", ranks.processes[0].pid, socket.gethostname())
    ranks.processes[0].kill()
    ranks.wait()
    assert (read_status(out).state, read_status(out).owner) == ("stopped", None)
