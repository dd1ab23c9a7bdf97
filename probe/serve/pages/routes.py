"""The pages. They work as forms and links alone; the scripts in static/ add what happens meanwhile.

The guard (probe.serve.security) has checked token, origin and CSRF before a request comes here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from probe.config import Config
from probe.errors import Failure, UserError
from probe.kinds import WHAT, Kind, kind
from probe.reading import YAML_BYTES, Unreadable, read_text
from probe.serve import files, logs, questions, submission
from probe.serve.board import board
from probe.serve.pages import form
from probe.serve.pages.order import ordered
from probe.serve.pages.render import error_page, page, url
from probe.serve.problems import Mistake, mistakes, status_of
from probe.serve.states import OVER, State

__all__ = ["add_pages", "error_page", "page"]

LOG_LINES = 200
"""Of the log, in the page itself; the script fetches more."""
Action = Literal["cancel", "resume", "delete"]
Texts = Annotated[list[str], Query()]
router = APIRouter(include_in_schema=False)


def add_pages(app: FastAPI) -> None:
    """The pages and their static files."""
    app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")), name="static")
    app.include_router(router)


@router.get("/", name="queue_page")
def queue(
    request: Request,
    state: Texts = [],  # noqa: B006 (FastAPI copies it)
    kind: str = "",
    model: str = "",
    cursor: str | None = None,
) -> HTMLResponse:
    """All runs, newest first, filtered."""
    supervisor = request.app.state.supervisor
    states = [one for one in state if one]
    rows, following = supervisor.index.page(states, kind or None, model or None, cursor)
    asked = [("state", one) for one in states] + [(key, one) for key, one in (("kind", kind), ("model", model)) if one]
    return page(
        request,
        "queue.html.j2",
        runs=[row.as_json(request.app.state.settings.root_path) for row in rows],
        slots=supervisor.slots(),
        waiting=supervisor.index.counts()[State.QUEUED],
        states=list(State),
        kinds=get_args(Kind),
        chosen={"states": states, "kind": kind, "model": model, "any": bool(asked or cursor)},
        next=urlencode([*asked, ("cursor", following)]) if following else None,
        address=str(request.base_url).rstrip("/"),
    )


@router.get("/submit", name="submit_page")
def show_form(request: Request, of: Annotated[str, Query(alias="from")] = "") -> HTMLResponse:
    """The form: with the configuration of a run if one is named."""
    return _form(request, _configuration(request, of) if of else form.text_of(form.START))


def _form(request: Request, text: str, *, status: int = 200, **given: Any) -> HTMLResponse:
    try:
        config = form.read(text)
    except UserError:
        config = {}
    found: dict[str, Any] = {"name": "", "executor": "local", "mistakes": [], "values": form.values(config)}
    return page(
        request,
        "submit.html.j2",
        status=status,
        yaml=text,
        fields=form.FIELDS,
        presets=form.sources(),
        datasets_help=form.explained(str(Config.model_fields["datasets"].description)),
        executors=["local", *(["slurm"] if request.app.state.settings.cluster else [])],
        advanced=kind(config) != "run" or bool(given.get("mistakes")),
        **found | given,
    )


class Check(BaseModel):
    """What the editor asks: its text, and the form's values where those were changed last."""

    yaml: str = Field(max_length=YAML_BYTES)
    values: dict[str, str] | None = None
    datasets: list[str] = []


@router.post("/submit/check", name="submit_check")
def check(request: Request, asked: Check) -> dict[str, Any]:
    """Form and YAML after a change in one of them, and the mistakes; success also where there are some, since a text
    that is being written is no failure."""
    answer: dict[str, Any] = {"yaml": None, "values": None, "what": None, "errors": []}
    text = asked.yaml
    try:
        config = form.read(text)
        if asked.values is not None:
            config = form.changed(config, asked.values, asked.datasets)
            answer["yaml"] = text = form.text_of(config)
        answer |= {"values": form.values(config), "what": WHAT[kind(config)]}
        submission.of_yaml(text, request.app.state.settings)
    except UserError as error:
        answer["errors"] = [one.model_dump() for one in mistakes(error)]
    return answer


