"""A language model's residual stream as a figure, a table and sentences, from ``probe.studies.language.record``."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from probe.report.figures.drawing import canvas
from probe.report.page.markdown import table, text
from probe.report.page.text import count, listed, number

# Okabe and Ito's palette.
COLOURS = {"prompt": "#D55E00", "noise": "#0072B2"}
SYMBOLS = {"residual": "||f(h) - h||", "norm": "||h||"}
SHOWN = (0, 1, 3, 10, 30, 100, 300, 1000)
"""Steps of the table."""


def language_figure(content: dict[str, Any]) -> Figure:
    """||f(h) - h|| and ||h|| against the step, one line per start."""
    with canvas(10, 4.2) as figure:
        for axes, (key, label) in zip(figure.subplots(1, 2), SYMBOLS.items(), strict=True):
            for name, one in reversed(content["kinds"].items()):
                style = {"lw": 1.8, "alpha": 1} if one["n"] == 1 else {"lw": 0.8, "alpha": 0.5}
                for i, row in enumerate(_numbers(one, key)):
                    known = np.where(row > 0, row, np.nan)  # a residual of 0 has no logarithm
                    axes.plot(known, color=COLOURS[name], label=None if i else f"{name} ({one['n']})", **style)
            if key == "residual":
                axes.axhline(content["solver"]["tolerance"] ** 0.5, color="#222222", ls=":", lw=1.4, label="tolerance")
            axes.set_yscale("log")
            axes.set_xlabel("step")
            axes.set_title(label, loc="left", fontsize=11)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=3, fontsize=9)
        figure.suptitle(_title(content), x=0.01, ha="left", fontsize=11)
    return figure


def _numbers(one: dict[str, Any], key: str) -> NDArray[np.float64]:
    """Values (n, steps + 1), NaN if unknown."""
    return np.array(one[key], dtype=float)


def language_page(content: dict[str, Any]) -> str:
    """A Markdown page: the model, the table, the sentences and the figure."""
    return f"# {text(_title(content))}\n\n{language_table(content)}\n![norms at every step](language.png)\n"


def _title(content: dict[str, Any]) -> str:
    model = content["model"]
    return f"{model['class']}, {model['source']}: {content['tokens']} tokens, d = {model['width']}"


def language_table(content: dict[str, Any]) -> str:
    """A Markdown table of medians over starts at some steps, followed by the sentences."""
    kinds, last = content["kinds"], content["solver"]["max_steps"]
    head = ["step", *(f"{symbol}, {name}" for name in kinds for symbol in ("residual norm", "norm"))]
    medians = [np.median(_numbers(one, key), axis=0) for one in kinds.values() for key in SYMBOLS]
    steps = [step for step in SHOWN if step < last] + [last]
    rows = [[str(step), *(number(float(median[step])) for median in medians)] for step in steps]
    return table(head, rows) + "\n\n" + "\n".join(sentences(content)) + "\n"


def sentences(content: dict[str, Any]) -> list[str]:
    """The results in words."""
    found = []
    for name, one in content["kinds"].items():
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in one["outcomes"].items() if n)
        low, high = one["converged"]["ci95"]
        share = f"share {number(one['converged']['share'])} [{number(low)}, {number(high)}]"
        most = f"; most starts converge: {one['settles']} ({share})" if one["n"] > 1 else ""
        found.append(f"From {name}: {outcomes} of {count(one['n'], 'start')}{most}.")
    points = content["fixed_points"]
    certified = sum(point["certificate"] == "attractor" for point in points)
    if content["distinct"]:
        reached = [
            f"{listed([f'{n} of {name}' for name, n in point['starts'].items() if n])} (spectral radius "
            f"{number(point['spectral_radius'])})"
            for point in points[:3]
        ]
        found.append(
            f"{count(content['distinct'], 'distinct fixed point')}, {certified} of {len(points)} examined certified "
            f"attractors; the most frequent are reached by {'; '.join(reached)}."
        )
    return found
