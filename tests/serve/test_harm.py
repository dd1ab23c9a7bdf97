"""What people and machines do to a service: damaged files, full disks, folders removed by hand, signals, odd names."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import yaml

from ..jobs.conftest import MAP, configure
from .service import Service, served, shims, until, workers

pytestmark = pytest.mark.busy(40)

FINISHED = Path(__file__).parents[1] / "jobs" / "finished"
HANGS = """
import os, signal, subprocess, sys, time
FOLDER = os.path.dirname(__file__)
if not os.path.exists(FOLDER + "/free"):
    forked = os.fork()
    if forked == 0:
        os.setsid()
        time.sleep(3600)
    sleeping = subprocess.Popen(["sleep", "3600"])
    with open(FOLDER + "/children", "w") as file:
        file.write(f"{forked} {sleeping.pid}")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)
"""
"""A model that, once it is loaded, hears nothing any more, and has children, one of them in a session of its own."""


@pytest.fixture
def config(tmp_path):
    """Of a run of some seconds."""
    found = yaml.safe_load(configure(tmp_path).read_text())
    (tmp_path / "own.py").write_text(MAP.replace('"OWN_SLEEP", 0', '"OWN_SLEEP", 0.02'))
    return found


@pytest.fixture
def foreign(tmp_path) -> Path:
    """A root with one finished run of each of two kinds, in folders of their own."""
    for kind in ("run", "ood"):
        shutil.copytree(FINISHED / kind, tmp_path / "root" / "group" / kind)
    return tmp_path / "root"


def known(service: Service) -> dict[str, str]:
    return {id: run["state"] for id, run in service.runs().items()}


BOTH = {"group~run": "done", "group~ood": "done"}


def test_a_root_has_one_server(foreign):
    with served(foreign) as service:
        second = Service(foreign)
        second.start(wait=False)
        assert second.process
        assert second.process.wait(60) == 2
        assert "is served by another server already" in second.said()
        assert "Traceback" not in second.said()
        second.http.close()
        until(lambda: known(service) == BOTH, 60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_streams_and_server(foreign, number):
    with served(foreign) as service:
        lines: list[str] = []
        opened = threading.Barrier(4)  # all streams, and this thread

        def follow() -> None:
            with (
                httpx.Client(base_url=service.http.base_url, headers=service.http.headers, timeout=60) as http,
                http.stream("GET", "/v1/events") as stream,
            ):
                opened.wait(60)
                lines.extend(stream.iter_lines())  # to its proper end: an incomplete answer is an error of httpx

        following = [threading.Thread(target=follow) for _ in range(3)]
        for one in following:
            one.start()
        opened.wait(60)
        assert service.process
        service.process.send_signal(number)
        assert service.process.wait(60) in (0, 128 + number, -number)
        for one in following:
            one.join(60)
            assert not one.is_alive()
        assert "Traceback" not in service.said(), service.said()


@pytest.mark.parametrize("damage", [b"", b"SQLite format 3\0" + b"junk" * 500, b"x", "table"])
def test_a_damaged_index_is_made_again(foreign, damage):
    index = foreign / ".probe-serve" / "index.sqlite"
    with served(foreign) as service:
        until(lambda: known(service) == BOTH, 60)
        service.kill()
        if damage == "table":
            with sqlite3.connect(index) as connection:
                connection.execute("drop table runs")
            connection.close()
        else:
            index.write_bytes(damage)
        service.start()
        until(lambda: known(service) == BOTH, 60)
        assert "Traceback" not in service.said(), service.said()


def test_an_index_damaged_or_removed_under_the_server(foreign):
    index = foreign / ".probe-serve" / "index.sqlite"
    with served(foreign) as service:
        until(lambda: known(service) == BOTH, 60)
        with index.open("r+b") as file:
            file.write(os.urandom(index.stat().st_size))
        index.with_name("index.sqlite-wal").write_bytes(b"")

        def again() -> bool:
            answer = service.http.get("/v1/runs")
            assert answer.status_code in (200, 500, 503), answer.text
            return answer.status_code == 200 and {run["id"] for run in answer.json()["runs"]} == BOTH.keys()

        until(again, 90)
        assert service.is_alive()
        assert service.http.get("/healthz").status_code == 200
        for file in index.parent.glob("index.sqlite*"):
            file.unlink()
        until(again, 90)
        service.kill()
        service.start()
        until(lambda: known(service) == BOTH, 60)


@pytest.mark.parametrize("id", ["a~b", "..", ".hidden", "a/b", "\u00e9t\u00e9", "a b", "x" * 201, "a\n", "", "%2e%2e"])
def test_an_odd_id_is_refused_in_words(odd, id, tmp_path):
    service, config = odd
    answer = service.http.post("/v1/runs", json={"config": config, "id": id})
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert not {path.name for path in service.root.iterdir()} - {".probe-serve", "loop", "away", *STRANGE}


STRANGE = ("with space", "\u00fcml\u00e4ut", "new\nline", "per%cent", "semi;colon", "-dash", "_under", "a" * 250)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A service without slots over a root with a strange name, which holds finished runs of strange names."""
    root = tmp_path_factory.mktemp("odd") / "f\u00f6lder with 'quotes' & \u2603"
    for name in STRANGE:
        shutil.copytree(FINISHED / "ood", root / name)
    (root / "loop").symlink_to(root)
    (root / "away").symlink_to("/etc")
    config = yaml.safe_load((FINISHED / "ood.yaml").read_text())
    config["model"]["source"] = f"python:{FINISHED}/tiny.py:load"
    with served(root, slots=0) as service:
        yield service, config
        assert "Traceback" not in service.said(), service.said()


