"""Event streams: each change of a run, as it comes."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Header, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus

from probe.serve.index import Row
from probe.serve.routes.given import RunId, TheSettings, TheSupervisor, problems
from probe.serve.states import OVER
from probe.serve.supervisor import Absent, Supervisor

router = APIRouter(prefix="/v1", tags=["events"])
AppStatus.disable_automatic_graceful_drain()  # it cuts streams off; here they end by themselves when the server stops
HEARTBEAT = 15
"""Seconds between comments that keep proxies from closing a stream."""
LOOK = 0.5
"""Seconds after which a stream looks whether the server stops."""
RETRY = 2000
"""Milliseconds after which a browser connects again."""
EVENT = {
    "type": "object",
    "description": "each event",
    "properties": {
        "event": {"const": "run"},
        "id": {"type": "string", "description": "the revision"},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "the run"},
        "retry": {"type": "integer", "description": "milliseconds"},
    },
    "required": ["event", "id", "data"],
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `run`: the id is the revision, the data is the run as JSON.",
        "content": {"text/event-stream": {"schema": EVENT}},
    }
}
LastEventId = Annotated[
    int | None, Header(alias="Last-Event-ID", ge=0, description="the last event that is known: those after it are sent")
]


def _stream(events: AsyncIterator[ServerSentEvent]) -> Response:
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return EventSourceResponse(events, ping=HEARTBEAT, headers=headers, send_timeout=60, sep="\n")


def _event(row: Row, root_path: str) -> ServerSentEvent:
    data = json.dumps(row.as_json(root_path))
    return ServerSentEvent(event="run", id=str(row.rev), data=data, retry=RETRY, sep="\n")


async def _changes(
    supervisor: Supervisor, rev: int, stops: Callable[[], bool], rows: Callable[[int], list[Row]]
) -> AsyncIterator[Row]:
    """Rows after a revision, as they change, until the server stops."""
    while not stops():
        seen = supervisor.index.rev  # before the rows are read: what changes from here on is looked for again
        if found := await anyio.to_thread.run_sync(rows, rev):
            for row in found:
                rev = row.rev
                yield row
            continue
        while not await supervisor.changes(seen, LOOK):
            if stops():
                return


@router.get(
    "/events",
    operation_id="events",
    name="events",
    response_class=EventSourceResponse,
    responses={**STREAM, **problems(422)},
)
async def all_events(
    request: Request,
    supervisor: TheSupervisor,
    settings: TheSettings,
    last: LastEventId = None,
    after: Annotated[int | None, Query(ge=0, description="as Last-Event-ID, for the first connection")] = None,
) -> Response:
    """Changes of all runs, from now on or after a revision."""
    known = last if last is not None else after
    now = supervisor.index.rev
    rev = now if known is None else min(known, now)  # a later one is of another index, or of a clock that was put back

    async def events() -> AsyncIterator[ServerSentEvent]:
        async for row in _changes(supervisor, rev, request.app.state.stops.is_set, supervisor.index.since):
            yield _event(row, settings.root_path)

    return _stream(events())


@router.get(
    "/runs/{id}/events",
    operation_id="run_events",
    name="run_events",
    response_class=EventSourceResponse,
    responses={
        **STREAM,
        204: {"description": "The run is over, and its last event is known: do not connect again."},
        **problems(404, 422),
    },
)
async def run_events(
    request: Request, id: RunId, supervisor: TheSupervisor, settings: TheSettings, last: LastEventId = None
) -> Response:
    """A run as it is, then its changes; the stream ends when the run is over."""
    row = await anyio.to_thread.run_sync(supervisor.get, id)
    if last is not None and last > supervisor.index.rev:  # of another index, or of a clock that was put back
        last = None
    if row.state in OVER and last is not None and row.rev <= last:
        return Response(status_code=204)

    def changed(rev: int) -> list[Row]:
        row = supervisor.get(id)
        return [row] if row.rev > rev else []

    async def events() -> AsyncIterator[ServerSentEvent]:
        try:
            async for row in _changes(supervisor, last or 0, request.app.state.stops.is_set, changed):
                yield _event(row, settings.root_path)
                if row.state in OVER:
                    return
        except Absent:  # deleted meanwhile
            return

    return _stream(events())
