"""Many clients at once, and clients that vanish: the service's memory and files do not grow with them."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import yaml

from ..jobs.conftest import MAP, configure
from .service import descriptors, memory, seconds_of, served, until, workers

pytestmark = [pytest.mark.busy(250), pytest.mark.slow]

SECONDS = 30
GROWTH = 24.0
"""MB that the service may grow by after its warm-up: buffers of 75 connections at 64 KiB, twice, and some caches."""


@pytest.fixture
def config(tmp_path):
    found = yaml.safe_load(configure(tmp_path).read_text())
    (tmp_path / "own.py").write_text(MAP.replace('"OWN_SLEEP", 0', '"OWN_SLEEP", 0.05'))
    return found


def test_fifty_clients_and_twenty_streams_leave_no_trace(config, tmp_path, capsys):
    out = tmp_path / "seen.json"
    with served(tmp_path / "root") as service:
        runs = [service.submit(config, f"key-{number}")["id"] for number in range(5)]
        until(lambda: workers(service.root))
        service.runs()
        idle = descriptors(service.pid)
        url = f"http://127.0.0.1:{service.port}"
        token = service.http.headers["Authorization"].removeprefix("Bearer ")
        script = Path(__file__).with_name("clients.py")
        said = (tmp_path / "clients.txt").open("wb")
        command = [sys.executable, "-I", str(script), url, token, str(SECONDS), str(out), *runs]
        clients = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            time.sleep(10)
            warm, cpu, began = memory(service.pid), seconds_of(service.pid), time.monotonic()
            crowded = descriptors(service.pid)
            until(lambda: out.exists() or clients.poll() is not None, 900)
            assert clients.poll() is None, (tmp_path / "clients.txt").read_text()[-4000:]
            end = memory(service.pid)
            share = (seconds_of(service.pid) - cpu) / (time.monotonic() - began)
        finally:
            clients.kill()
            clients.wait()
            said.close()
        # The connections of the killed process are closed, and nobody said good-bye.
        until(lambda: descriptors(service.pid) <= idle + 3, 60)
        after = memory(service.pid)
        seen = json.loads(out.read_text())
        states = {id: run["state"] for id, run in service.runs().items()}
        assert service.is_alive()
        log = service.said()
    with capsys.disabled():
        print(
            f"\n{seen['seen']} in {SECONDS} s and more; memory {warm:.0f} MB warm, {end:.0f} MB at the end, "
            f"{after:.0f} MB after; files open {idle}, {crowded}, then {idle} again; {100 * share:.0f} % of a core"
        )
    assert not seen["failed"]
    assert set(seen["seen"]) == {"polled: 200"}
    assert states == dict.fromkeys(runs, "done")
    for at, end_states in enumerate(seen["ends"]):
        assert end_states == ({runs[at % 5]: "done"} if at < 10 else states)
    assert end - warm < GROWTH
    assert "Traceback" not in log, log[-4000:]


def test_a_client_that_leaves_changes_nothing(config, tmp_path):
    """A stream and a followed log, begun and left at once, again and again."""
    with served(tmp_path / "root") as service:
        run = service.submit(config)["id"]
        service.wait(run, "running")
        service.runs()
        idle, threads = descriptors(service.pid), len(os.listdir(f"/proc/{service.pid}/task"))

        def come_and_go() -> None:
            for turn in range(20):
                path = (f"/v1/runs/{run}/events", f"/v1/runs/{run}/logs?follow=1", "/v1/events")[turn % 3]
                with (
                    httpx.Client(base_url=service.http.base_url, headers=service.http.headers, timeout=60) as http,
                    http.stream("GET", path) as stream,
                ):
                    assert stream.status_code == 200
                    next(stream.iter_raw())

        several = [threading.Thread(target=come_and_go) for _ in range(5)]
        for one in several:
            one.start()
        for one in several:
            one.join()
        until(lambda: descriptors(service.pid) <= idle + 3, 60)
        assert service.wait(run)["state"] == "done"
        assert len(os.listdir(f"/proc/{service.pid}/task")) <= threads + 40  # the threads of a pool stay
        assert "Traceback" not in service.said()
