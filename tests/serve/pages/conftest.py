"""The pages on made-up runs behind the real guard, served to a real browser."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse
from sse_starlette import EventSourceResponse

from probe.errors import UserError
from probe.serve.index import Row
from probe.serve.pages import routes
from probe.serve.problems import add_handlers
from probe.serve.security import REPORT_CSP, Guard
from probe.serve.security import router as login
from probe.serve.settings import Settings
from probe.serve.states import State
from probe.serve.supervisor import Absent

TOKEN = "t" * 43
DESK = {"width": 1200, "height": 900}
PHONE = {"width": 375, "height": 720}
EVIL = "<script>window.evil = 1</script><img src=x onerror='window.evil = 1'>"
REPORT = "<!doctype html><title>r</title><h1 id=r>Report</h1><script>r.textContent += ' that runs'</script>"
STAGES = [
    {"name": "attractors", "state": "running", "done": 192, "planned": 512, "unit": "starts"},
    {"name": "dictionary", "state": "waiting", "done": 0, "planned": None, "unit": "atoms"},
]
PROGRESS = {"stage": "attractors", "unit": "starts", "done": 192.0, "total": 512.0, "rate": 1.2, "seconds_left": 266.0}


def made_up(id: str, state: State, **changes: Any) -> Row:
    """A row of the index."""
    whole: dict[str, Any] = {
        "id": id, "name": id, "kind": "run", "state": state, "reason": "", "model": "embedded:cifar-attractors",
        "executor": "local", "submitted": "2026-11-27T11:30:05+00:00", "ours": True,
    }  # fmt: skip
    return Row(**whole | changes)


ROWS = (
    made_up("waits", State.QUEUED, name=f"nightly {EVIL}", kind="study", reason="Waits for a slot."),
    made_up("runs", State.RUNNING, model="owner/a-long-name-of-a-model-with-no-end-in-sight", stages=STAGES,
            progress=PROGRESS, outcomes={"converged": 120, "cycle": 12}, started="2026-11-27T11:30:06+00:00"),
    made_up("one", State.DONE, summary={"d": 64, "atoms": 31, "certified": 20}),
    made_up("two", State.DONE),
    made_up("other", State.DONE, ours=False, executor=None),
    made_up("broke", State.FAILED, reason=f"It failed: {EVIL}",
            error={"status": 2, "message": EVIL, "time": "2026-11-27T11:30:06+00:00"}),
    made_up("gone", State.LOST, reason="Its process ended three times."),
)  # fmt: skip


@dataclass
class Listed:
    """An index of ``rows``."""

    rows: dict[str, Row] = field(default_factory=lambda: {row.id: row for row in ROWS})

    def page(self, state: Any, kind: Any, model: Any, cursor: Any = None, limit: int = 50) -> Any:
        fits = [
            row
            for row in self.rows.values()
            if (not state or row.state in state) and kind in (None, row.kind) and model in (None, row.model)
        ]
        return (fits, None) if cursor else (fits[:limit], "next" if len(fits) > 6 else None)

    def get(self, id: str) -> Row | None:
        return self.rows.get(id)

    def counts(self) -> dict[State, int]:
        return {state: sum(row.state is state for row in self.rows.values()) for state in State}


@dataclass
class Made:
    """A supervisor that only notes what it is asked."""

    folders: Path
    index: Listed = field(default_factory=Listed)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    rev: int = 0

    @property
    def rows(self) -> dict[str, Row]:
        """By id, newest first."""
        return self.index.rows

    @rows.setter
    def rows(self, rows: dict[str, Row]) -> None:
        self.index.rows = rows

    def slots(self) -> tuple[int, int]:
        return (1, 2)

    def get(self, id: str) -> Row:
        if id not in self.rows:
            raise Absent(f"there is no run {id}.")
        return self.rows[id]

    def folder(self, id: str) -> Path:
        self.get(id)
        return self.folders / id

    def change(self, id: str, **changes: Any) -> None:
        self.rows[id] = replace(self.rows[id], **changes)
        self.rev += 1

    def submit(self, request: Any) -> Row:
        self.asked.append(("submit", request))
        self.rows = {"new": made_up("new", State.QUEUED, name=request.name), **self.rows}
        (self.folders / "new").mkdir(exist_ok=True)
        (self.folders / "new" / "config.yaml").write_text("resolution: 32\n")
        self.rev += 1
        return self.rows["new"]

    def cancel(self, id: str) -> Row:
        self.asked.append(("cancel", id))
        self.change(id, state=State.STOPPING, reason="Cancelled; its processes are ending.")
        return self.rows[id]

    def resume(self, id: str) -> Row:
        self.asked.append(("resume", id))
        self.change(id, state=State.QUEUED, reason="")
        return self.rows[id]

    def delete(self, id: str) -> None:
        self.asked.append(("delete", id))
        del self.rows[id]
        self.rev += 1


def application(made: Made, settings: Settings) -> FastAPI:
    """The pages, with so much of the API as they link to."""
    app = FastAPI(docs_url=None, redoc_url=None)
    app.root_path = settings.root_path
    app.state.supervisor, app.state.settings, app.state.questions = made, settings, None

    async def events(id: str | None = None) -> Any:
        seen = -1
        while True:
            if seen != made.rev:
                seen = made.rev
                for row in list(made.rows.values()):
                    if id in (None, row.id):
                        yield {"event": "run", "id": str(seen), "data": json.dumps(row.as_json())}
            await asyncio.sleep(0.05)

    def report(id: str = "", ending: str = "html") -> HTMLResponse:
        return HTMLResponse(REPORT, headers={"Content-Security-Policy": REPORT_CSP})

    app.get("/v1/events", name="events")(lambda: EventSourceResponse(events()))
    app.get("/v1/runs/{id}/events", name="run_events")(lambda id: EventSourceResponse(events(id)))
    app.get("/v1/runs/{id}/logs", name="logs")(lambda id: PlainTextResponse(f"first line\n{EVIL}\n"))
    app.get("/v1/runs/{id}/report.{ending}", name="report")(report)
    app.get("/v1/runs/{id}/artifacts/{path:path}", name="artifacts")(lambda id, path: {})
    app.get("/v1/compare", name="compare")(report)
    app.include_router(login)
    routes.add_pages(app)
    add_handlers(app)
    app.add_middleware(Guard, settings=settings)
    return app


@contextlib.contextmanager
def served(app: FastAPI, listening: socket.socket) -> Iterator[str]:
    """The address of an application that is served by a thread."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


