"""Runs: submit, list, look at, cancel, resume, delete."""

from typing import Annotated, Any, Literal, TypeVar

import anyio
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from probe.kinds import Kind
from probe.mistakes import mistaken
from probe.serve import shapes
from probe.serve.index import Row
from probe.serve.problems import Problem
from probe.serve.routes.given import RunId, TheSettings, TheSupervisor, problems
from probe.serve.settings import Settings
from probe.serve.states import State
from probe.serve.submission import YAML_TYPES, Submission, decoded, of_yaml, read_json, submission

S = TypeVar("S", bound=shapes.Sent)
router = APIRouter(prefix="/v1", tags=["runs"])


def body(model: type[shapes.Sent]) -> dict[str, Any]:
    """The request body of a route that reads it itself, for the OpenAPI document."""
    refs = {"application/json": model.__name__, "application/yaml": shapes.CONFIGURATION}
    content = {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}} for kind, name in refs.items()}
    return {"requestBody": {"required": True, "content": content}}


async def read(request: Request, model: type[S], settings: Settings, **asked: str | None) -> tuple[Submission, S]:
    """The submission in a body, and the body's fields.

    Args:
        asked: what headers and query say; those of the query go with a YAML body.

    Raises:
        Problem: 400, 415, 422.
        UserError: a mistake in the configuration.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    data, key = await request.body(), asked.pop("key", None)
    given = {name: value for name, value in asked.items() if value is not None}
    if kind in YAML_TYPES:
        content = {**given, "config_yaml": decoded(data)}
    elif kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, f"Content-Type {kind[:80]!r} is not read: send application/json or application/yaml.")
    elif given:
        raise Problem(422, f"put {', '.join(given)} into the JSON body; as parameters they go with application/yaml.")
    else:
        content = await anyio.to_thread.run_sync(read_json, data)
    try:
        sent = model.model_validate(content)
    except ValidationError as error:
        raise mistaken(error, model) from None
    if (sent.config is None) == (sent.config_yaml is None):
        raise Problem(422, "give the configuration as config or as config_yaml: one of both.")
    more: dict[str, Any] = {name: getattr(sent, name, None) for name in ("name", "executor", "id", "kind")}

    def parse() -> Submission:
        if sent.config_yaml is not None:
            return of_yaml(sent.config_yaml, settings, key=key, **more)
        return submission(sent.config or {}, settings, key=key, **more)

    return await anyio.to_thread.run_sync(parse), sent


def _shown(row: Row, settings: Settings, status: int = 200) -> JSONResponse:
    return JSONResponse(row.as_json(settings.root_path), status)


@router.post(
    "/runs",
    operation_id="submit",
    status_code=201,
    response_model=shapes.Run,
    responses={
        200: {"model": shapes.Run, "description": "The same was submitted before; this is its run."},
        **problems(400, 403, 409, 413, 415, 422, 429, 503, 507),
    },
    openapi_extra=body(shapes.ToSubmit),
)
async def submit(
    request: Request,
    supervisor: TheSupervisor,
    settings: TheSettings,
    key: Annotated[
        str | None, Header(alias="Idempotency-Key", description="the same key again is the same run, not a new one")
    ] = None,
    name: Annotated[str | None, Query(description="with a YAML body: name of the run", max_length=200)] = None,
    executor: Annotated[Literal["local", "slurm"] | None, Query(description="with a YAML body: where it runs")] = None,
    id: Annotated[str | None, Query(description="with a YAML body: id of the run", max_length=200)] = None,
    kind: Annotated[Kind | None, Query(description="with a YAML body: refuse another kind of work")] = None,
) -> Response:
    """Queue a run, study, OOD experiment or round trip.

    The configuration is JSON or YAML, of the kind that its keys say. With the id or the Idempotency-Key of an earlier
    submission, the same configuration is answered with that run, another one with 409.
    """
    asked, _ = await read(
        request, shapes.ToSubmit, settings, key=key, name=name, executor=executor, id=id, kind=kind
    )  # fmt: skip
    row = await anyio.to_thread.run_sync(supervisor.submit, asked)
    answer = _shown(row, settings, 201 if row.created else 200)
    answer.headers["Location"] = f"{settings.root_path}/v1/runs/{row.id}"
    return answer


@router.get("/runs", operation_id="list_runs", response_model=shapes.Runs, responses=problems(422))
def list_runs(
    supervisor: TheSupervisor,
    settings: TheSettings,
    state: Annotated[list[State], Query(description="only runs in one of these states")] = [],  # noqa: B006
    kind: Annotated[Kind | None, Query(description="only runs of this kind of work")] = None,
    model: Annotated[str | None, Query(description="only runs of this model.source", max_length=8192)] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="runs on a page")] = 50,
    cursor: Annotated[str | None, Query(description="`next` of the page before", max_length=1000)] = None,
) -> Response:
    """Runs, those submitted last first."""
    rows, following = supervisor.index.page(state, kind, model, cursor, limit)
    return JSONResponse({"runs": [row.as_json(settings.root_path) for row in rows], "next": following})


@router.get("/runs/{id}", operation_id="get_run", response_model=shapes.Run, responses=problems(404, 422))
def get_run(id: RunId, supervisor: TheSupervisor, settings: TheSettings) -> Response:
    """One run."""
    return _shown(supervisor.get(id), settings)


@router.post(
    "/runs/{id}/cancel",
    operation_id="cancel",
    status_code=202,
    response_model=shapes.Run,
    responses=problems(404, 409, 422),
)
def cancel(id: RunId, supervisor: TheSupervisor, settings: TheSettings) -> Response:
    """End a run: its process group, or its Slurm jobs. What it has done stays, and it can be resumed."""
    return _shown(supervisor.cancel(id), settings, 202)


@router.post(
    "/runs/{id}/resume",
    operation_id="resume",
    status_code=202,
    response_model=shapes.Run,
    responses=problems(404, 409, 422),
)
def resume(id: RunId, supervisor: TheSupervisor, settings: TheSettings) -> Response:
    """Queue a run again that failed, was cancelled or lost; it goes on from what it has done."""
    return _shown(supervisor.resume(id), settings, 202)


@router.delete("/runs/{id}", operation_id="delete", status_code=204, responses=problems(404, 409, 422))
def delete(id: RunId, supervisor: TheSupervisor) -> Response:
    """Move a run that the service made to its trash folder."""
    supervisor.delete(id)
    return Response(status_code=204)
