"""The files of a report: figures, Markdown, HTML, JSON; each appears whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from probe.files import write_atomically
from probe.report.figures.drawing import render
from probe.report.page.content import Page
from probe.report.page.html import html
from probe.report.page.markdown import markdown

Files = dict[str, bytes | str]
"""Content by path in the report's folder."""


def drawn(figures: Mapping[str, Figure]) -> dict[str, bytes]:
    """Figures as PNG and SVG files, by path; given by path without its ending."""
    files: dict[str, bytes] = {}
    for path, figure in figures.items():
        files |= {f"{path}.png": render(figure, "png"), f"{path}.svg": render(figure, "svg")}
    return files


def rendered(page: Page, name: str, figures: Mapping[str, Figure]) -> Files:
    """The page's figures, NAME.md and NAME.html."""
    pictures = drawn(figures)
    return {**pictures, f"{name}.md": markdown(page), f"{name}.html": html(page, pictures)}


def write(folder: Path, files: Mapping[str, bytes | str], name: str, content: Mapping[str, Any]) -> None:
    """Write ``files`` in order, then ``content`` as NAME.json: where that is, all is there.

    Raises:
        ValueError: ``content`` holds NaN or infinity.
        OSError: a file cannot be written.
    """
    for path, data in files.items():
        write_atomically(folder / path, data)
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / f"{name}.json", text + "\n")
