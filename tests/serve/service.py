"""A real `probe serve` over a root, which a test may kill and begin again; and what /proc says about its workers."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ..jobs.conftest import CLEAN, free_port

READY = 180.0
"""Seconds that only a hang can take."""
OVER = {"done", "failed", "cancelled", "lost"}


class Service:
    """`probe serve` as a process of its own; `url`, `token` and `http` are those of the life at hand."""

    def __init__(self, root: Path, *options: object, slots: int = 2, env: dict[str, str] | None = None):
        self.root, self.slots, self.options = root, slots, options
        self.env = {**CLEAN, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2]), **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.log = root.parent / f"{root.name}-server.txt"
        self.lives = 0
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def start(self, wait: bool = True) -> "Service":
        """Begin a life, in a session of its own, and wait until it is ready."""
        command = [sys.executable, "-m", "probe.cli.main", "serve", "--root", self.root, "--port", self.port]
        command += ["--slots", self.slots, "--gpus", "", "--allow", "python", *self.options]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                list(map(str, command)), stdout=out, stderr=out, env=self.env, start_new_session=True
            )
        self.lives += 1
        if wait:
            until(lambda: self.is_ready() or not self.is_alive(), READY)
            assert self.is_alive(), self.said()
        return self

    def is_alive(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def is_ready(self) -> bool:
        """Whether it takes work; reads its token."""
        try:
            token = (self.root / ".probe-serve" / "token").read_text().strip()
            self.http.headers["Authorization"] = f"Bearer {token}"
            return self.http.get("/readyz").status_code == 200
        except (OSError, httpx.HTTPError):
            return False

    def said(self) -> str:
        """stdout and stderr of all lives."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9."""
        if self.process and self.is_alive():
            self.process.kill()
            self.process.wait()

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM; the exit status."""
        assert self.process
        self.process.terminate()
        return self.process.wait(seconds)

    def close(self) -> None:
        """End it and everything that works below its root."""
        self.kill()
        self.http.close()
        for _ in range(50):
            if not (left := [*workers(self.root), *shims(self.root)]):
                return
            for one in left:
                one.kill()
            time.sleep(0.1)

    def submit(self, config: dict[str, Any], key: str | None = None, **more: Any) -> dict[str, Any]:
        """POST /v1/runs; the run."""
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.http.post("/v1/runs", json={"config": config, **more}, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = answer.json()
        return found

    def get(self, run: str) -> dict[str, Any]:
        """GET /v1/runs/ID."""
        answer = self.http.get(f"/v1/runs/{run}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def runs(self, **query: Any) -> dict[str, dict[str, Any]]:
        """All runs, page by page."""
        found: dict[str, dict[str, Any]] = {}
        while True:
            answer = self.http.get("/v1/runs", params={"limit": 200, **query})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found |= {run["id"]: run for run in page["runs"]}
            if not page["next"]:
                return found
            query["cursor"] = page["next"]

    def wait(self, run: str, *states: str, seconds: float = 600) -> dict[str, Any]:
        """The run once it is in one of the states; by default, in any that is the last."""
        wanted = set(states) or OVER
        end = time.monotonic() + seconds
        while (found := self.get(run))["state"] not in wanted:
            assert time.monotonic() < end, f"{found}\n{self.said()[-4000:]}"
            time.sleep(0.1)
        return found


@contextmanager
def served(root: Path, *options: object, **more: Any) -> Iterator[Service]:
    """A service that is ready; it and its workers are gone afterwards."""
    root.mkdir(parents=True, exist_ok=True)
    service = Service(root, *options, **more)
    try:
        yield service.start()
    finally:
        service.close()


def until(condition: Callable[[], object], seconds: float = 600.0) -> None:
    """Wait for a condition to hold."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@dataclass(frozen=True)