async def _compare(supervisor: Made, questions: None, ids: list[str]) -> None:
    if "other" in ids:
        raise UserError("one and other were made with different resolutions (32 and 64): compare runs of one protocol.")


def cell(value: float | None) -> dict[str, Any]:
    """A number of the leaderboard with an interval."""
    known = value is not None
    return {"value": value, "low": value, "high": value, "text": f"{value} [{value}, {value}]" if known else "-"}


def _board(supervisor: Made) -> dict[str, Any]:
    columns = [("rank", "rank", "low", None), ("d", "d", None, None), ("random/digits", "to random", "low", "digits")]
    rows = [("one", "alpha", (1, 64, 0.8)), ("two", "beta", (2, 512, 0.9)), ("third", "gamma", (None, 8, None))]
    group = {
        "title": "resolution 32, 256 starts",
        "protocol": {"resolution": "32"},
        "apart": "",
        "models": 2,
        "columns": [
            {"key": key, "title": title, "meaning": f"meaning of {title}", "best": best, "dataset": dataset}
            for key, title, best, dataset in columns
        ],
        "rows": [
            {"id": id, "name": id, "model": model, "unranked": "It has no errors." if id == "third" else ""}
            | {"repeats": {"one": ["two"], "two": ["one"]}.get(id, [])}
            | {"cells": {column[0]: cell(one) for column, one in zip(columns, numbers, strict=True)}}
            for id, model, numbers in rows
        ],
        "differs": [{"key": "solver.max_steps", "values": {"one": "500", "two": "60"}}],
    }
    return {"rule": "The rule.", "groups": [group], "refused": [{"id": "broke", "reason": f"It is no run {EVIL}."}]}


@dataclass
class Server:
    """An address, what is behind it, and the token that it asks for."""

    url: str
    made: Made
    token: str | None


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """``serve(token=..., root_path=...)`` serves the pages."""
    monkeypatch.setattr(routes.questions, "comparison", _compare)
    monkeypatch.setattr(routes, "board", _board)
    for row in ROWS:
        (tmp_path / row.id / "report").mkdir(parents=True)
        (tmp_path / row.id / "config.yaml").write_text("seeds: {count: 8}\n")
        if row.state is State.DONE:
            (tmp_path / row.id / "report" / "report.html").write_text(REPORT)
    with contextlib.ExitStack() as stack:

        def begin(token: str | None = None, root_path: str = "") -> Server:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listening.getsockname()[1]
            settings = Settings(root=tmp_path, port=port, token=token, root_path=root_path, cluster=tmp_path / "c.yaml")
            made = Made(tmp_path)
            url = stack.enter_context(served(application(made, settings), listening))
            return Server(url + root_path, made, token)

        yield begin


@pytest.fixture
def browse(chromium) -> Iterator[Callable[..., Any]]:
    """``browse(server, path)`` is the page, watched: at its end nothing was fetched from elsewhere or complained of."""
    contexts, requests, complaints, hosts = [], [], [], set()

    def begin(server: Server, path: str = "/", **context: Any) -> Any:
        contexts.append(chromium.new_context(**{"viewport": DESK, **context}))
        hosts.add(server.url.split("/")[2])
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if server.token:
            page.goto(server.url + path)
            page.get_by_label("Token").fill(server.token)
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Log out").wait_for()
        else:
            page.goto(server.url + path)
        return page

    begin.complaints = complaints  # type: ignore[attr-defined]
    yield begin
    for context in contexts:
        context.close()
    assert [url for url in requests if url.split("/")[2] not in hosts and not url.startswith(("data:", "blob:"))] == []
    # A browser notes every page with an error status, which are pages here.
    assert [
        one for one in complaints if "Failed to load resource: the server responded with a status of 4" not in one
    ] == []