def test_strange_folders_are_left_out_or_can_be_asked_for(odd):
    service, _ = odd
    until(lambda: known(service), 60)
    found = service.runs()
    for id, run in found.items():
        assert run["state"] == "done"
        assert service.get(id)["id"] == id
        assert service.http.get(f"/v1/runs/{id}/report.json").status_code == 200, id
        assert service.http.delete(f"/v1/runs/{id}").status_code == 409  # it is not ours
    assert found.keys() == {"-dash", "_under"}


@pytest.mark.parametrize("path", ["%2e%2e", "..%2f..%2fetc", "with%20space", "%00", "a%0ab", "x" * 3000, "~", "a~~b"])
def test_an_odd_id_is_absent(odd, path):
    service, _ = odd
    for ending in ("", "/events", "/logs", "/report.json", "/artifacts", "/artifacts/config.yaml"):
        answer = service.http.get(f"/v1/runs/{path}{ending}")
        assert answer.status_code in (404, 422), (answer.status_code, answer.text)


def test_a_token_file_that_was_left_empty_is_made_again(tmp_path):
    from probe.serve.security import make_token

    (tmp_path / "token").touch(0o600)
    token = make_token(tmp_path / "token")
    assert len(token) >= 32
    assert make_token(tmp_path / "token") == token


@pytest.mark.parametrize("forgotten", ["all", "one"])
def test_a_key_is_known_after_a_kill(tmp_path, forgotten):
    """Killed before the index knew the last submission, or with an index that is gone: a client asks again at once."""
    config = yaml.safe_load((FINISHED / "ood.yaml").read_text())
    config["model"]["source"] = f"python:{FINISHED}/tiny.py:load"
    root = tmp_path / "root"
    with served(root, slots=0) as service:
        ids = [service.submit(config, f"key-{number}")["id"] for number in range(3)]
        service.kill()
        index = root / ".probe-serve" / "index.sqlite"
        if forgotten == "all":
            for file in index.parent.glob("index.sqlite*"):
                file.unlink()
        else:
            connection = sqlite3.connect(index)
            assert connection.execute("delete from runs where id = ?", (ids[1],)).rowcount == 1
            connection.commit()
            connection.close()
        service.start(wait=False)
        while True:
            with suppress(httpx.TransportError):
                assert service.submit(config, "key-1")["id"] == ids[1]
                break
            time.sleep(0.01)
        until(service.is_ready, 60)
        assert service.runs().keys() == set(ids)


def test_time_that_goes_back_keeps_the_order_of_changes(tmp_path, monkeypatch):
    from probe.serve import index as module
    from probe.serve.index import Index, Row
    from probe.serve.states import State

    index = Index(tmp_path / "index.sqlite")
    times = iter([2_000_000_000_000, 1_000_000_000_000, 1_000_000_001_000, 3_000_000_000_000])
    monkeypatch.setattr(module.time, "time_ns", lambda: next(times) * 1_000_000)
    revs = []
    for state in (State.QUEUED, State.RUNNING, State.STOPPING, State.CANCELLED):
        row = Row("one", "one", "run", state, "", None, "local", "2026-11-28T00:00:00+00:00", True)
        revs.append(index.put(row).rev)
    assert revs == sorted(set(revs))
    index.close()


# With workers: slow.


@pytest.mark.slow
def test_workers_outlive_sigterm_and_sighup_and_are_adopted(config, tmp_path):
    root = tmp_path / "r\u00f6\u00f6t with spaces"
    with served(root, slots=1) as service:
        run = service.submit(config, id="first_.-1")["id"]
        assert run == "first_.-1"
        until(lambda: workers(root))
        one = workers(root)
        assert service.stop() in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        assert workers(root) == one
        service.start()
        assert service.wait(run, "running", "done")["state"] == "running"
        assert service.process
        service.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert workers(root) == one
        if not service.is_alive():
            service.start()
        assert service.wait(run)["state"] == "done"
        assert len(json.loads((root / run / ".service.json").read_text())["attempts"]) == 1
        until(lambda: not shims(root), 30)
        # Nothing that it started is left as a zombie.
        children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
        assert [pid for pid in children if " Z " in Path(f"/proc/{pid}/stat").read_text()] == []


