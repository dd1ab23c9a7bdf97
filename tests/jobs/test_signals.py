"""Signals in every phase of a run: a sentence, the right status, and no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import CLEAN, SENTENCE_SECONDS, free_port, shard_files, until

pytestmark = pytest.mark.busy(40)

SAID = {
    signal.SIGINT: (130, "probe: interrupted; rerun the same command to resume."),
    signal.SIGTERM: (75, "probe: stopped by SIGTERM; rerun the same command to resume."),
    signal.SIGHUP: (75, "probe: stopped by SIGHUP; rerun the same command to resume."),
}
SIGNALS = pytest.mark.parametrize("number", SAID, ids=lambda number: number.name)


@SIGNALS
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_waits_says_so_and_hears_signals(own, tmp_path, start, number, rank):
    """Rank 0 hosts the store; rank 1 waits for it."""
    ranks = start(own, "--out", tmp_path / "out", ranks=2, only=[rank])
    until(lambda: "waiting for 1 of 2 ranks at 127.0.0.1:" in ranks.said(rank))
    assert f"(rank {1 - rank}" in ranks.said(rank)
    ranks.processes[0].send_signal(number)
    status, sentence = SAID[number]
    assert ranks.wait(SENTENCE_SECONDS) == [status]
    assert sentence in ranks.said(rank)
    assert "Traceback" not in ranks.said(rank)
    assert not (tmp_path / "out").exists()


def test_a_rank_that_went_while_it_waited_may_come_again(own, tmp_path, start):
    world = {"WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}

    def rank(number: int):
        return start(own, "--out", tmp_path / "out", **world, RANK=str(number), LOCAL_RANK=str(number))

    first, second = rank(0), rank(1)
    until(lambda: "waiting for 1 of 3 ranks" in first.said())
    second.processes[0].send_signal(signal.SIGINT)
    assert second.wait(SENTENCE_SECONDS) == [130]
    third = rank(2)
    until(lambda: "waiting for 1 of 3 ranks" in third.said() and "(rank 1)" in third.said())
    assert [ranks.wait() for ranks in (rank(1), first, third)] == [[0], [0], [0]]


SLOW = """
import time
def load():
    print("LOADING", flush=True)
    time.sleep(600)
"""


@SIGNALS
def test_while_a_model_is_loaded(own, tmp_path, start, number):
    (tmp_path / "own.py").write_text(SLOW)
    ranks = start("run", own, "--out", tmp_path / "out", module="probe.cli.main")
    until(lambda: "LOADING" in ranks.said())
    ranks.processes[0].send_signal(number)
    status, sentence = SAID[number]
    assert ranks.wait(SENTENCE_SECONDS) == [status]
    assert sentence in ranks.said()
    assert "Traceback" not in ranks.said()


@SIGNALS
def test_while_it_iterates(own, tmp_path, start, number):
    out = tmp_path / "out"
    ranks = start("run", own, "--out", out, module="probe.cli.main", OWN_SLEEP="0.05")
    until(lambda: shard_files(out))
    ranks.processes[0].send_signal(number)
    status, sentence = SAID[number]
    assert ranks.wait(SENTENCE_SECONDS) == [status]
    assert sentence in ranks.said()
    assert "Traceback" not in ranks.said()


def test_a_hangup_is_nothing_to_a_process_of_nohup(own, tmp_path):
    out = tmp_path / "out"
    command = ["nohup", sys.executable, "-m", "jobs.worker", str(own), "--out", str(out), "--stage", "attractors"]
    env = {**CLEAN, "OMP_NUM_THREADS": "1", "OWN_SLEEP": "0.02"}
    with (tmp_path / "said").open("w") as said, subprocess.Popen(command, env=env, stdout=said, stderr=said) as process:
        until(lambda: shard_files(out))
        process.send_signal(signal.SIGHUP)
        assert process.wait(600) == 0


def _guarded(tmp_path: Path, body: str) -> "subprocess.Popen[str]":
    """A process whose command is this code."""
    (tmp_path / "command.py").write_text(
        "import os, signal, sys, time\nfrom jobs.worker import guarded\ndef command():\n"
        + "".join(f"    {line}\n" for line in body.splitlines())
        + "sys.exit(guarded(command))\n"
    )
    command = [sys.executable, str(tmp_path / "command.py")]
    return subprocess.Popen(command, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


PUTS_IN_ORDER = """try:
    print("here", flush=True)
    time.sleep(600)
finally:
    print("putting in order", flush=True)
    time.sleep(600)"""


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    with _guarded(tmp_path, PUTS_IN_ORDER) as process:
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "putting in order\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(SENTENCE_SECONDS) == -signal.SIGINT


def test_ctrl_c_is_left_to_who_ignores_it_and_to_who_calls(tmp_path):
    from jobs.stopping import interruptible

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("name", "module", "status"), [("probe", "probe.cli", 130), ("mine.py", "jobs", -2)])
def test_ctrl_c_while_modules_are_read(name, module, status):
    """Of a command of this tool; of any other program that imports it, Ctrl-C is its own."""
    code = f"import os, signal, sys; sys.argv = ['/bin/{name}']; import {module}; os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", code], env=CLEAN, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert ("probe: interrupted; rerun the same command to resume." in done.stderr) == (status == 130)