@router.post("/submit")
def submit(
    request: Request,
    yaml: Annotated[str, Form(max_length=YAML_BYTES)],
    name: Annotated[str, Form()] = "",
    executor: Annotated[str, Form()] = "local",
    use: Annotated[str, Form()] = "form",
    datasets: Annotated[list[str], Form()] = [],  # noqa: B006 (FastAPI copies it)
    source: Annotated[str, Form(alias="model-source")] = "",
    resolution: Annotated[str, Form()] = "",
    starts: Annotated[str, Form(alias="seeds-count")] = "",
) -> Response:
    """Submit the YAML: as it is, or with the values of the form in it."""
    supervisor, settings = request.app.state.supervisor, request.app.state.settings
    text = yaml.replace("\r\n", "\n")  # a form is posted with the line ends of the web
    try:
        if use == "form":
            given = {"model-source": source, "resolution": resolution, "seeds-count": starts}
            text = form.text_of(form.changed(form.read(text), given, datasets))
        row = supervisor.submit(submission.of_yaml(text, settings, name=name.strip() or None, executor=executor))
    except (UserError, Failure) as error:
        wrong = mistakes(error) if isinstance(error, UserError) else [Mistake(key="", message=str(error))]
        return _form(request, text, status=status_of(error), mistakes=wrong, name=name, executor=executor)
    return RedirectResponse(url(request, "run_page", id=row.id), 303)


@router.get("/runs/{id}", name="run_page")
def show_run(request: Request, id: str) -> HTMLResponse:
    """One run."""
    supervisor = request.app.state.supervisor
    folder = supervisor.folder(id)
    run = supervisor.get(id).as_json(request.app.state.settings.root_path)
    return page(
        request,
        "run.html.j2",
        run=run,
        ended=OVER,
        actions=[(name, *ACTIONS[name]) for name in _possible(run)],
        report=(folder / "report" / "report.html").is_file(),
        log=logs.tail(folder, LOG_LINES),
        files=files.listed(folder),
        config=_configuration(request, id),
    )


ACTIONS: Mapping[Action, tuple[str, str]] = {
    "cancel": ("Cancel", "Its processes end, or its Slurm jobs. What is finished stays, and it can be resumed."),
    "resume": ("Resume", "It is queued again and goes on from what is finished."),
    "delete": (
        "Delete",
        "It leaves the list. Its folder goes to the server's trash folder, where its operator finds it.",
    ),
}
"""Names of what can be done with a run, and what it does."""


def _possible(run: Mapping[str, Any]) -> list[Action]:
    if not run["ours"]:
        return []
    if run["state"] not in OVER:
        return ["cancel"] if run["state"] != State.STOPPING else []
    return ["delete"] if run["state"] == State.DONE else ["resume", "delete"]


@router.post("/runs/{id}/{action}", name="run_action")
def act(request: Request, id: str, action: Action) -> Response:
    """Cancel, resume or delete a run."""
    getattr(request.app.state.supervisor, action)(id)
    return RedirectResponse(url(request, "queue_page") if action == "delete" else url(request, "run_page", id=id), 303)


@router.get("/compare", name="compare_page")
async def compare(request: Request, runs: Texts = []) -> HTMLResponse:  # noqa: B006
    """Runs side by side, as ``probe compare`` shows them; or why they are not compared."""
    supervisor = request.app.state.supervisor
    ids = list(dict.fromkeys(id for one in runs for id in one.split(",") if id))
    if len(ids) < 2:
        few = "Tick at least two finished runs in the list, and compare them."
        return page(request, "compare.html.j2", status=422, runs=[], refusal=few)
    rows, refusal = [supervisor.get(id) for id in ids], ""
    try:
        await questions.comparison(supervisor, request.app.state.questions, ids)
    except (UserError, Failure) as error:
        refusal = str(error)
    data = f"{url(request, 'compare')}?{urlencode({'runs': ','.join(ids)}, safe=',')}"
    return page(
        request, "compare.html.j2", status=422 if refusal else 200, runs=rows, refusal=refusal, data=data,
        alone=f"{data}&format=html",
    )  # fmt: skip


@router.get("/board", name="board_page")
def show_board(request: Request, sort: str = "", order: Literal["up", "down"] = "down") -> HTMLResponse:
    """The leaderboard over finished runs."""
    supervisor = request.app.state.supervisor
    found = board(supervisor)
    ids = [one["id"] for rows in (found["refused"], *(group["rows"] for group in found["groups"])) for one in rows]
    known = {id: supervisor.index.get(id) for id in ids}
    names = {id: row.name if row else id for id, row in known.items()}
    groups = [ordered(group, sort, order == "down") for group in found["groups"]]
    return page(request, "board.html.j2", board=found, groups=groups, names=names, sort=sort, order=order)


def _configuration(request: Request, id: str) -> str:
    file = request.app.state.supervisor.folder(id) / "config.yaml"
    try:
        return read_text(file, YAML_BYTES)
    except Unreadable as error:
        return f"# {error.reason}\n"