@pytest.mark.slow
def test_a_worker_that_hears_nothing_is_ended_with_its_children(config, tmp_path):
    (tmp_path / "own.py").write_text(MAP + HANGS)
    with served(tmp_path / "root", slots=1) as service:
        run, after = service.submit(config)["id"], service.submit({**config, "resolution": 32})["id"]
        until((tmp_path / "children").exists)
        until((tmp_path / "children").read_text)
        children = (tmp_path / "children").read_text().split()
        # The service is killed between what was asked and its end.
        assert service.http.post(f"/v1/runs/{run}/cancel").json()["state"] in ("running", "stopping")
        service.kill()
        service.start()
        (tmp_path / "free").touch()
        assert service.wait(run)["state"] == "cancelled"
        until(lambda: not any(_lives(pid) for pid in children), 30)
        assert service.wait(after)["state"] == "done"


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.slow
def test_run_directories_that_are_removed_by_hand(config, tmp_path):
    """One that works, one that waits, and one whose ticket is damaged: the others go on."""
    root = tmp_path / "root"
    with served(root, slots=1) as service:
        works, waits, damaged, last = (
            service.submit({**config, "seeds": {**config["seeds"], "seed": seed}})["id"] for seed in range(4)
        )
        until(lambda: workers(root))
        (root / damaged / ".service.json").write_text("{not")
        shutil.rmtree(root / waits)
        while (root / works).exists():  # its worker may be writing
            shutil.rmtree(root / works, ignore_errors=True)
        assert service.wait(last)["state"] == "done"
        gone = [works, waits] if not (root / works).exists() else [waits]
        until(lambda: all(service.http.get(f"/v1/runs/{run}").status_code == 404 for run in gone), 120)
        assert service.get(damaged)["state"] != "running"
        until(lambda: not workers(root), 60)
        for run in (damaged, *gone):
            for ask in ("cancel", "resume"):
                assert service.http.post(f"/v1/runs/{run}/{ask}").status_code < 500
        service.kill()
        service.start()
        until(lambda: known(service).get(last) == "done", 60)
        found = service.get(damaged)
        assert found["state"] == "done" or found["reason"]


@pytest.mark.slow
def test_a_full_disk_and_one_that_becomes_read_only(config, disk):
    folder, again = disk
    with served(folder / "root", slots=1) as service:
        run = service.submit(config, "first")["id"]
        service.log = folder.parent / "server-again.txt"  # what it says from its next start on is not on that disk
        until(lambda: workers(service.root))
        fill = folder / "fill"
        with fill.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        refused = service.http.post("/v1/runs", json={"config": config}, headers={"Idempotency-Key": "second"})
        assert refused.status_code in (500, 503, 507), refused.text
        assert "No space left on device" in refused.json()["detail"], refused.text
        assert service.http.get("/v1/runs").status_code == 200
        fill.unlink()  # the index is on that disk: until now it could not note what became of the run
        found = service.wait(run, "done", "failed", "queued", "lost")
        assert found["state"] == "done" or found["reason"]
        second = service.submit(config, "second")["id"]
        if service.get(run)["state"] != "done":
            service.http.post(f"/v1/runs/{run}/resume").raise_for_status()
        assert service.wait(run)["state"] == "done"
        assert service.wait(second)["state"] == "done"
        assert set(service.runs()) == {run, second}
        assert not list(service.root.rglob("*.tmp"))
        os.sync()
        # A file that is open for writing keeps a file system from becoming read-only; so the server is not asked.
        third = service.submit({**config, "resolution": 32}, "third")["id"]
        until(lambda: workers(service.root))
        if subprocess.run(["mount", "-o", "remount,ro", folder], capture_output=True).returncode == 0:
            assert service.http.post("/v1/runs", json={"config": config}).status_code in (500, 503, 507)
            again("rw")
        else:
            service.http.post(f"/v1/runs/{third}/cancel").raise_for_status()
            service.wait(third, "cancelled")
            service.kill()
            again("ro")
            service.start(wait=False)
            assert service.process
            assert service.process.wait(60) == 1
            assert "Traceback" not in service.said()
            again("rw")
            service.start()
        service.http.post(f"/v1/runs/{third}/resume").raise_for_status()
        assert service.wait(third)["state"] == "done"
        assert service.is_alive()
