"""The theory page of a run: theory.json, theory.md, theory.html and figures, from the record of ``probe.studies``."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probe.report.figures.convergence import convergence_figure
from probe.report.figures.drawing import Ends, canvas, marks, row_names
from probe.report.page.content import Page, Provenance
from probe.report.page.markdown import table
from probe.report.page.write import rendered, write
from probe.report.theory.sections import place, statements

FACTS = ("model", "images", "settings", "git_revision", "versions", "platform")
# Okabe and Ito's palette.
TERMS = {"left": ("||x - D(E(x))||²", "#4D4D4D", "o"), "prototype": ("prototype ||x - D(P)||²", "#D55E00", "s"),
         "coverage": ("coverage L² ||E(x) - P||²", "#0072B2", "^")}  # fmt: skip
COSINES = {"cosine": ("with the score", "#D55E00", "o"), "shuffled": ("with shuffled scores", "#4D4D4D", "s"),
           "centre": ("with the direction to the mean", "#0072B2", "^")}  # fmt: skip
PLACES = {"data": "#D55E00", "near": "#E69F00", "far": "#0072B2", "noise": "#56B4E9", "attractors": "#009E73"}


def write_theory(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Write the folder, theory.json last; every file whole or not at all.

    Returns:
        The content of theory.json.
    """
    figures = _drawn(content)
    by_path = {f"figures/{name}": figure for name, figure in figures.items()}
    verdicts = {part.name: part.sentences for part in statements(content)}
    write(folder, rendered(page(content, figures), "theory", by_path), "theory", {**content, "verdicts": verdicts})
    return {**content, "verdicts": verdicts}


def page(content: dict[str, Any], figures: Collection[str] = ()) -> Page:
    """The page of theory.json's content, with the figures of these names."""
    model = content["model"]
    return Page(
        f"Theory: {model['class']} from {model['source']}, d = {model['d']}",
        "The statements of the paper, measured on this run.",
        [],
        [part.section(part.name in figures) for part in statements(content)],
        Provenance(str(content["command"]), {key: content[key] for key in FACTS}),
    )


def summary(content: dict[str, Any]) -> str:
    """As Markdown: the verdicts and the table of each statement."""
    parts = []
    for part in statements(content):
        rows = table(part.table.head, part.table.rows, escaped=True)
        parts.append("\n".join([part.title, *(f"- {one}" for one in part.sentences), "", rows]))
    return "\n\n".join(parts) + "\n"


def _drawn(content: dict[str, Any]) -> dict[str, Figure]:
    """The figures by name; ``score`` and ``convergence`` are left out if unknown."""
    field, chance = content["field"], content["field"][0]["antisymmetric"]["null"]
    made = {
        "bound": _bound(content["bound"]),
        "contraction": _values(field, "norm", "spectral norm of J_f", 1.0),
        "gradient": _values(field, "antisymmetric", "antisymmetric share of ||J_f||²", chance),
    }
    if content.get("convergence", {}).get("used"):
        made["convergence"] = convergence_figure(content["convergence"], "steps to a certified attractor")
    known = {name: one for name, one in content["score"].items() if one}
    return {**made, "score": _score(known)} if known else made


def _bound(data: dict[str, Any]) -> Figure:
    """The terms by data set, with intervals."""
    with canvas(7.4, 0.55 * len(data) + 1.7) as figure:
        axes = figure.subplots()
        _side_by_side(axes, TERMS, data)
        axes.set_xscale("log")
        axes.set_xlabel("mean over images of squared norms; the bound is twice the sum of prototype and coverage")
        figure.legend(loc="outside upper left", ncol=3, fontsize=9)
    return figure


def _score(score: dict[str, dict[str, Any]]) -> Figure:
    """Cosines by data set and noise: a panel for each density and noise."""
    densities = next(iter(score.values()))["densities"]
    panels = [(i, j) for i, density in enumerate(densities) for j in range(len(density["at"]))]
    with canvas(11, 0.42 * len(score) * len(panels) / 2 + 2) as figure:
        grid = figure.subplots(-(-len(panels) // 2), min(len(panels), 2), sharex=True, sharey=True, squeeze=False)
        for axes, (i, j) in zip(grid.flat, panels, strict=False):
            _side_by_side(axes, COSINES, {name: one["densities"][i]["at"][j] for name, one in score.items()})
            axes.set_title(f"{densities[i]['name']}, noise {densities[i]['at'][j]['noise']:g}", loc="left", fontsize=10)
            axes.axvline(0, color="#222222", ls=":", lw=1.2)
        for axes in grid[-1]:
            axes.set_xlabel("cosine with f(z) - z")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncol=3, fontsize=9)
    return figure


def _side_by_side(axes: Axes, kinds: Mapping[str, tuple[str, str, str]], rows: Mapping[str, dict[str, Any]]) -> None:
    """Three estimates of each row, with their intervals."""
    for shift, (key, (label, colour, mark)) in zip((-0.15, 0.0, 0.15), kinds.items(), strict=True):
        marks(axes, [_row(row + shift, one[key]) for row, one in enumerate(rows.values())], colour, mark, label)
    row_names(axes, list(rows))


def _values(field: list[dict[str, Any]], key: str, label: str, line: float) -> Figure:
    """The value at every point, a row for each place; bars are means with their intervals."""
    with canvas(7.4, 0.3 * len(field) + 1.2) as figure:
        axes = figure.subplots()
        for row, one in enumerate(field):
            values = [value for value in one[key]["values"] if value is not None]
            jitter = np.linspace(-0.2, 0.2, len(values))
            axes.plot(values, row + jitter, ls="none", marker="o", ms=3, alpha=0.5, mew=0, color=PLACES[one["where"]])
            marks(axes, [_row(row, one[key])], "#222222", "|")
        axes.axvline(line, color="#222222", ls=":", lw=1.4)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{label}; dotted: {line:.3g}")
        row_names(axes, [place(one) for one in field])
    return figure


def _row(height: float, found: dict[str, Any] | None) -> tuple[float, float | None, Ends]:
    return (height, found["mean"], found["ci95"]) if found else (height, None, None)
