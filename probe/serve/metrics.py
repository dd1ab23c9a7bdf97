"""What Prometheus scrapes: runs by state, slots, requests."""

import time
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from probe.serve.states import State
from probe.serve.supervisor import Supervisor

SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class _OfRuns(Collector):
    def __init__(self, supervisor: Supervisor):
        self.supervisor = supervisor

    def collect(self) -> Iterator[Any]:
        """Asked anew at each scrape."""
        runs = GaugeMetricFamily("probe_runs", "Runs by state.", labels=["state"])
        counts = self.supervisor.index.counts()
        for state, number in counts.items():
            runs.add_metric([str(state)], number)
        yield runs
        used, size = self.supervisor.slots()
        yield GaugeMetricFamily("probe_slots_used", "Local slots in use.", value=used)
        yield GaugeMetricFamily("probe_slots", "Local slots.", value=size)
        yield GaugeMetricFamily("probe_queue_length", "Runs that wait.", value=counts[State.QUEUED])


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "probe_http_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "probe_http_request_seconds", "Seconds to the first byte of the answer.", ["route"],
            registry=self.registry, buckets=SECONDS,
        )  # fmt: skip

    def watch(self, supervisor: Supervisor) -> None:
        """Tell of its runs too."""
        self.registry.register(_OfRuns(supervisor))

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)


class Measured:
    """ASGI middleware that counts requests. The label is the route, never the path, so labels stay few."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request when its answer begins."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self.metrics.requests.labels(method, route, str(message["status"])).inc()
                self.metrics.seconds.labels(route).observe(time.perf_counter() - begun)
            await send(message)

        await self.app(scope, receive, counted)


METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH")
