"""Whatever names a figure holds, it is drawn, and they are drawn as they are."""

import re
from html import unescape

import matplotlib
import pytest
from matplotlib.figure import Figure

from probe.report.figures.drawing import STYLE, legend_name, render

NAMES = ["$x_{$", r"$\frac{$", "a$b", r"\$c$d$", "_hidden", "__", "a^b_c", "%&#~{}", "\x1b[31m\u202e"]
NAMES += ["\ud800\udcff", "<b>&"]
DRAWN = [*NAMES[:8], r"\u001b[31m\u202e", r"\ud800\udcff", "<b>&"]


def of_names(names: list[str]) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 6), layout="constrained")
        axes = figure.subplots()
        for i, name in enumerate(names):
            axes.plot([1, 2], [10.0**-i, 1], label=legend_name(name))
            axes.text(1, 1, f"text {name[:20]}")
        axes.set_yscale("log")
        axes.set_xticks(range(len(names)), [f"tick {name}" for name in names])
        axes.set_title(f"title {names[0]}\nand a line", loc="left")
        axes.set_xlabel(f"label {names[0]}")
        figure.suptitle(f"over {names[0]}")
        figure.legend(loc="outside lower center")
    return figure


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # twelve odd names are many for one figure
def test_names_are_text_and_numbers_stay_formulas():
    figure = of_names(NAMES)
    svg = unescape(render(figure, "svg").decode())
    for name in DRAWN:
        for place in ("", "text ", "tick "):
            assert f">{place}{name}</text>" in svg or f"> {place}{name}</text>" in svg, place + name
    for place in ("title", "label", "over"):
        assert f">{place} $x_{{$" in svg
    assert re.search(r"<!-- \$\\mathdefault\{10\^\{.*?\}\}\$ -->", svg)
    assert unescape(render(figure, "svg").decode()) == svg
    for kind in ("png", "pdf"):
        assert render(figure, kind)


def test_long_names_leave_room_for_the_axes():
    names = ["n" * 255, "n" * 254 + "m"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 4), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for name in names:
            axes[0].plot([1, 2], label=legend_name(name))
        axes[0].set_yticks([1, 2], names)
        axes[1].set_title(names[0])
        figure.suptitle(names[0])
        figure.legend(loc="outside lower center")
    render(figure, "png")
    assert all(one.get_position().width > 0.15 for one in axes)
    assert all(one.get_position().height > 0.5 for one in axes)
