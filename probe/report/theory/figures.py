"""Figures of the theory page, from the record of ``probe.studies.theory.theory``."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probe.report.figures.convergence import convergence_figure
from probe.report.figures.run import STYLE

# Okabe and Ito's palette.
TERMS = {"left": ("||x - D(E(x))||²", "#4D4D4D", "o"), "prototype": ("prototype ||x - D(P)||²", "#D55E00", "s"),
         "coverage": ("coverage L² ||E(x) - P||²", "#0072B2", "^")}  # fmt: skip
COSINES = {"cosine": ("with the score", "#D55E00", "o"), "shuffled": ("with shuffled scores", "#4D4D4D", "s"),
           "centre": ("with the way to the mean", "#0072B2", "^")}  # fmt: skip
PLACES = {"data": "#D55E00", "near": "#E69F00", "far": "#0072B2", "noise": "#56B4E9", "attractors": "#009E73"}


def drawn(content: dict[str, Any]) -> dict[str, Figure]:
    """The figures by name; without ``score`` and ``convergence`` where nothing is known of them."""
    made = {
        "bound": _bound(content["bound"]),
        "contraction": _values(content["field"], "norm", "spectral norm of J_f", 1.0),
        "gradient": _values(
            content["field"],
            "antisymmetric",
            "antisymmetric share of ||J_f||²",
            content["field"][0]["antisymmetric"]["null"],
        ),
    }
    if content.get("convergence", {}).get("used"):
        made["convergence"] = convergence_figure(content["convergence"], "steps to a certified attractor")
    known = {name: one for name, one in content["score"].items() if one}
    return {**made, "score": _score(known)} if known else made


def _bound(data: dict[str, Any]) -> Figure:
    """The terms by data set, with intervals."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 0.55 * len(data) + 1.7), layout="constrained")
        axes = figure.subplots()
        for shift, (key, (label, colour, mark)) in zip((-0.15, 0.0, 0.15), TERMS.items(), strict=True):
            rows = [(row + shift, one[key]) for row, one in enumerate(data.values()) if one[key]]
            _marks(axes, rows, label, colour, mark)
        axes.set_xscale("log")
        axes.set_xlabel("mean over images, squared norm over pixels; the bound is twice the sum of the latter two")
        _names(axes, list(data))
        figure.legend(loc="outside upper left", ncol=3, fontsize=9)
    return figure


def _score(score: dict[str, dict[str, Any]]) -> Figure:
    """Cosines by data set and noise: a panel for each density and noise."""
    densities = next(iter(score.values()))["densities"]
    panels = [(i, j) for i, density in enumerate(densities) for j in range(len(density["at"]))]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 0.42 * len(score) * len(panels) / 2 + 2), layout="constrained")
        grid = figure.subplots(-(-len(panels) // 2), min(len(panels), 2), sharex=True, sharey=True, squeeze=False)
        for axes, (i, j) in zip(grid.flat, panels, strict=False):
            for shift, (key, (label, colour, mark)) in zip((-0.15, 0.0, 0.15), COSINES.items(), strict=True):
                rows = [(row + shift, one["densities"][i]["at"][j][key]) for row, one in enumerate(score.values())]
                _marks(axes, rows, label, colour, mark)
            at = densities[i]["at"][j]
            axes.set_title(f"{densities[i]['name']}, noise {at['noise']:g}", loc="left", fontsize=10)
            axes.axvline(0, color="#222222", ls=":", lw=1.2)
            _names(axes, list(score))
        for axes in grid[-1]:
            axes.set_xlabel("cosine with f(z) - z")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncol=3, fontsize=9)
    return figure


def _values(field: list[dict[str, Any]], key: str, label: str, line: float) -> Figure:
    """Every point's value, a row for each place; the bar is the mean with its interval."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 0.3 * len(field) + 1.2), layout="constrained")
        axes = figure.subplots()
        for row, one in enumerate(field):
            values = [value for value in one[key]["values"] if value is not None]
            jitter = np.linspace(-0.2, 0.2, len(values))
            axes.plot(values, row + jitter, ls="none", marker="o", ms=3, alpha=0.5, mew=0, color=PLACES[one["where"]])
            _marks(axes, [(row, one[key])], None, "#222222", "|")
        axes.axvline(line, color="#222222", ls=":", lw=1.4)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{label}; dotted: {line:.3g}")
        _names(axes, [" ".join(filter(None, ("" if one["where"] == "data" else one["where"], one["dataset"])))
                      for one in field])  # fmt: skip
    return figure


def _marks(axes: Axes, rows: list[tuple[float, dict[str, Any]]], label: str | None, colour: str, mark: str) -> None:
    """Means with their intervals, at heights."""
    known = [(y, one["mean"], one["ci95"] or (one["mean"], one["mean"])) for y, one in rows if one["mean"] is not None]
    if not known:
        return
    heights, means, ends = zip(*known, strict=True)
    bars = np.abs(np.asarray(ends).T - np.asarray(means))
    axes.errorbar(means, heights, xerr=bars, ls="none", marker=mark, ms=5, color=colour, capsize=2, lw=1.4, label=label)


def _names(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", labelsize=8.5)
