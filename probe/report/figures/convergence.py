"""Predicted against actual steps as a figure and a sentence, from ``probe.studies.sweeps.convergence.record``."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from probe.report.figures.drawing import canvas


def convergence_figure(record: dict[str, Any], title: str) -> Figure:
    """One mark per start, coloured by the spectral radius of its attractor; on the line the prediction is exact."""
    with canvas(6, 5) as figure:
        axes = figure.subplots()
        x, y = (np.maximum(record[key], 0.5) for key in ("predicted", "actual"))  # 0 steps have no logarithm
        low, high = 0.8 * min([*x, *y], default=1.0), 1.25 * max([*x, *y], default=10.0)
        axes.plot([low, high], [low, high], color="#222222", ls=":", lw=1.4, label="prediction is exact")
        drawn = axes.scatter(x, y, c=record["radius"], s=14, linewidths=0, alpha=0.8, cmap="viridis", zorder=3)
        figure.colorbar(drawn, ax=axes, label="spectral radius at the attractor")
        axes.set(xscale="log", yscale="log", aspect="equal", xlabel="steps predicted (Proposition A.9)", ylabel="steps")
        axes.legend(loc="upper left", fontsize=9)
        about = f"starts: {record['used']}, attractors: {record['attractors']}, correlation {_correlation(record)}"
        figure.suptitle(f"{title}\n{about}", x=0.01, ha="left", fontsize=10)
    return figure


def sentence(record: dict[str, Any]) -> str:
    """The results in words."""
    ratio = record["ratio"]
    if ratio is None:
        return f"No prediction above 0 steps for any of {record['starts']} starts: there is nothing to compare."
    used = (
        f"{record['used']} of {record['starts']} starts have a prediction; they ended in {record['attractors']} "
        "certified attractors"
    )
    return (
        f"{used}. They took {ratio['median']:.2f} times the predicted steps (median; 90 % between {ratio['q05']:.2f} "
        f"and {ratio['q95']:.2f}). The prediction tells which starts take longer: {record['verdict']} (correlation "
        f"{_correlation(record)}). It is closer to the actual steps than the best constant: {record['error_verdict']} "
        f"(error of log(1 + steps) {record['error']:.2f} against {record['null_error']:.2f})."
    )


def _correlation(record: dict[str, Any]) -> str:
    found = record["correlation"]
    if found is None:
        return "unknown"
    return f"{found['mean']:.2f} [{found['ci95'][0]:.2f}, {found['ci95'][1]:.2f}] over {found['over']}"
