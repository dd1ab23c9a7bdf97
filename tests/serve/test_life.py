"""Starts, ends, crashes: a real supervisor and shim, and workers that do what they are told."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from jobs.lock import is_there, this_process
from probe.errors import Failure, UserError
from probe.serve import child
from probe.serve import supervisor as module
from probe.serve.executors import begin, signal_all
from probe.serve.facts import is_held, process_of
from probe.serve.index import Index
from probe.serve.limits import Limits
from probe.serve.settings import Settings
from probe.serve.states import State
from probe.serve.supervisor import Conflict, QueueFull, Supervisor
from probe.serve.ticket import read_ticket

from .conftest import Asked, lives, supervised, until, wait
from .stand_in import FINISHED


def asked(settings, name, **more) -> Asked:
    """A run whose id is what its worker does, unless another is given."""
    return Asked(settings, name=name, **{"id": name.replace(" ", "-"), **more})


def is_gone(pid) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:  # a zombie, where nothing reaps orphans
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_runs_wait_in_order_and_use_their_slots(supervisor, stand_in, root):
    for number in range(5):
        assert supervisor.submit(asked(stand_in, "slow", id=f"run-{number}")).state is State.QUEUED
    rows = [wait(supervisor, f"run-{number}") for number in range(5)]
    assert {row.state for row in rows} == {State.DONE}
    begun = [(root / f"run-{number}" / ".lives").stat().st_mtime_ns for number in range(5)]
    assert begun == sorted(begun)
    assert supervisor.slots() == (0, 2)
    assert {read_ticket(root / f"run-{number}").attempts[0].slot for number in range(5)} == {0, 1}
    assert all(len(lives(root / f"run-{number}")) == 1 for number in range(5))


def test_a_worker_has_its_gpu_and_nothing_of_the_service(root, stand_in, monkeypatch):
    monkeypatch.setenv("PROBE_TOKEN", "secret")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with supervised(root, gpus=("3", "5"), slots=2, cores=6) as one:
        for id in ("a", "b"):
            one.submit(asked(stand_in, "wait", id=id))
        found = [until(lambda id=id: lives(root / id))[0] for id in ("a", "b")]
        assert [life[1:] for life in found] == [["3", "3"], ["5", "3"]]
        with open(f"/proc/{found[0][0]}/environ") as file:
            assert "PROBE_" not in file.read()


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [("exit 2", State.FAILED, "it is not to be done."), ("exit 1", State.FAILED, "it is not to be done.")],
)
def test_a_failure_has_its_sentence_and_can_be_resumed(supervisor, stand_in, root, name, state, reason):
    supervisor.submit(asked(stand_in, name, id="it"))
    row = wait(supervisor, "it")
    assert (row.state, row.reason) == (state, reason)
    assert row.error["status"] == int(name[-1])
    assert row.finished
    supervisor.resume("it")
    until(lambda: len(lives(root / "it")) == 2)
    assert wait(supervisor, "it").state is state


@pytest.mark.parametrize("name", ["kill 9", "exit 75"])
def test_a_run_that_is_always_lost_is_given_up(supervisor, stand_in, root, name):
    supervisor.submit(asked(stand_in, name, id="it"))
    row = wait(supervisor, "it")
    assert row.state is State.LOST
    assert "4 times in a row" in row.reason
    assert len(lives(root / "it")) == 4


@pytest.mark.parametrize("name", ["wait", "stubborn", "child"])
def test_cancel_ends_everything_and_frees_the_slot(root, stand_in, monkeypatch, name):
    monkeypatch.setattr(module, "GRACE", 1.0)
    with supervised(root, slots=1) as one:
        one.submit(asked(stand_in, name))
        one.submit(asked(stand_in, "done"))
        pid = until(lambda: lives(root / name))[0][0]
        assert one.cancel(name).state is State.STOPPING
        assert wait(one, name).state is State.CANCELLED
        assert is_gone(pid)
        assert not is_held(root / name)
        assert wait(one, "done").state is State.DONE
        assert one.cancel(name).state is State.CANCELLED  # again is no error
        one.resume(name)
        until(lambda: len(lives(root / name)) == 2)


def test_a_queued_run_that_is_cancelled_never_begins(root, stand_in):
    with supervised(root, slots=0) as one:
        one.submit(asked(stand_in, "done"))
        assert one.cancel("done").state is State.CANCELLED
    with supervised(root, slots=1) as one:
        one.submit(asked(stand_in, "done", id="next"))
        assert wait(one, "next").state is State.DONE
        assert one.get("done").state is State.CANCELLED
        assert lives(root / "done") == []


def test_delete_takes_what_is_ours_and_at_rest(supervisor, stand_in, root):
    supervisor.submit(asked(stand_in, "wait"))
    wait(supervisor, "wait", State.RUNNING)
    with pytest.raises(Conflict, match="cancel it"):
        supervisor.delete("wait")
    supervisor.cancel("wait")
    wait(supervisor, "wait")
    supervisor.delete("wait")
    assert not (root / "wait").exists()
    assert [one.name.partition("-")[0] for one in (root / ".probe-serve" / "trash").iterdir()] == ["wait"]
    with pytest.raises(UserError, match="no run 'wait'"):
        supervisor.get("wait")
    assert supervisor.submit(asked(stand_in, "done", id="wait")).created


def test_the_same_submission_is_the_same_run(root, stand_in):
    with supervised(root, slots=0) as one:
        first = one.submit(asked(stand_in, "done", id=None, key="k"))
        again = one.submit(asked(stand_in, "done", id=None, key="k"))
        assert (again.id, again.created) == (first.id, False)
        for other in (
            asked(stand_in, "x", id=None, key="k", digest="other"),
            asked(stand_in, "x", id=first.id, digest="y"),
        ):
            with pytest.raises(Conflict, match="another submission"):
                one.submit(other)
        (root / "notes").mkdir()
        (root / "notes" / "file").touch()
        with pytest.raises(Conflict, match="taken by a folder"):
            one.submit(asked(stand_in, "x", id="notes"))
        for id in ("../up", ".hidden", "a/b", "a~b", "", "x" * 201, "a\n"):
            with pytest.raises(UserError, match="cannot name a run"):
                one.submit(asked(stand_in, "x", id=id))
        assert {path.name for path in root.iterdir()} == {first.id, "notes", ".probe-serve"}
        one.index.remove(first.id)  # as if a kill had come between the folder and the index
    with supervised(root, slots=0) as one:
        assert one.submit(asked(stand_in, "done", id=None, key="k")).id == first.id
    with supervised(root, slots=0, rebuild=True) as one:  # keys are known from the tickets
        assert one.submit(asked(stand_in, "done", id=None, key="k")).id == first.id


def test_the_queue_is_bounded(root, stand_in):
    with supervised(root, slots=0, limits=Limits(queue=3)) as one:
        for number in range(3):
            one.submit(asked(stand_in, "done", id=f"run-{number}"))
        with pytest.raises(QueueFull, match="3 runs wait"):
            one.submit(asked(stand_in, "done", id="more"))


def test_a_root_has_one_server(root, supervisor):
    with pytest.raises(UserError, match="another server"):
        Supervisor(supervisor.settings)


def test_workers_outlive_the_server_and_are_adopted(root, stand_in):
    with supervised(root) as one:
        one.submit(asked(stand_in, "wait"))
        until(lambda: lives(root / "wait"))
    assert is_held(root / "wait")
    with supervised(root) as two:
        assert wait(two, "wait", State.RUNNING).state is State.RUNNING
        two.cancel("wait")
        assert wait(two, "wait").state is State.CANCELLED
    assert len(lives(root / "wait")) == 1


@pytest.mark.parametrize("index", ["kept", "removed", "damaged"])
def test_what_happened_while_no_server_was_there(root, stand_in, index):
    """The worker of one run ends, that of another is killed with its shim; the index survives, or does not."""
    with supervised(root, slots=3) as one:
        for name in ("slow", "wait", "stubborn"):
            one.submit(asked(stand_in, name))
        for name in ("slow", "wait", "stubborn"):
            until(lambda name=name: lives(root / name))
    signal_all(root / "stubborn", signal.SIGKILL)
    for name in ("slow", "stubborn"):
        until(lambda name=name: not is_held(root / name))
    file = root / ".probe-serve" / "index.sqlite"
    if index == "removed":
        file.unlink()
    elif index == "damaged":
        file.write_bytes(b"SQLite format 3\0" + b"nonsense" * 1000)
        for ending in ("-wal", "-shm"):
            file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)
    with supervised(root, slots=3) as two:
        until(lambda: two.index.get("slow"))
        assert wait(two, "slow").state is State.DONE
        until(lambda: len(lives(root / "stubborn")) == 2)
        assert wait(two, "wait", State.RUNNING)
    assert len(lives(root / "slow")) == len(lives(root / "wait")) == 1


def test_an_index_that_is_damaged_meanwhile_is_filled_again(root, stand_in):
    with supervised(root, slots=1) as one:
        for name in ("done", "wait", "slow"):
            one.submit(asked(stand_in, name))
        wait(one, "done")
        until(lambda: lives(root / "wait"))
        with sqlite3.connect(one.index.file) as other:
            other.execute("drop table runs")
        other.close()
        for name in ("done", "wait", "slow"):
            until(lambda name=name: is_known(one, name))
        assert [one.get(name).state for name in ("done", "wait", "slow")] == ["done", "running", "queued"]


def is_known(supervisor, id) -> bool:
    try:
        return supervisor.index.get(id) is not None
    except Failure:
        return False


def test_a_cancelled_run_ends_although_the_server_died_meanwhile(root, stand_in):
    with supervised(root) as one:
        one.submit(asked(stand_in, "wait"))
        until(lambda: lives(root / "wait"))
    read_ticket(root / "wait").cancelled().write(root / "wait")
    with supervised(root) as two:
        assert wait(two, "wait").state is State.CANCELLED


@pytest.mark.parametrize("victim", ["worker", "shim"])
def test_a_killed_process_is_noticed(supervisor, stand_in, root, victim):
    supervisor.submit(asked(stand_in, "wait"))
    worker = int(until(lambda: lives(root / "wait"))[0][0])
    os.kill(worker if victim == "worker" else process_of(root / "wait")["pid"], signal.SIGKILL)
    if victim == "shim":  # the lock says that the worker lives
        time.sleep(0.5)
        supervisor.wake()
        assert wait(supervisor, "wait", State.RUNNING)
        assert len(lives(root / "wait")) == 1
        os.kill(worker, signal.SIGKILL)
    until(lambda: len(lives(root / "wait")) == 2)


def test_a_run_that_cannot_be_read_keeps_no_other_from_going_on(supervisor, stand_in, root):
    supervisor.submit(asked(stand_in, "wait"))
    until(lambda: lives(root / "wait"))
    (root / "wait" / "config.yaml").write_text("model: [")
    (root / "broken").mkdir()
    (root / "broken" / ".service.json").write_text("{")
    supervisor.submit(asked(stand_in, "done"))
    assert wait(supervisor, "done").state is State.DONE
    supervisor.cancel("wait")
    assert wait(supervisor, "wait").state is State.CANCELLED


def test_a_run_whose_ticket_is_damaged_is_shown_with_the_reason(root, stand_in):
    with supervised(root, slots=0) as one:
        for id in ("kept", "damaged", "removed"):
            one.submit(asked(stand_in, "done", id=id))
        shutil.rmtree(root / "removed")
    (root / "damaged" / ".service.json").write_text('{"version": 1, "id": 3}')
    with supervised(root, slots=1, rebuild=True) as two:
        assert wait(two, "kept").state is State.DONE
        row = until(lambda: two.index.get("damaged"))
        assert row.state is State.LOST
        assert ".service.json" in row.reason
        with pytest.raises(UserError, match=r"\.service\.json"):
            two.resume("damaged")
        assert two.index.get("removed") is None


def test_a_waiting_run_that_is_removed_by_hand_is_forgotten(root, stand_in):
    with supervised(root, slots=1) as one:
        for name in ("wait", "done"):
            one.submit(asked(stand_in, name))
        until(lambda: lives(root / "wait"))
        shutil.rmtree(root / "done")
        one.cancel("wait")
        until(lambda: one.index.get("done") is None)
        assert not (root / "done").exists()


def test_the_shim_starts_nothing_twice(root, stand_in):
    """Of two shims for one attempt one runs; of one for an attempt that the ticket has passed, none."""
    path = root / "it"
    with supervised(root, slots=0) as one:
        one.submit(asked(stand_in, "done", id="it"))
    ticket = read_ticket(path).attempted(0, 0, 0).attempted(0, 0, 0)
    ticket.write(path)
    command = [sys.executable, "-S", "-c", "import os, time; open(os.environ['OUT'], 'a').write('x'); time.sleep(4)"]
    environment = {**os.environ, "OUT": str(root / "said")}
    with pytest.raises(module.Held):
        begin(path, 1, command, environment)
    begin(path, 2, command, environment)
    with pytest.raises(module.Held):
        begin(path, 2, command, environment)
    record = process_of(path)
    assert is_there(record)
    assert {*this_process(), "attempt", "begun"} - {"since"} == {*record}
    signal_all(path, signal.SIGTERM)
    until(lambda: not is_held(path))
    assert process_of(path)["exit"] == -signal.SIGTERM
    assert (root / "said").read_text() == "x"


def test_a_module_where_the_server_was_started_is_not_taken_for_ours(root, tmp_path, tiny):
    with supervised(root, slots=0) as one:
        one.submit(asked(tiny, "a"))
        command = one.executors["local"].command(read_ticket(root / "a"), root / "a")
    (tmp_path / "jobs.py").write_text("raise SystemExit(9)")
    done = subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0


def test_the_shim_is_stdlib_alone():
    code = f"import runpy, sys; runpy.run_path({child.__file__!r}); print('site-packages' in str(sys.modules))"
    assert subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_copy_of_a_run_is_not_ours(root, stand_in):
    with supervised(root) as one:
        one.submit(asked(stand_in, "done"))
        wait(one, "done")
        shutil.copytree(root / "done", root / "copy")
        for ask in (one.delete, one.cancel, one.resume):
            with pytest.raises(Conflict, match="copy was not made by this service"):
                ask("copy")
        assert (root / "copy").is_dir()
        assert not one.get("copy").ours


def test_a_foreign_run_that_is_emptied_is_forgotten(root, monkeypatch):
    monkeypatch.setattr(module, "SCAN_EVERY", 0.2)
    shutil.copytree(FINISHED, root / "one")
    with supervised(root) as one:
        until(lambda: one.index.get("one"))
        for file in ("config.yaml", "manifest.json"):
            (root / "one" / file).unlink()
        until(lambda: one.index.get("one") is None)
        shutil.copytree(FINISHED, root / "one", dirs_exist_ok=True)
        until(lambda: one.index.get("one"))
        (root / "one" / "manifest.json").unlink()
        (root / "one" / "config.yaml").write_text("hydra: true\n")
        until(lambda: one.index.get("one") is None)


def test_a_submission_whose_row_could_not_be_kept_is_known_all_the_same(root, stand_in, monkeypatch):
    with supervised(root, slots=0) as one:
        with monkeypatch.context() as now:
            now.setattr(one.index, "put", lambda row: (_ for _ in ()).throw(Failure("a full disk")))
            with pytest.raises(Failure, match="a full disk"):
                one.submit(asked(stand_in, "done", id=None, key="k"))
        row = one.submit(asked(stand_in, "done", id=None, key="k"))
        assert not row.created
        assert [one.name for one in root.iterdir() if not one.name.startswith(".")] == [row.id]


def test_a_key_is_known_right_after_the_index_was_damaged(root, stand_in):
    one = Supervisor(Settings(root=root, slots=0))  # whose thread fills no index
    row = one.submit(asked(stand_in, "done", id=None, key="k"))
    one.index.made_new = False
    with sqlite3.connect(one.index.file) as other:
        other.execute("drop table runs")
    other.close()
    with pytest.raises(Failure, match="made again"):
        one.submit(asked(stand_in, "done", id=None, key="k"))
    assert one.submit(asked(stand_in, "done", id=None, key="k")).id == row.id
    one.stop()


def test_a_run_of_an_executor_that_is_not_here_is_left_alone(root, stand_in):
    with supervised(root, slots=0) as one:
        one.submit(asked(stand_in, "done"))
    ticket = read_ticket(root / "done")
    replace(ticket.attempted(0, 0, 0), executor="slurm").write(root / "done")
    with supervised(root) as two:
        for ask in (two.delete, two.cancel):
            with pytest.raises(Conflict, match="a run of slurm, which this server does not have"):
                ask("done")
        assert two.get("done").state is State.QUEUED


def test_foreign_runs_are_shown_and_left_alone(root, stand_in):
    shutil.copytree(FINISHED, root / "by hand" / "x", dirs_exist_ok=True)  # a name that no id can have
    shutil.copytree(FINISHED, root / "old" / "2025" / "one")
    shutil.copytree(FINISHED, root / "old" / "a" / "b" / "too-deep")
    (root / "other").mkdir()
    (root / "other" / "config.yaml").write_text("hydra: true\n")
    before = sorted(path.name for path in (root / "old" / "2025" / "one").iterdir())
    with supervised(root) as one:
        row = until(lambda: one.index.get("old~2025~one"))
        assert (row.state, row.ours, row.kind) == (State.DONE, False, "run")
        assert row.summary["atoms"] == 2
        assert [row.id for row in one.index.page()[0]] == ["old~2025~one"]
        assert one.folder(row.id) == root / "old" / "2025" / "one"
        for change in (one.cancel, one.resume, one.delete):
            with pytest.raises(Conflict, match="not made by this service"):
                change(row.id)
        assert sorted(path.name for path in one.folder(row.id).iterdir()) == before


def test_a_full_disk_ends_nothing(root, stand_in, monkeypatch):
    """Neither the index nor tickets can be written for a while: the thread lives on, and a cancelled run ends."""

    def full(*_):
        raise OSError(28, "No space left on device")

    with supervised(root, slots=1) as one:
        one.submit(asked(stand_in, "wait"))
        until(lambda: lives(root / "wait"))
        with monkeypatch.context() as patch:
            patch.setattr(module.Ticket, "write", full)
            one.cancel("wait")
            with pytest.raises(Exception, match="cannot be written"):
                one.submit(asked(stand_in, "done", id="more"))
            until(lambda: not is_held(root / "wait"))
        assert wait(one, "wait").state is State.CANCELLED
        until(lambda: read_ticket(root / "wait").wanted == "cancel")
        assert one.submit(asked(stand_in, "done", id="more")).created
        assert wait(one, "more").state is State.DONE


def test_the_service_needs_no_torch():
    code = "import sys, probe.serve.supervisor; print(sorted({'torch', 'diffusers', 'pandas'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_index_may_lie_elsewhere(root, tmp_path, stand_in):
    with supervised(root, index=tmp_path / "local" / "index.sqlite") as one:
        one.submit(asked(stand_in, "done"))
        wait(one, "done")
    assert Index(tmp_path / "local" / "index.sqlite").get("done").state is State.DONE
    assert not (root / ".probe-serve" / "index.sqlite").exists()
