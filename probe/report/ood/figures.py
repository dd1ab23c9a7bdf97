"""Figures of an OOD experiment."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from probe.report.figures.drawing import canvas, marks, row_names
from probe.report.ood.schema import OodReport, label

INSIDE, GROUPS = "#777777", {"near": "#0072B2", "far": "#D55E00"}  # Okabe and Ito's palette
PER_ROW = 4
SHOWN = (0.5, 99.5)
"""The bins lie between these percentiles of both sets together; values beyond are counted in the outer bins."""


def overview(report: OodReport) -> Figure:
    """AUROC and FPR95 of every score on every set, near ones first, with intervals."""
    names, scores = report.by_group(), list(report.scores)
    with canvas(2.6 + 2.0 * max(len(names), 2), 2.8 + 0.68 * len(scores)) as figure:
        grid = figure.subplots(2, len(names), squeeze=False, sharey=True)
        for row, (measure, title, chance) in enumerate((("auroc", "AUROC", 0.5), ("fpr95", "FPR95", 0.95))):
            for axes, name in zip(grid[row], names, strict=True):
                group = report.sets[name].group
                found = [getattr(report.sets[name].scores[score], measure) for score in scores]
                marks(axes, [(i, one.value, one.ci95) for i, one in enumerate(found)], GROUPS[group], "o")
                row_names(axes, [label(score) for score in scores])
                axes.set_xlim(-0.03, 1.03)
                axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
                axes.axvline(chance, color="#222222", ls=":", lw=1.2)
                axes.set_title(f"{title}, {name}\n({group})", loc="left", fontsize=9)
        figure.suptitle("dotted: chance level", x=0.01, ha="left", fontsize=9, color="#777777")
    return figure


def histograms(report: OodReport, table: pd.DataFrame, score: str) -> Figure:
    """A score of the in-distribution test images and of each OOD set, near ones first, as densities."""
    names = report.by_group()
    rows, columns = -(-len(names) // PER_ROW), min(len(names), PER_ROW)
    with canvas(3.0 * columns + 0.6, 2.4 * rows + 0.7) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).flat
        inside = table.loc[table["set"] == "test", score].to_numpy(float)
        for axes, name in zip(panels, names, strict=False):
            one = report.sets[name]
            outside = table.loc[table["set"] == name, score].to_numpy(float)
            _densities(axes, inside, outside, GROUPS[one.group])
            axes.set_title(f"{name} ({one.group}), AUROC {one.scores[score].auroc.value:.3f}", loc="left", fontsize=9)
        for axes in list(figure.axes)[len(names) :]:
            axes.set_visible(False)
        handles = [Patch(color=INSIDE, alpha=0.55, label="in distribution")]
        present = [group for group in GROUPS if any(one.group == group for one in report.sets.values())]
        handles += [Patch(color=GROUPS[g], alpha=0.55, label=f"OOD, {g}") for g in present]
        figure.legend(handles=handles, loc="outside lower center", ncol=3, fontsize=9)
        figure.suptitle(label(score), x=0.01, ha="left", fontsize=11)
    return figure


def _densities(axes: Axes, inside: np.ndarray, outside: np.ndarray, colour: str) -> None:
    both = np.concatenate([inside, outside])
    low, high = np.percentile(both[np.isfinite(both)], SHOWN)
    edges = np.linspace(low, high if high > low else low + 1, 41)
    for values, shade in ((inside, INSIDE), (outside, colour)):
        axes.hist(np.clip(values, edges[0], edges[-1]), bins=edges.tolist(), density=True, color=shade, alpha=0.55)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=8)
