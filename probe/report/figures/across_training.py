"""Figures of a training, from records of ``probe.studies.sweeps.across_training.measure_checkpoint``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from probe.report.figures.drawing import canvas, picture_rows
from probe.report.study.schema import SeedSpread

# Okabe and Ito's palette, one colour and mark for each kind of start.
STARTS = {
    "train": ("training images", "#D55E00", "o"),
    "test": ("test images", "#0072B2", "s"),
    "noise": ("noise, z ~ N(0, I)", "#4D4D4D", "^"),
    "noise_images": ("noise images", "#CC79A7", "v"),
}
NULLS = {"unseen": ("unseen test images", "#0072B2", "s"), "noise": ("noise images", "#4D4D4D", "^")}
Line = tuple[str, str, str, tuple[str, ...]]
"""Label, colour, mark, and the path to the value in a record."""


def training_figure(records: Mapping[str, dict[str, Any]], title: str) -> Figure:
    """Every measure against the checkpoint, with 95 % intervals if known."""
    with canvas(12, 7) as figure:
        for axes, (name, lines) in zip(figure.subplots(2, 3).flat, _panels().items(), strict=True):
            for line in lines:
                _draw(axes, list(records.values()), line)
            axes.set_xticks(range(len(records)), list(records), rotation=45 if len(records) > 8 else 0)
            axes.set_title(name, loc="left", fontsize=11)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=8)
            if not name.startswith(("squared error", "spectral norm")):
                axes.set_ylim(-0.03, 1.03)
            elif np.isfinite(axes.dataLim.minposy):  # dead units can leave a Jacobian of zeros
                axes.set_yscale("log")
            if name.startswith("spectral norm"):
                axes.axhline(1, color="#222222", ls=":", lw=1.2)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def _panels() -> dict[str, list[Line]]:
    others = ("test", "noise", "noise_images")
    return {
        "starts with distinct end points (cosine)": [(*STARTS[kind], ("distinct", kind, "cosine")) for kind in STARTS],
        "mem(z*) and its null levels": [
            ("attractors", "#D55E00", "o", ("mem",)),
            *((*NULLS[null], ("nulls", null)) for null in NULLS),
        ],
        "squared error": [(*STARTS[kind], (f"{kind}_error",)) for kind in ("train", "test")],
        "Chamfer cosine with training attractors": [(*STARTS[kind], ("chamfer", kind)) for kind in others],
        "FPR95 of noise (lower: separated)": [
            (f"{STARTS[noise][0]} | {inside}", STARTS[noise][1], mark, ("separation", noise, f"fpr95_{inside}"))
            for noise in ("noise", "noise_images")
            for inside, mark in (("train", "o"), ("test", "s"))
        ],
        "spectral norm of J, mean": [(*STARTS[kind], ("spectral_norm", kind)) for kind in STARTS],
    }


def number_at(record: dict[str, Any], path: tuple[str, ...]) -> SeedSpread | None:
    """The number at a path of keys, with its interval; None if nothing was measured."""
    found: Any = record
    for key in path:
        found = None if found is None else found[key]
    if not isinstance(found, dict):
        return None if found is None else SeedSpread(mean=found, std=None, n=1)
    low, high = found["ci95"] or (0.0, 0.0)
    return SeedSpread(mean=found["mean"], std=None, n=1, ci95=(low, high) if low < high else None)


def _draw(axes: Axes, records: Sequence[dict[str, Any]], line: Line) -> None:
    label, colour, mark, path = line
    found = [(place, number_at(record, path)) for place, record in enumerate(records)]
    points = [(place, one.mean, *(one.ci95 or (one.mean, one.mean))) for place, one in found if one]
    if points:
        x, y, low, high = np.array(points, dtype=np.float64).T
        bars = np.maximum([y - low, high - y], 0)
        axes.errorbar(x, y, yerr=bars, label=label, color=colour, marker=mark, markersize=4, lw=1.4, capsize=2)


def film_strip(images: NDArray[np.uint8], films: Mapping[str, NDArray[np.uint8]]) -> Figure:
    """Decoded end points of the same training starts, a row for each checkpoint, below the images themselves.

    Args:
        images: of the starts, (n, c, s, s). films: the decoded end points at each checkpoint, likewise.
    """
    rows = {"training\nimage": images, **films}
    title = "D(z*) of the end points of these images' latents"
    return picture_rows(rows, title, max(0.8 * len(images) + 1.6, 3.2), 0.8 * len(rows) + 0.5)
