"""Figures and table of a training, from the records of ``probe.studies.sweeps.across_training.measure``."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from probe.report.figures.run import STYLE, mosaic

# Okabe and Ito's palette, one colour and mark for each kind of start.
KINDS = {
    "train": ("training images", "#D55E00", "o"),
    "test": ("test images", "#0072B2", "s"),
    "noise": ("noise, z ~ N(0, I)", "#4D4D4D", "^"),
    "noise_images": ("noise images", "#CC79A7", "v"),
}
NULLS = {"unseen": ("unseen test images", "#0072B2", "s"), "noise": ("noise images", "#4D4D4D", "^")}
Line = tuple[str, str, str, tuple[str, ...]]
"""Label, colour, mark, and the keys under which the value stands in a record."""


def training_figure(records: Mapping[str, dict[str, Any]], title: str) -> Figure:
    """Every measure against the checkpoint, with 95 % intervals where there are any."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 7), layout="constrained")
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
        "starts that end apart (cosine)": [(*KINDS[kind], ("distinct", kind, "cosine")) for kind in KINDS],
        "mem(z*), and its null levels": [
            ("attractors", "#D55E00", "o", ("mem",)),
            *((*NULLS[null], ("nulls", null)) for null in NULLS),
        ],
        "squared error": [(*KINDS[kind], (f"{kind}_error",)) for kind in ("train", "test")],
        "Chamfer cosine with training attractors": [(*KINDS[kind], ("chamfer", kind)) for kind in others],
        "FPR95 of noise (lower: told apart)": [
            (f"{KINDS[noise][0]} | {inside}", KINDS[noise][1], mark, ("separation", noise, f"fpr95_{inside}"))
            for noise in ("noise", "noise_images")
            for inside, mark in (("train", "o"), ("test", "s"))
        ],
        "spectral norm of J, mean": [(*KINDS[kind], ("spectral_norm", kind)) for kind in KINDS],
    }


def number_at(record: dict[str, Any], path: tuple[str, ...]) -> tuple[float, float, float] | None:
    """The number that stands under these keys, with the ends of its interval; None where nothing was measured."""
    return _number(_at(record, path))


def _at(record: dict[str, Any], path: tuple[str, ...]) -> Any:
    """What stands under these keys; None where nothing was measured."""
    found: Any = record
    for key in path:
        found = None if found is None else found[key]
    return found


def _draw(axes: Axes, records: Sequence[dict[str, Any]], line: Line) -> None:
    label, colour, mark, path = line
    found = [number_at(record, path) for record in records]
    points = [(place, value) for place, value in enumerate(found) if value is not None]
    if not points:
        return
    x = [place for place, _ in points]
    y, low, high = zip(*(value for _, value in points), strict=True)
    bars = [[a - b for a, b in zip(y, low, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
    axes.errorbar(
        x, y, yerr=np.maximum(bars, 0), label=label, color=colour, marker=mark, markersize=4, lw=1.4, capsize=2
    )


def _number(value: Any) -> tuple[float, float, float] | None:
    """A mean with the ends of its interval; a bare number has none."""
    if isinstance(value, dict):
        low, high = value["ci95"] or (value["mean"], value["mean"])
        return (value["mean"], low, high)
    return None if value is None else (value, value, value)


def film_strip(images: NDArray[np.uint8], films: Mapping[str, NDArray[np.uint8]]) -> Figure:
    """Where the same training starts end, decoded, a row for each checkpoint; above them the images themselves.

    Args:
        images: of the starts, (n, c, s, s). films: likewise for each checkpoint.
    """
    rows = {"training\nimage": images, **films}
    grid = np.stack(
        [np.broadcast_to(row, (len(row), 3, *row.shape[2:])).transpose(0, 2, 3, 1) for row in rows.values()]
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.8 * len(images) + 1.6, 0.8 * len(rows) + 0.5), layout="constrained")
        axes = figure.subplots()
        size = mosaic(axes, grid)
        axes.set_yticks([(row + 0.5) * size for row in range(len(rows))], list(rows))
        axes.set_title("D(z*) of where these images' latents end", loc="left", fontsize=9)
    return figure


def training_table(records: Mapping[str, dict[str, Any]]) -> str:
    """A Markdown table, a row for each checkpoint."""
    lines = [
        "| checkpoint | end apart: train / test / noise | mem | null: unseen | test error | Chamfer: noise "
        "| FPR95: noise | norm of J: test / noise |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, record in records.items():
        norms = record["spectral_norm"]
        cells = [
            " / ".join(f"{record['distinct'][kind]['cosine']['mean']:.2f}" for kind in ("train", "test", "noise")),
            *(_cell(value) for value in (record["mem"], record["nulls"]["unseen"], record["test_error"])),
            _cell(record["chamfer"]["noise"]),
            _cell(_at(record, ("separation", "noise", "fpr95_train"))),
            " / ".join(_cell(norms[kind]) for kind in ("test", "noise")),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    found = _number(value)
    if found is None:
        return "-"
    mean, low, high = found
    return f"{mean:.3g}" if low == high else f"{mean:.3g} [{low:.3g}, {high:.3g}]"