class Live:
    """A process that works on a run directory, told from a later one with the same pid by its start."""

    pid: int
    started: str
    parent: int
    folder: str

    def kill(self, number: int = signal.SIGKILL) -> bool:
        """Send it a signal, unless it is gone."""
        if _stat(self.pid)[1:] != (self.parent, self.started):
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
    except OSError:
        return []


def _stat(pid: int) -> tuple[str, int, str]:
    """state, parent, start; empty where the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", 0, ""
    return fields[0], int(fields[1]), fields[19]


def _below(root: Path, is_one: Callable[[list[str]], bool], others: set[int] | None = None) -> list[Live]:
    """Processes with such a command line that names a folder in the root; zombies are none.

    Args:
        others: pids that are not looked at; where it is empty it becomes those of processes that are none of these, and
            will not become one, since they began 5 seconds ago.
    """
    found, old = [], set()
    before = (time.clock_gettime(time.CLOCK_BOOTTIME) - 5) * os.sysconf("SC_CLK_TCK")
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        if others and pid in others:
            continue
        state, parent, started = _stat(pid)
        if state in ("", "Z", "X"):
            continue
        command = _command(pid)
        named = [word for word in command if word.startswith(f"{root}/")]
        if named and is_one(command):
            folder = named[0].removeprefix(f"{root}/").split("/")[0]
            found.append(Live(pid, started, parent, folder))
        elif int(started) < before:
            old.add(pid)
    if others is not None and not others:
        others |= old
    return found


def workers(root: Path, others: set[int] | None = None) -> list[Live]:
    """Processes of jobs.worker on folders of the root, but for those that such a one forked."""
    found = _below(root, lambda command: "jobs.worker" in command and "child.py" not in " ".join(command), others)
    pids = {one.pid for one in found}
    return [one for one in found if one.parent not in pids]


def shims(root: Path) -> list[Live]:
    """Processes of probe/serve/child.py."""
    return _below(root, lambda command: any(word.endswith("serve/child.py") for word in command))


@dataclass
class Watcher:
    """Looks every 50 ms which workers live and, less often, which shards are there, in a thread of its own.

    Attributes:
        doubled: what was seen that must never be: two workers on a folder, or a shard that was written again.
        lives: how many workers each folder had, one after the other.
        scans: how often it looked.
        most: workers that were there at once.
    """

    root: Path
    doubled: list[str] = field(default_factory=list)
    lives: dict[str, set[tuple[int, str]]] = field(default_factory=lambda: defaultdict(set))
    scans: int = 0
    most: int = 0
    _others: set[int] = field(default_factory=set)
    _shards: dict[str, tuple[int, int]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watcher":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.scan()
            if self.scans % 10 == 0:
                self.look_at_shards()

    def scan(self) -> None:
        """Two that live on one folder are asked again, whether both still have memory: one that was killed loses it
        before its locks."""
        if self.scans % 50 == 0:
            self._others.clear()
        found = workers(self.root, self._others)
        self.scans += 1
        self.most = max(self.most, len(found))
        for one in found:
            self.lives[one.folder].add((one.pid, one.started))
        for folder, many in Counter(one.folder for one in found).items():
            if many > 1:
                live = [one.pid for one in found if one.folder == folder and any(_command(one.pid))]
                if len(live) > 1:
                    self.doubled.append(f"{folder}: workers {live}")

    def look_at_shards(self) -> None:
        """A file that is renamed into place is another one."""
        for part in ("attractors", "scores", "cells"):
            for file in self.root.glob(f"*/{part}/*.*"):
                if file.name.startswith("."):
                    continue
                with suppress(OSError):
                    facts = file.stat()
                    now, name = (facts.st_ino, facts.st_mtime_ns), str(file.relative_to(self.root))
                    if self._shards.setdefault(name, now) != now:
                        self.doubled.append(f"{name} was written twice")


def memory(pid: int) -> float:
    """Resident memory of a process, MB."""
    found = re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def seconds_of(pid: int) -> float:
    """Seconds of a processor that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """Files, sockets and pipes that a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
