"""Figure and table of contraction at initialisation, from its records (``probe.studies.sweeps.contraction.record``)."""

from typing import Any

import matplotlib
from matplotlib.figure import Figure

from probe.report.figures.run import STYLE

SIDES = {"inputs": ("D(E(x)), inputs", "#0072B2", "s"), "latents": ("f(z) = E(D(z)), latents", "#D55E00", "o")}


def contraction_figure(records: list[dict[str, Any]]) -> Figure:
    """The ratios of all seeds, a row for each architecture; to the left of the line, variance shrinks."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.24 * len(records) + 1.6), layout="constrained")
        axes = figure.subplots()
        for key, (label, colour, mark) in SIDES.items():
            shift = -0.16 if key == "inputs" else 0.16
            marks = [
                (r, row + shift) for row, record in enumerate(records) for r in record[key]["ratios"] if r is not None
            ]
            x, y = zip(*marks, strict=True) if marks else ((), ())
            axes.plot(x, y, linestyle="none", marker=mark, color=colour, markersize=3.5, alpha=0.7, label=label)
        axes.axvline(1, color="#222222", ls=":", lw=1.4)
        axes.set_xscale("log")
        axes.set_yticks(range(len(records)), [f"{record['name']} (d = {record['d']})" for record in records])
        axes.set_ylim(len(records) - 0.5, -0.5)
        axes.tick_params(axis="y", labelsize=8)
        axes.set_xlabel("variance out / variance in, random weights, one mark a seed")
        figure.legend(loc="outside upper right", ncol=2, fontsize=9)
    return figure


def contraction_table(records: list[dict[str, Any]]) -> str:
    """A Markdown table of mean ratios with intervals and verdicts."""
    lines = [
        "| architecture | d | D(E(x)): ratio [95 %] | below 1 | f(z): ratio [95 %] | below 1 |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        cells = [cell for key in SIDES for cell in (_ratio(record[key]), record[key]["verdict"])]
        lines.append(f"| {record['name']} | {record['d']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _ratio(side: dict[str, Any]) -> str:
    if side["mean"] is None:
        return "not finite"
    interval = "" if side["ci95"] is None else f" [{side['ci95'][0]:.2g}, {side['ci95'][1]:.2g}]"
    return f"{side['mean']:.2g}{interval}"
