"""Templates as pages: their environment, and what every page knows (who asks, where it lies, its CSRF token)."""

from functools import partial
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from starlette._utils import get_route_path

from probe.names import printable
from probe.serve.security import csrf_token
from probe.terminal import size, span


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("probe.serve.pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_printable,
)
"""Names, reasons and configurations are text of runs and users: everything is escaped that is not Markup."""
TEMPLATES.filters |= {"span": span, "size": size}


def url(request: Request, name: str, /, **parameters: Any) -> str:
    """The path of a route, below the sub-path that a proxy may put the server at; without a host, which a page of a
    proxy does not share with the server."""
    return request.url_for(name, **parameters).path


def page(request: Request, template: str, /, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A template as a response; ``values`` are its variables."""
    text = TEMPLATES.get_template(template).render(
        url=partial(url, request), csrf=csrf_token(request), here=request.url.path, query=request.query_params, **values
    )
    return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})


def error_page(request: Request, status: int, title: str, detail: str) -> HTMLResponse:
    """A mistake or a refusal as a page."""
    return page(request, "error.html.j2", status=status, code=status, title=title, detail=detail)


def wants_page(request: Request) -> bool:
    """Whether a person reads the answer: the request is a browser's, and not for the API."""
    path = get_route_path(request.scope)
    return "text/html" in request.headers.get("accept", "") and not path.startswith("/v1/")
