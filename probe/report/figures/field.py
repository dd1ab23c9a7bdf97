"""The plot of a latent vector field, from the content of field.json (see ``probe.studies.field.record``)."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from probe.report.figures.drawing import STYLE, canvas, legend_name

PALETTE = 20
"""Distinct colours; they repeat for further basins."""
CLASSES = 10
"""The most classes of data that get a colour each; with more, all data have one colour."""
SMALLEST = 1e-3
"""Share of the largest norm below which norms are drawn as equal, so that fixed points do not use up the colours."""
CERTIFIED: dict[str, Any] = {"marker": "*", "color": "#D55E00", "markeredgecolor": "black", "markersize": 13}
FIXED: dict[str, Any] = {"marker": "o", "color": "white", "markeredgecolor": "black", "markersize": 7}
DATA = "#0072B2"
CROSSES = "= 1"


def field_figure(field: dict[str, Any], title: str) -> Figure:
    """The field (norm, streamlines, spectral norm 1, data) beside its basins; fixed points in both."""
    with canvas(12.4, 6.4, {**STYLE, "axes.grid": False}) as figure:
        flow, basins = figure.subplots(1, 2, sharex=True, sharey=True)
        _flow(figure, flow, field)
        _basins(basins, field)
        for axes in (flow, basins):
            _fixed_points(axes, field)
            x, y = field["sides"]
            axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal", xlabel=_name(field, 1))
        flow.set_ylabel(_name(field, 2))
        figure.legend(handles=_legend(field), loc="outside lower center", ncol=7, fontsize=9)
        figure.suptitle(f"{title}\n{_about(field)}", x=0.01, ha="left", fontsize=11)
    return figure


def _name(field: dict[str, Any], axis: int) -> str:
    return f"principal component {axis}" if field["plane"]["projection"] else f"z{axis}"


def _about(field: dict[str, Any]) -> str:
    plane = field["plane"]
    if not plane["projection"]:
        return "2-dimensional latent space: the field itself, without projection"
    return (
        f"PROJECTION of {field['d']} dimensions onto the principal plane of the {plane['of']} "
        f"({_percent(plane['variance_share'])} of their variance): "
        f"{_percent(plane['field_share'])} of the field's norm lies in it (mean over the grid)"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _flow(figure: Figure, axes: Axes, field: dict[str, Any]) -> None:
    (x, y), norm = np.asarray(field["sides"]), _numbers(field["norm"])
    largest = np.nanmax(norm) if np.isfinite(norm).any() else 0.0
    if largest > 0:
        scale = LogNorm(vmin=SMALLEST * largest, vmax=largest)
        pale = ListedColormap(matplotlib.colormaps["Blues"](np.linspace(0, 0.75, 256)))  # so that lines stay visible
        shown = np.maximum(norm, SMALLEST * largest)
        drawn = axes.pcolormesh(x, y, shown, norm=scale, cmap=pale, shading="gouraud", rasterized=True)
        figure.colorbar(drawn, ax=axes, label="||f(z) - z||", shrink=0.8, extend="min")
        u, v = np.asarray(field["u"]), np.asarray(field["v"])
        axes.streamplot(x, y, u, v, density=1.3, color="#444444", linewidth=0.6, arrowsize=0.8)
    size, side = _spectral_norm(field)
    if side == CROSSES:
        axes.contour(x, y, size, levels=[1.0], colors="black", linewidths=1.6, linestyles="--")
    if field["data"]:
        place = np.asarray(field["data"]["coordinates"])
        axes.scatter(place[:, 0], place[:, 1], c=_data_colours(field), s=9, linewidths=0, alpha=0.85, zorder=3)
    axes.set_title("field and data" if field["data"] else "field", loc="left", fontsize=11)


def _spectral_norm(field: dict[str, Any]) -> "tuple[np.ma.MaskedArray[Any, Any], str]":
    """Spectral norms on the grid, and on which side of 1 they lie."""
    size = np.ma.masked_invalid(_numbers(field["spectral_norm"]))
    if not size.count():
        return size, "is unavailable in the window"
    if size.min() < 1 < size.max():
        return size, CROSSES
    return size, f"{'<' if size.max() <= 1 else '>'} 1 in the window"


def _basins(axes: Axes, field: dict[str, Any]) -> None:
    """Grid points in the colour of the fixed point that they converge to, white if there is none."""
    basin, (x, y) = np.asarray(field["basin"]), np.asarray(field["sides"])
    colours = matplotlib.colormaps["tab20"](np.r_[0:PALETTE:2, 1:PALETTE:2])  # the dark ones, then the pale ones
    shown = np.ma.masked_less(basin, 0) % PALETTE
    axes.pcolormesh(
        x, y, shown, cmap=ListedColormap(colours), vmin=-0.5, vmax=PALETTE - 0.5, alpha=0.7, shading="nearest",
        rasterized=True,
    )  # fmt: skip
    count = len(np.unique(basin[basin >= 0]))
    again = ", colours repeat" if count > PALETTE else ""
    none = f"; {_percent(float((basin < 0).mean()))} of the grid converges to none (white)" if (basin < 0).any() else ""
    other = ", colours differ from the classes" if _classes(field) else ""
    axes.set_title(f"basins of {count} fixed point{'s' * (count != 1)}{other}{again}{none}", loc="left", fontsize=11)


def _fixed_points(axes: Axes, field: dict[str, Any]) -> None:
    for point in reversed(field["fixed_points"]):
        style = CERTIFIED if point["certificate"] == "attractor" else FIXED
        axes.plot(*point["coordinates"], linestyle="none", zorder=4, **style)


def _legend(field: dict[str, Any]) -> list[Line2D]:
    certified = [point for point in field["fixed_points"] if point["certificate"] == "attractor"]
    others = [point for point in field["fixed_points"] if point["certificate"] != "attractor"]
    kinds = [(f"certified attractor ({_counted(certified, field)})", CERTIFIED)]
    if others:
        kinds.append((f"fixed point without certificate ({_counted(others, field)})", FIXED))
    handles = [Line2D([], [], linestyle="none", label=label, **style) for label, style in kinds]
    _, side = _spectral_norm(field)
    label = f"spectral norm of J {side}"
    handles.append(Line2D([], [], color="black", linestyle="--" if side == CROSSES else "none", label=label))
    for name, colour in (_classes(field) or ({"data": DATA} if field["data"] else {})).items():
        label = legend_name(name)
        handles.append(Line2D([], [], linestyle="none", marker="o", color=colour, label=label, markersize=5))
    return handles


def _counted(points: list[dict[str, Any]], field: dict[str, Any]) -> str:
    """The number of points, and of those outside the window."""
    sides = np.asarray(field["sides"])
    low, high = sides[:, 0], sides[:, -1]
    places = np.array([point["coordinates"] for point in points], dtype=float).reshape(-1, 2)
    beyond = int(((places < low) | (places > high)).any(1).sum())
    return f"{len(points)}, {beyond} outside the window" if beyond else f"{len(points)}"


def _classes(field: dict[str, Any]) -> dict[str, Any]:
    """The colour of each class; empty if there are no classes or too many."""
    labels = (field["data"] or {}).get("labels") or []
    names = sorted({label for label in labels if label is not None})
    colours = matplotlib.colormaps["tab10"](np.arange(CLASSES))
    return dict(zip(names, colours, strict=False)) if len(names) <= CLASSES else {}


def _data_colours(field: dict[str, Any]) -> list[Any]:
    names = _classes(field)
    labels = field["data"]["labels"] or [None] * len(field["data"]["coordinates"])
    return [names.get(label, DATA) for label in labels]


def _numbers(rows: list[list[float | None]]) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64)  # None becomes NaN
