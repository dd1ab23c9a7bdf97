"""Whether the server lives, whether it takes runs, and what it counts."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from probe import __version__
from probe.serve import shapes
from probe.serve.routes.given import TheMetrics, TheSupervisor

router = APIRouter(tags=["server"])


@router.get("/healthz", operation_id="health", response_model=shapes.Health)
async def health() -> Response:
    """Whether the process answers. Needs no token."""
    return JSONResponse({"status": "ok", "version": __version__})


@router.get(
    "/readyz",
    operation_id="ready",
    response_model=shapes.Ready,
    responses={503: {"model": shapes.Ready, "description": "It has just started, and adopts its runs."}},
)
def ready(supervisor: TheSupervisor) -> Response:
    """Whether every run that was there at the start is known, so that all states are true."""
    used, size = supervisor.slots()
    adopted = supervisor.adopted.is_set()
    content = {"status": "ready" if adopted else "not ready", "slots": {"used": used, "all": size}}
    return JSONResponse(content, 200 if adopted else 503)


@router.get(
    "/metrics", operation_id="metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}}
)
def show_metrics(metrics: TheMetrics) -> Response:
    """Runs by state, slots and requests, as text for Prometheus."""
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)
