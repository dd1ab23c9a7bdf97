"""What a run wrote: logs, report, artifacts."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from probe.results.layout import REPORT_HTML, REPORT_JSON, REPORT_MD
from probe.serve import files, logs, shapes
from probe.serve.problems import Problem
from probe.serve.routes.given import RunId, TheSettings, TheSupervisor, problems
from probe.serve.states import OVER
from probe.serve.supervisor import Absent

router = APIRouter(prefix="/v1/runs/{id}", tags=["files"])
REPORTS = {"json": REPORT_JSON, "html": REPORT_HTML, "md": REPORT_MD}
TEXT = "text/plain; charset=utf-8"


def _content(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Answers with a file, for the OpenAPI document."""
    binary = {kind: {"schema": {} if kind == "application/json" else {"type": "string"}} for kind in kinds}
    return {
        200: {"content": binary, "description": "The file."},
        206: {"content": binary, "description": "The part that the header Range names."},
        304: {"description": "It is still the one of If-None-Match."},
        **problems(404, 416, 422),
    }


@router.head("/logs", include_in_schema=False)
@router.get(
    "/logs",
    operation_id="logs",
    name="logs",
    response_class=PlainTextResponse,
    responses=_content("text/plain", "application/json"),
)
def show_log(
    request: Request,
    id: RunId,
    supervisor: TheSupervisor,
    file: Annotated[str | None, Query(description="which log; default: that of rank 0", max_length=300)] = None,
    tail: Annotated[int | None, Query(ge=1, le=100_000, description="only the last lines, of the last MiB")] = None,
    follow: Annotated[bool, Query(description="go on until the run is over")] = False,
    list: Annotated[bool, Query(description="answer with the names of all logs, as JSON")] = False,
) -> Response:
    """A log, whole, in part (Range) or its last lines; with `follow` also what is appended."""
    folder = supervisor.folder(id)
    if list:
        names = logs.names(folder)
        return JSONResponse({"files": names, "default": names[0] if names else None})
    path = logs.path_of(folder, file)
    if follow and request.method == "GET":

        def over() -> bool:
            try:
                return supervisor.get(id).state in OVER
            except Absent:
                return True

        async def gone() -> bool:
            return request.app.state.stops.is_set() or await request.is_disconnected()

        def begin(path: Any) -> int:
            return logs.last_lines(path, tail) if tail else 0

        text = logs.follow(lambda: logs.path_of(folder, file), begin, over, gone)
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-cache"}
        return StreamingResponse(text, media_type=TEXT, headers=headers)
    if path is None:
        return PlainTextResponse("")  # there is none yet
    if tail:
        return Response(logs.lines(path, tail), media_type=TEXT)
    return files.send(request, path, TEXT)


@router.head("/report.{ending}", include_in_schema=False)
@router.get(
    "/report.{ending}",
    operation_id="report",
    name="report",
    response_class=Response,
    responses=_content("application/json", "text/html", "text/markdown"),
)
def report(request: Request, id: RunId, ending: Literal["json", "html", "md"], supervisor: TheSupervisor) -> Response:
    """The report, as JSON, as one web page with its figures inside, or as Markdown."""
    row, folder = supervisor.get(id), supervisor.folder(id)
    try:
        path = files.inside(folder, REPORTS[ending].name)
    except Problem:
        raise Problem(404, f"run {id} has no report.{ending} yet; it is {row.state}.") from None
    return files.send(request, path)


@router.get("/artifacts", operation_id="list_artifacts", response_model=shapes.Artifacts, responses=problems(404, 422))
def list_artifacts(id: RunId, supervisor: TheSupervisor, settings: TheSettings) -> Response:
    """The files of a run, without hidden ones."""
    folder = supervisor.folder(id)
    found, more = files.listed(folder)
    base = f"{settings.root_path}/v1/runs/{id}/artifacts"
    rows = [
        {
            "path": name,
            "bytes": size,
            "modified": modified,
            "type": files.media_type(folder / name),
            "url": f"{base}/{quote(name)}",
        }
        for name, size, modified in found
    ]
    return JSONResponse({"artifacts": rows, "more": more})


@router.head("/artifacts/{path:path}", include_in_schema=False)
@router.get(
    "/artifacts/{path:path}",
    operation_id="artifact",
    name="artifacts",
    response_class=Response,
    responses=_content("application/octet-stream"),
)
def artifact(
    request: Request,
    id: RunId,
    path: str,
    supervisor: TheSupervisor,
    download: Annotated[bool, Query(description="let a browser save it")] = False,
) -> Response:
    """A file of a run, whole or in part (Range)."""
    return files.send(request, files.inside(supervisor.folder(id), path), download=download)
