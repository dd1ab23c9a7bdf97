"""Questions about configurations, models and finished runs."""

from typing import Annotated, Literal, get_args

import anyio
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from probe.board.schema import Board
from probe.data.presets import presets
from probe.kinds import Kind
from probe.serve import files, questions, schema, shapes
from probe.serve.board import board as leaderboard
from probe.serve.problems import Problem
from probe.serve.routes.given import TheQuestions, TheSettings, TheSupervisor, problems
from probe.serve.routes.runs import body, read

router = APIRouter(prefix="/v1", tags=["questions"])


@router.get(
    "/compare",
    operation_id="compare",
    name="compare",
    responses={
        200: {"content": {"application/json": {}, "text/html": {}, "text/markdown": {}}},
        **problems(404, 422, 503),
    },
)
async def compare(
    request: Request,
    supervisor: TheSupervisor,
    asked: TheQuestions,
    runs: Annotated[str, Query(description="ids of finished runs, with commas between", max_length=10_000)],
    format: Annotated[Literal["json", "html", "md"], Query(description="of the answer")] = "json",
) -> Response:
    """Finished runs on the same images, as `probe compare` shows them; differences are to the first."""
    ids = list(dict.fromkeys(one for one in runs.split(",") if one))
    folder = await questions.comparison(supervisor, asked, ids)
    return await anyio.to_thread.run_sync(files.send, request, folder / f"compare.{format}")


@router.get("/board", operation_id="board", name="board", response_model=Board)
async def board(supervisor: TheSupervisor) -> Response:
    """All finished runs, ranked among those of one protocol, as `probe leaderboard` does."""
    return JSONResponse(await anyio.to_thread.run_sync(leaderboard, supervisor))


@router.get("/models", operation_id="models", response_model=list[shapes.Model], responses=problems(503))
async def models(asked: TheQuestions) -> Response:
    """The classes that can be probed, as `probe models` lists them. Takes a minute when asked first."""
    return JSONResponse(await questions.models(asked))


@router.get("/presets", operation_id="presets", response_model=list[shapes.Preset])
async def list_presets() -> Response:
    """Data sets that a configuration may just name."""
    return JSONResponse([{"name": name, **keys} for name, keys in presets().items()])


@router.post(
    "/plan",
    operation_id="plan",
    response_model=shapes.Plans,
    responses=problems(400, 403, 413, 415, 422, 503),
    openapi_extra=body(shapes.ToPlan),
)
async def plan(request: Request, settings: TheSettings, asked: TheQuestions) -> Response:
    """What a configuration will cost, as `probe plan` shows it. Nothing is run."""
    given, sent = await read(request, shapes.ToPlan, settings)
    options = [word for name in sent.gpu for word in ("--gpu", name)] + ["--gpus", str(sent.gpus)]
    if sent.pilot is not None:
        options += ["--pilot", str(sent.pilot)]
    return JSONResponse(await questions.plan(asked, given.settings, options))


@router.post(
    "/validate",
    operation_id="validate",
    response_model=shapes.Checked,
    responses=problems(400, 403, 413, 415, 422),
    openapi_extra=body(shapes.ToCheck),
)
async def validate(request: Request, settings: TheSettings) -> Response:
    """Whether a configuration is valid and allowed here; its mistakes have their keys, and lines of YAML."""
    given, _ = await read(request, shapes.ToCheck, settings)
    return JSONResponse({"ok": True, "kind": given.kind})


@router.get("/schema/{kind}", operation_id="schema", responses=problems(404))
def show_schema(kind: str) -> Response:
    """The JSON Schema of the configurations of a kind of work: run, study, ood or roundtrip."""
    if kind not in get_args(Kind):
        raise Problem(404, f"there is no kind {kind[:80]!r}: it is one of {', '.join(get_args(Kind))}.")
    return JSONResponse(schema.of_kind(kind), media_type="application/schema+json")
