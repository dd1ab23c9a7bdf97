"""Processes that share the stages of a run and know nothing of each other, as the tasks of a Slurm array."""

import json
import signal
import threading
from collections import Counter

import pytest
import torch

from jobs.independent import Independent, is_passed_on, refuse_beside
from jobs.lock import exclusive
from jobs.run.attractors import load_end_points
from jobs.run.directory import RunDirectory
from jobs.shards import Shards
from probe.config import parse_config, read_yaml
from probe.errors import UserError
from probe.results.files import read_tensors
from probe.results.layout import SPENT

from .conftest import assert_same_run, do, shard_files, until

STAGES = ("attractors", "dictionary", "reconstruct")


def test_items_go_to_one_process_each_and_what_it_leaves_to_the_next(tmp_path):
    """Two processes take turns; the second is killed with an item in hand, which the first then gets."""
    done: set[int] = set()
    one, two = Independent(tmp_path, 0, 2), Independent(tmp_path, 1, 2)
    seen: list[int] = []
    first = one.claims("numbers", range(6), done.__contains__, seen.append)
    second = two.claims("numbers", range(6), done.__contains__, seen.append)
    assert [next(first), next(second)] == [0, 3]  # each begins elsewhere
    done.add(0)
    assert next(first) == 1
    two.let_go()  # as the kernel does for a process that is killed
    done |= {1}
    for item in (2, 3, 4, 5):
        assert next(first) == item
        done.add(item)
    assert list(first) == []
    assert list(Independent(tmp_path).claims("numbers", range(6), done.__contains__, seen.append)) == []
    assert seen == [*range(6)]  # the last one found all of them


def test_a_process_waits_for_what_others_hold_but_not_with_work_of_its_own_in_hand(tmp_path):
    done: set[int] = set()
    one, two = Independent(tmp_path), Independent(tmp_path)
    held = next(two.claims("numbers", [7], done.__contains__, print))
    claims = one.claims("numbers", [7, 8], done.__contains__, print)
    assert next(claims) == 8
    assert list(claims) == []  # 8 is not done: it must be, before this process waits for anybody
    assert one.left([7, 8], done.__contains__) == [7, 8]
    one.let_go()
    done.add(8)
    threading.Timer(0.3, lambda: done.add(held)).start()
    elsewhere: list[int] = []
    assert list(one.claims("numbers", [7, 8], done.__contains__, elsewhere.append)) == []
    assert sorted(elsewhere) == [7, 8]


def test_what_one_does_alone_is_done_by_whoever_comes_first(tmp_path):
    one, two = Independent(tmp_path), Independent(tmp_path, 1, 2)
    with one.alone(), one.alone(), pytest.raises(UserError, match="is being worked on"), two.alone(0.1):
        pass
    assert two.on_rank_0(lambda: 5) == 5


def test_a_process_that_works_on_all_is_refused_beside_them(tmp_path):
    with Independent(tmp_path, 3, 4).present(), pytest.raises(UserError, match="task 3 of a Slurm array; wait"):
        refuse_beside(tmp_path, 0.0)
    refuse_beside(tmp_path, 0.0)


def test_a_task_that_joins_the_parts_is_waited_for_and_what_follows_is_left_alone(tmp_path):
    """The next Slurm job begins when one task has ended well: it must not end while another joins the parts."""
    assert not is_passed_on(tmp_path)
    with exclusive(tmp_path):
        assert is_passed_on(tmp_path)
        with Independent(tmp_path, 3, 4).present():
            assert not is_passed_on(tmp_path)


def test_a_part_that_another_process_takes_away_between_two_looks_is_no_error(tmp_path, own, monkeypatch):
    """Who counts what is left holds no shard, while those that do complete it or add to its part."""
    run = RunDirectory.create(tmp_path / "out", parse_config(read_yaml(own)))
    kept = Shards(run, lambda start: range(4), 0)
    monkeypatch.setattr(RunDirectory, "claimed", lambda *_: {})  # it was there a moment ago
    assert kept.missing(range(4)) == [0, 1, 2, 3]


@pytest.mark.busy
def test_a_run_by_independent_processes_is_that_of_one(run_of_one, own, tmp_path, start):
    """Twelve processes for ten shards; one is killed, one is stopped and begins again, one comes when all is done."""
    out = tmp_path / "out"
    do(RunDirectory.create(out, parse_config(read_yaml(own))), "images")

    def task(number, stage, **more):
        array = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "4", **more}
        return start(out, "--stage", stage, "--shared", "--trust-code", **array)

    tasks = [task(number, "attractors", OWN_SLEEP="0.1") for number in range(4)]
    until(lambda: len(shard_files(out)) > 1)
    tasks[1].processes[0].send_signal(signal.SIGKILL)
    tasks[2].processes[0].send_signal(signal.SIGUSR1)
    assert [one.wait()[0] for one in tasks] == [0, -signal.SIGKILL, 75, 0], [one.said() for one in tasks]
    for stage in STAGES:
        tasks = [task(number, stage) for number in (0, 2)]
        assert [one.wait() for one in tasks] == [[0], [0]], [one.said() for one in tasks]
    assert start(out, "--stage", "report").wait() == [0]
    assert_same_run(run_of_one, out)
    a, b = load_end_points(RunDirectory.open(run_of_one)), load_end_points(RunDirectory.open(out))
    assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in vars(a))  # rows of this map are independent
    ranks = {read_tensors(file)[1]["rank"] for file in shard_files(out)}
    assert len(ranks) > 1
    assert task(0, "reconstruct").wait() == [0]


@pytest.mark.busy
@pytest.mark.slow
def test_an_array_plans_once_and_each_of_its_processes_notes_its_part(own, tmp_path, start):
    """On a map that is just large enough to be planned."""
    file, out = own.parent / "own.py", tmp_path / "out"
    work = "torch.eye(256) @ torch.eye(256)\n        return torch.nn.functional.interpolate"
    file.write_text(file.read_text().replace("return torch.nn.functional.interpolate", work))
    do(RunDirectory.create(out, parse_config(read_yaml(own, ["solver.max_steps=600"]))), "images")
    for stage in STAGES:
        array = ({"SLURM_ARRAY_TASK_ID": number, "SLURM_ARRAY_TASK_COUNT": "2", "OWN_SLEEP": "0.01"} for number in "01")
        tasks = [start(out, "--stage", stage, "--shared", "--trust-code", **one) for one in array]
        assert [one.wait() for one in tasks] == [[0], [0]], [one.said() for one in tasks]
    assert start(out, "--stage", "report").wait() == [0]
    noted = Counter(json.loads(line)["stage"] for line in (out / SPENT).read_text().splitlines())
    assert noted["attractors"] == 2  # the dictionary's and the reconstructions' parts may all go to the first one
    assert set(noted) == set(STAGES)
    assert "Planned and taken" in (out / "report" / "report.md").read_text()
