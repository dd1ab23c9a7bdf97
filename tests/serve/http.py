"""A real server over a root, in a thread of the test: address and token."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from probe.serve.app import Server, create_app
from probe.serve.policy import Allowance
from probe.serve.settings import Settings
from probe.serve.supervisor import Supervisor

from .conftest import until

TOKEN = "a-token-of-the-tests-that-is-long-enough"


@dataclass
class Served:
    """A server that answers; ``http`` sends its token along."""

    url: str
    token: str
    http: httpx.Client
    supervisor: Supervisor
    server: Server

    @property
    def headers(self) -> dict[str, str]:
        """With the token."""
        return {"Authorization": f"Bearer {self.token}"}

    def run(self, id: str) -> dict[str, Any]:
        """The JSON of a run."""
        return self.http.get(f"/v1/runs/{id}").raise_for_status().json()

    def wait(self, id: str, *states: str, seconds: float = 300) -> dict[str, Any]:
        """The JSON of a run, once it is in one of these states, by default in one that is over."""
        wanted = states or ("done", "failed", "cancelled", "lost")
        return until(lambda: next((run for run in [self.run(id)] if run["state"] in wanted), None), seconds)


@contextmanager
def serving(root: Path, **changes: Any) -> Iterator[Served]:
    """A server over a root; ``changes`` are settings. It is told to stop at the end, and its workers go on."""
    root.mkdir(exist_ok=True)
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    given = {"slots": 2, "cores": 2, "token": TOKEN, "allow": Allowance(python=True), **changes}
    settings = Settings(root=root, port=listening.getsockname()[1], **given)
    app = create_app(settings)
    server = Server(app, settings)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), name="server")
    thread.start()
    url = f"http://127.0.0.1:{settings.port}{settings.root_path}"
    headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            until(lambda: server.started or not thread.is_alive())
            until(app.state.supervisor.adopted.is_set)
            yield Served(url, settings.token or "", client, app.state.supervisor, server)
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()
        assert not thread.is_alive(), "the server does not stop"
