"""Errors as RFC 9457 problem details, with the sentence that the command line prints."""

import http
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from probe.errors import Failure, UserError, without_secrets
from probe.mistakes import Mistaken
from probe.names import printable, shortened
from probe.reading import short
from probe.serve.pages.render import error_page, wants_page
from probe.serve.policy import Refused
from probe.serve.supervisor import Absent, Conflict, DiskFull, QueueFull

MEDIA_TYPE = "application/problem+json"
MOST = 100
"""Mistakes that are told of one text."""
_KEY = re.compile(r"config key '([^']+)'")
_LINE = re.compile(r"\bline (\d+)\b")


class Mistake(BaseModel):
    """One mistake in what was sent."""

    key: str = Field(description="dotted key of the configuration, or name of the parameter; empty: the whole")
    line: int | None = Field(None, description="line of the YAML text, from 1, where known")
    message: str = Field(description="what is wrong, and what to do")


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field("about:blank", description="about:blank: the title is that of the status")
    title: str = Field(description="the status in words")
    status: int = Field(description="HTTP status")
    detail: str = Field(
        description="one sentence: the thing, what is wrong, what to do; the command line prints the same"
    )
    instance: str = Field(description="path that was asked for")
    errors: list[Mistake] = Field(default=[], description="mistakes in what was sent, where it was at fault")


class Problem(Exception):
    """An answer other than success.

    Args:
        status: HTTP status.
        detail: one sentence that names the thing, what is wrong and what to do.
        errors: mistakes in what was sent.
        headers: of the answer.
    """

    def __init__(
        self, status: int, detail: str, errors: Sequence[Mistake] = (), headers: Mapping[str, str] | None = None
    ):
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, list(errors), dict(headers or {})


STATUS: tuple[tuple[type[Exception], int], ...] = (
    (Refused, 403),
    (Absent, 404),
    (Conflict, 409),
    (QueueFull, 429),
    (DiskFull, 507),
    (UserError, 422),
    (Failure, 503),
)
"""HTTP status by error; the first that fits."""


def status_of(error: Exception) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


class Located(UserError):
    """A mistake in a YAML text that was sent; ``mistakes`` says its lines."""

    def __init__(self, error: UserError, text: str):
        super().__init__(str(error))
        self.error, self.text = error, text


def mistakes(error: UserError) -> list[Mistake]:
    """The mistakes that a sentence about a configuration stands for, with keys, and lines where they are known."""
    told, text = (error.error, error.text) if isinstance(error, Located) else (error, "")
    if isinstance(told, Mistaken):
        found = told.found
    else:
        key = _KEY.search(str(told))
        found = [(tuple(key[1].split(".")) if key else (), str(told))]
    line = _LINE.search(str(told))  # by the reader of YAML
    node = composed(text)
    return [
        Mistake(
            key=".".join(map(str, path)),
            line=(line_of(node, path) or (int(line[1]) if line and not path else None)) if text else None,
            message=said,
        )
        for path, said in found[:MOST]
    ]


def composed(text: str) -> Any:
    """The nodes of a YAML text, which know their lines; None where it is none.

    For texts that ``probe.reading.parse_yaml`` has read, which bounds them. Aliases stay references, so nothing grows.
    """
    try:
        return yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):  # nested too deep, which is the mistake
        return None


def line_of(node: Any, path: Sequence[int | str]) -> int | None:
    """The line, from 1, of a path of keys below a node; where it is absent, of what is nearest above."""
    line = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and str(part).isdecimal() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
        else:
            break
    return line


def answer(request: Request, problem: Problem) -> Response:
    """The response for a problem: a page where a person waits for one."""
    title = http.HTTPStatus(problem.status).phrase
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": problem.status,
        "detail": printable(without_secrets(problem.detail)),
        "instance": shortened(request.url.path, 300),
    }
    if wants_page(request):
        return error_page(request, problem.status, content["title"], content["detail"])
    if problem.errors:
        content["errors"] = [one.model_dump(exclude_none=True) for one in problem.errors]
    return JSONResponse(content, problem.status, problem.headers, MEDIA_TYPE)


def _of_problem(request: Request, error: Any) -> Response:
    return answer(request, error)


def _of_user_error(request: Request, error: Any) -> Response:
    status = status_of(error)
    return answer(request, Problem(status, str(error), mistakes(error) if status == 422 else ()))


def _of_failure(request: Request, error: Any) -> Response:
    status = status_of(error)
    return answer(request, Problem(status, str(error), (), {"Retry-After": "30"} if status == 429 else None))


def _methods(request: Request) -> set[str]:
    """Of all routes at a path."""
    here = [route for route in request.app.state.routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in here for method in route.methods or ()}


def _of_http(request: Request, error: Any) -> Response:
    there = shortened(request.url.path, 200)
    said = {
        404: f"there is nothing at {there}; /v1/openapi.json lists what there is.",
        405: f"{request.method} is not possible at {there}; /v1/openapi.json lists what is.",
    }
    headers = {"Allow": ", ".join(sorted(_methods(request)))} if error.status_code == 405 else error.headers
    return answer(request, Problem(error.status_code, said.get(error.status_code, str(error.detail)), (), headers))


def _of_validation(request: Request, error: Any) -> Response:
    """FastAPI's own checks of parameters."""
    found = [
        Mistake(key=".".join(map(str, one["loc"][1:])), message=f"{one['msg']} (got {short(one['input'])}).")
        for one in error.errors()
    ]
    first = found[0]
    return answer(request, Problem(422, f"parameter {first.key!r}: {first.message}", found))


def _of_anything(request: Request, error: Any) -> Response:
    """A fault of the server; its traceback is in the server's log."""
    return answer(request, Problem(500, "the server failed at this request; its log says where."))


def add_handlers(app: FastAPI) -> None:
    """Answer every error with a problem."""
    app.add_exception_handler(Problem, _of_problem)
    app.add_exception_handler(UserError, _of_user_error)
    app.add_exception_handler(Failure, _of_failure)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(Exception, _of_anything)
