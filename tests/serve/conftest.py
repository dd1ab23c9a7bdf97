"""A real supervisor over a temporary root, and runs on a map of eight known attractors that take a second or two."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from probe.serve.executors.local import Local
from probe.serve.index import Row
from probe.serve.policy import Allowance
from probe.serve.settings import Settings
from probe.serve.states import OVER, State
from probe.serve.supervisor import Supervisor

from ..jobs.conftest import configure
from .stand_in import FINISHED


@dataclass
class Asked:
    """A submission."""

    settings: dict[str, Any]
    id: str | None = None
    name: str = "tiny"
    key: str | None = None
    kind: str = "run"
    executor: str = "local"
    digest: str = field(default="")

    def __post_init__(self) -> None:
        self.digest = self.digest or hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()


@pytest.fixture
def tiny(tmp_path: Path) -> dict[str, Any]:
    """The configuration of a run of attractors alone on the map."""
    settings = yaml.safe_load(configure(tmp_path).read_text())
    return {**settings, "datasets": {}}


@contextmanager
def supervised(root: Path, **changes: Any) -> Iterator[Supervisor]:
    """A supervisor at work; whatever it started is killed at the end."""
    root.mkdir(exist_ok=True)
    settings = Settings(root=root, **{"slots": 2, "cores": 2, "allow": Allowance(python=True), **changes})
    supervisor = Supervisor(settings)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root; whatever still works below it at the end of the test is killed."""
    import signal

    from probe.serve.executors import signal_all

    folder = tmp_path / "root"
    folder.mkdir()
    yield folder
    for lock in folder.rglob(".service.lock"):
        signal_all(lock.parent, signal.SIGKILL)


@pytest.fixture
def supervisor(root: Path) -> Iterator[Supervisor]:
    with supervised(root) as one:
        yield one


def wait(supervisor: Supervisor, id: str, *states: State, seconds: float = 100) -> Row:
    """The run, once it is in one of these states, by default in one that is over."""
    return until(lambda: next((row for row in [supervisor.get(id)] if row.state in (states or OVER)), None), seconds)


def until(condition: Callable[[], Any], seconds: float = 100) -> Any:
    """What a condition gives, once it holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs whose workers do what their name says, see stand_in.py; their settings."""
    script = Path(__file__).parent / "stand_in.py"
    monkeypatch.setattr(Local, "command", lambda self, ticket, path: [sys.executable, "-S", str(script), str(path)])
    return yaml.safe_load((FINISHED / "config.yaml").read_text())


def lives(path: Path) -> list[list[str]]:
    """Of every stand-in that worked on a run: process, GPU and threads."""
    file = path / ".lives"
    assert not (path / ".doubled").exists()
    return [line.split(" ") for line in file.read_text().splitlines()] if file.exists() else []
