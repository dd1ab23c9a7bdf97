"""The picture of ratios and the decomposition: everything is where its number belongs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from probe.methods import methods
from probe.report.figures.forest import decomposition, forest
from probe.report.run.build import build_report
from probe.report.run.forest import COLOURS, compared, forests, span, stacked, stacks, tally, ticks
from probe.report.run.schema import Contrast, ControlComparison, Decomposition, Mean, Report

Make = Callable[..., Path]


def comparison(to: str, ratio: float | None, ends: tuple[float, float] | None, result: str) -> ControlComparison:
    none = Contrast(mean=None, ci95=None)
    found = Contrast(mean=ratio, ci95=ends, simultaneous=ends)
    return ControlComparison(
        to=to, metric="latent_mse", attractors=1, other=2, difference=none, ratio=found, result=result
    )


@pytest.fixture
def report(make_run: Make) -> Report:
    """Two data sets: four times better than the random bases and level with the DCT; and without an interval."""
    made = Report.model_validate(build_report(make_run()))
    first = made.datasets["photos"]
    first.decomposition = None
    second = first.model_copy(deep=True)
    first.comparisons = [
        comparison("pca_oracle", 2.0, (1.5, 3.0), "loses"),
        comparison("random_orthogonal", 0.25, (0.2, 0.3), "beats"),
        comparison("dct", 1.0, (0.5, 2.0), "no difference seen"),
    ]
    second.comparisons = [
        comparison("random_orthogonal", 40.0, (30.0, 50.0), "loses"),
        comparison("dct", None, None, "no interval"),
    ]
    made.datasets = {"a": first, "b": second}
    return made


def test_marks_are_where_their_ratios_are_on_a_log_axis(report: Report):
    (one,) = forests(report)  # no comparison by pixel MSE
    assert [panel.method for panel in one.panels] == ["random_orthogonal", "dct", "pca_oracle"]  # oracles last
    assert [panel.oracle for panel in one.panels] == [False, False, True]
    assert span(compared(report, "latent_mse")) == (pytest.approx(0.2 / 1.05), 10)
    random, dct, oracle = one.panels
    at = dict(zip([text for _, text in one.ticks], [place for place, _ in one.ticks], strict=True))
    assert dct.marks[0].dot == pytest.approx(at["1"])
    assert dct.marks[0].bar == pytest.approx((at["0.5"], at["2"] - at["0.5"]))
    assert random.marks[0].bar[0] == pytest.approx(at["0.2"])
    assert oracle.marks[0].dot == pytest.approx(at["2"])
    assert random.marks[1].dot == pytest.approx(100)  # beyond the axis: at its end
    assert (dct.marks[1].dot, dct.marks[1].bar, dct.marks[1].value) == (None, None, "-")
    assert [mark.kind for panel in one.panels for mark in panel.marks] == ["beats", "loses", "none", "none", "loses"]
    assert random.marks[0].said == "a: 1.00 / 2.00 = 0.250 [0.200, 0.300], beats"


def test_tallies(report: Report):
    (one,) = forests(report)
    assert [panel.note for panel in one.panels] == [
        "beaten on 1 of 2, wins on 1", "beaten on 0 of 2", "oracle, does not compete",
    ]  # fmt: skip
    assert tally("dct", report.datasets["a"].comparisons[2:]) == "no difference seen"


def test_ticks():
    assert ticks(0.15, 4) == [0.2, 0.5, 1, 2]
    assert ticks(0.75, 1.15) == [0.8, 0.9, 1, 1.1]


def test_pieces_of_a_stack_are_in_a_row_on_both_sides_of_zero():
    assert stacked([0.2, -0.1, 0.3, -0.2]) == pytest.approx([0, -0.1, 0.2, -0.3])


def parts(mean: float, covariance: float, atoms: float) -> Decomposition:
    def about(value: float) -> Mean:
        return Mean(mean=value, ci95=(value - 0.01, value + 0.01))

    total = about(mean + covariance + atoms)
    return Decomposition(
        total=total, mean=about(mean), covariance=about(covariance), atoms=about(atoms), sentence="so much"
    )


def test_the_decomposition_is_drawn_on_one_scale(report: Report):
    assert stacks(report) == []  # a run of an older version
    report.datasets["a"].decomposition = parts(0.2, 0.1, 0.1)
    report.datasets["b"].decomposition = parts(0.1, 0.05, -0.1)
    one, other = stacks(report)
    scale = 100 / (0.41 + 0.1)  # the interval of the larger total, and the part below 0
    assert one.zero == other.zero == pytest.approx(0.1 * scale)
    assert [part.width for part in one.parts] == pytest.approx([0.2 * scale, 0.1 * scale, 0.1 * scale])
    assert [part.left for part in other.parts] == pytest.approx([0.1 * scale, 0.2 * scale, 0])
    assert (one.total, other.total) == pytest.approx((0.5 * scale, 0.15 * scale))
    assert (one.value, other.value) == ("40 %", "5 %")
    assert other.parts[2].said == "the end points themselves: -0.100 [-0.110, -0.090]"
    drawn = decomposition(report).axes[0]
    bars = [(bar.get_x(), bar.get_width()) for bar in drawn.patches]
    expected = [(0, 20), (20, 10), (30, 10), (0, 10), (10, 5), (-10, 10)]
    np.testing.assert_allclose(bars, expected, atol=1e-9)
    assert [text.get_text() for text in drawn.get_yticklabels()] == ["a", "b"]


def test_a_decomposition_without_numbers_is_not_drawn(report: Report):
    found = parts(0.2, 0.1, 0.1)
    found.mean = Mean(mean=None, ci95=None)
    report.datasets["a"].decomposition = found
    assert stacks(report) == []


def test_the_figure_for_print_has_a_panel_for_each_control(report: Report):
    panels = [axes for axes in forest(report, "latent_mse").axes if axes.axison]
    assert [axes.get_title(loc="left").split("\n")[0] for axes in panels] == [
        "/ random orthogonal", "/ DCT", "/ PCA (oracle)",
    ]  # fmt: skip
    drawn = {line.get_marker(): list(line.get_xdata()) for line in panels[0].get_lines() if len(line.get_xdata()) == 1}
    assert (drawn["o"], drawn["s"]) == ([0.25], [10])
    assert panels[0].get_xscale() == "log"


def test_colours_are_apart():
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert COLOURS["atoms"] == methods()["attractors"].colour
