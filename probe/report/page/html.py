"""Pages as HTML: one file that loads nothing and runs no script but its own."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from probe.names import printable
from probe.report.page.content import Film, Page, Table, each
from probe.report.page.pictures import small, uri
from probe.report.page.text import as_text

STATIC = 0.4
"""Size of the figure that stands where a film cannot run; its PNG is beside the page."""


def html(page: Page, files: Mapping[str, bytes]) -> str:
    """The page; ``files`` hold its figures as SVG, by their paths, and of its films the sheets, and figures as PNG."""
    blocks = list(each(page.blocks))
    moving = any(isinstance(one, Film) for one in blocks)
    needed = {"film": moving, "sort": any(isinstance(one, Table) and one.sortable for one in blocks)}
    folder = resources.files("probe.report").joinpath("page")
    scripts = [Markup(folder.joinpath(f"{name}.js").read_text("utf-8")) for name, is_ in needed.items() if is_]
    made = environment(*scripts)
    made.globals |= {"scripts": scripts, "moving": moving}
    made.filters["frames"] = lambda film: _frames(film, files)
    made.filters |= {"as_text": as_text, "json": partial(json.dumps, indent=2, ensure_ascii=False)}
    made.filters["kind"] = lambda block: type(block).__name__
    template = made.get_template("page/page.html.j2")
    return template.render(
        page=page,
        picture=lambda path: uri("image/svg+xml", files[f"{path}.svg"]),
        static=lambda path: small(files[f"{path}.png"], STATIC),
    )


def _frames(film: Film, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What the script of a film needs."""
    sheets = [uri("image/webp", files[f"{reel.sheet}.webp"]) for reel in film.reels]
    reels = [{"sheet": sheet, "said": reel.said} for reel, sheet in zip(film.reels, sheets, strict=True)]
    return {"stops": film.stops, "cells": film.cells, "reels": reels}


def environment(*scripts: str) -> jinja2.Environment:
    """The environment of all templates, which know ``style`` and ``policy``.

    Names, sources and commands are user text: everything is escaped that is not Markup.

    Args:
        scripts: the contents of the page's <script> elements, character by character; no others will run.
    """
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("probe.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    style = resources.files("probe.report").joinpath("page/style.css").read_text("utf-8")
    made.globals.update(style=Markup(style), policy=_policy(scripts))
    return made


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _policy(scripts: Sequence[str]) -> str:
    """A Content-Security-Policy: nothing is fetched, sent or run but what the page holds; pictures are data."""
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    runs = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {runs}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'none'; form-action 'none'; base-uri 'none'"
    )
