"""Predicted against actual steps as a figure and a sentence, from the record of ``sweeps.convergence``."""

from typing import Any

import matplotlib
from matplotlib.figure import Figure

from probe.report.figures.run import STYLE


def convergence_figure(record: dict[str, Any], title: str) -> Figure:
    """A mark a start, coloured by the spectral radius of its attractor, and the line on which prediction is right."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 5), layout="constrained")
        axes = figure.subplots()
        # Steps can be 0, which has no logarithm.
        x, y = ([max(steps, 0.5) for steps in record[key]] for key in ("predicted", "actual"))
        low, high = 0.8 * min([*x, *y], default=1.0), 1.25 * max([*x, *y], default=10.0)
        axes.plot([low, high], [low, high], color="#222222", ls=":", lw=1.4, label="prediction is right")
        drawn = axes.scatter(x, y, c=record["radius"], s=14, linewidths=0, alpha=0.8, cmap="viridis", zorder=3)
        figure.colorbar(drawn, ax=axes, label="spectral radius at the attractor")
        axes.set(xscale="log", yscale="log", aspect="equal", xlabel="steps predicted (Proposition A.9)", ylabel="steps")
        axes.legend(loc="upper left", fontsize=9)
        figure.suptitle(f"{title}\n{_about(record)}", x=0.01, ha="left", fontsize=10)
    return figure


def sentence(record: dict[str, Any]) -> str:
    """What was found, in words."""
    used = f"{record['used']} of {record['starts']} starts ended in certified attractors ({record['attractors']})"
    ratio = record["ratio"]
    if ratio is None:
        return f"{used}: there is nothing to compare."
    steps = (
        f"they took {ratio['median']:.2f} times the predicted steps (median; 90 % between {ratio['q05']:.2f} and "
        f"{ratio['q95']:.2f})"
    )
    return (
        f"{used}; {steps}; correlation {_correlation(record)}: that the prediction orders them "
        f"{_claim(record['verdict'])}; error of log(1 + steps) {record['error']:.2f}, of the best constant "
        f"{record['null_error']:.2f}: that the prediction is better {_claim(record['error_verdict'])}."
    )


def _claim(verdict: str) -> str:
    return {"undecided": "is undecided"}.get(verdict, verdict)


def _about(record: dict[str, Any]) -> str:
    return f"starts: {record['used']}, attractors: {record['attractors']}, correlation {_correlation(record)}"


def _correlation(record: dict[str, Any]) -> str:
    found = record["correlation"]
    if found is None:
        return "unknown"
    return f"{found['mean']:.2f} [{found['ci95'][0]:.2f}, {found['ci95'][1]:.2f}] over {found['over']}"
