"""Write a comparison: every file whole or not at all, compare.json last."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probe.files import write_atomically
from probe.report.compare.build import compare
from probe.report.compare.figures import ratios
from probe.report.compare.html import html
from probe.report.compare.markdown import FIGURE, markdown
from probe.report.compare.tables import tidy
from probe.report.figures.run import render
from probe.report.run.build import finite


def write_comparison(paths: Sequence[Path], out: Path, *, unpaired: bool = False) -> dict[str, Any]:
    """Write compare.html, compare.md, compare.csv, ratios.png and .svg, compare.json.

    Returns:
        The content of compare.json (``probe.report.compare.schema.Comparison``), free of NaN and infinity.

    Raises:
        UserError: as ``compare``.
    """
    report = compare(paths, unpaired=unpaired)
    figure = None
    if report.datasets:
        drawn = ratios(report)
        figure = render(drawn, "svg")
        write_atomically(out / f"{FIGURE}.png", render(drawn, "png"))
        write_atomically(out / f"{FIGURE}.svg", figure)
    write_atomically(out / "compare.html", html(report, figure))
    write_atomically(out / "compare.md", markdown(report))
    write_atomically(out / "compare.csv", tidy(report))
    content: dict[str, Any] = finite(report.model_dump(mode="json"))
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(out / "compare.json", text + "\n")
    return content
