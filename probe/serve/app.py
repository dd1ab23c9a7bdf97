"""The application: routes, pages, errors and the guard around them; and how it is served."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import uvicorn
from fastapi import FastAPI

from probe import __version__
from probe.serve import schema, security
from probe.serve.metrics import Measured, Metrics
from probe.serve.pages import routes as pages
from probe.serve.problems import add_handlers
from probe.serve.questions import Questions
from probe.serve.routes import events, files, health, questions, runs
from probe.serve.settings import Settings
from probe.serve.supervisor import Supervisor

PATIENCE = 3
"""Seconds that open requests have when the server stops."""
KEPT = 75
"""Seconds that a connection without a request stays open: longer than clients (httpx: 5) and proxies (nginx: 60) keep
one, so that it is not the server who closes it, just as a request is on its way."""
ABOUT = "Submit, watch and read probes of autoencoders. Errors are problem details (RFC 9457)."
log = logging.getLogger("probe")


def create_app(settings: Settings) -> FastAPI:
    """The application of one root; its supervisor takes the root here, and starts with the server.

    Raises:
        UserError: another server has the root.
        Failure: the root cannot be written.
    """
    supervisor, metrics = Supervisor(settings), Metrics()

    @asynccontextmanager
    async def alive(app: FastAPI) -> AsyncIterator[None]:
        supervisor.start()
        try:
            yield
        finally:
            app.state.stops.set()
            await anyio.to_thread.run_sync(supervisor.stop)

    app = FastAPI(
        title="probe", version=__version__, description=ABOUT, lifespan=alive,
        openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.root_path = settings.root_path  # the parameter of this name is deprecated
    app.state.supervisor, app.state.settings, app.state.metrics = supervisor, settings, metrics
    app.state.stops = threading.Event()
    app.state.questions = Questions(settings, app.state.stops)
    metrics.watch(supervisor)
    rooms = (health, runs, events, files, questions, security)
    for room in rooms:
        app.include_router(room.router)
    pages.add_pages(app)
    app.state.routes = [route for room in (*rooms, pages) for route in room.router.routes]
    app.openapi = lambda: schema.document(app)  # type: ignore[method-assign]
    add_handlers(app)
    app.add_middleware(Measured, metrics=metrics)
    app.add_middleware(security.Guard, settings=settings)
    return app


class Server(uvicorn.Server):
    """uvicorn, which ends open streams at once and exits with 0 when it is told to stop."""

    def __init__(self, app: FastAPI, settings: Settings):
        """Nothing is served yet."""
        certificate, key = settings.tls or (None, None)
        super().__init__(
            uvicorn.Config(
                app,
                ssl_certfile=certificate,
                ssl_keyfile=key,
                workers=1,
                lifespan="on",
                log_level="warning",
                access_log=False,  # its lines have queries; /metrics counts
                server_header=False,
                proxy_headers=False,
                limit_concurrency=settings.limits.connections,
                timeout_graceful_shutdown=PATIENCE,
                timeout_keep_alive=KEPT,
            )
        )
        self.app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Streams end first."""
        self.app.state.stops.set()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the server, and are not raised again, so that the exit status is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(settings: Settings, listening: socket.socket, announce: Callable[[], None]) -> None:
    """Serve on a socket that listens, until SIGINT or SIGTERM. Workers go on, and the next server adopts them.

    Args:
        announce: is called once the root is ours.

    Raises:
        UserError, Failure: as ``create_app``.
    """
    app = create_app(settings)
    announce()
    asyncio.run(Server(app, settings).serve([listening]))
