"""What handlers take from the application, and how they document problems."""

from typing import Annotated, Any, cast

from fastapi import Depends, Path, Request

from probe.serve.metrics import Metrics
from probe.serve.questions import Questions
from probe.serve.settings import Settings
from probe.serve.supervisor import Supervisor


def _supervisor(request: Request) -> Supervisor:
    return cast(Supervisor, request.app.state.supervisor)


def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


def _questions(request: Request) -> Questions:
    return cast(Questions, request.app.state.questions)


def _metrics(request: Request) -> Metrics:
    return cast(Metrics, request.app.state.metrics)


TheSupervisor = Annotated[Supervisor, Depends(_supervisor)]
TheSettings = Annotated[Settings, Depends(_settings)]
TheQuestions = Annotated[Questions, Depends(_questions)]
TheMetrics = Annotated[Metrics, Depends(_metrics)]
RunId = Annotated[str, Path(description="id of the run", min_length=1, max_length=200)]

WORDS = {
    400: "The body cannot be read.",
    403: "The operator of the server has not allowed this.",
    404: "There is no such run or file.",
    409: "It does not go with what is there.",
    413: "The body is too large.",
    415: "The body is of another type.",
    416: "The range is outside of the file.",
    422: "A mistake in what was sent; the command line has the same sentence.",
    429: "No more are taken for now.",
    503: "Something outside of the request failed; ask again later.",
    507: "The runs may take no more of the disk.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers other than success, for the OpenAPI document."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {
        status: {"description": WORDS[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in statuses
    }
