"""How far another draw of the starts could move a report's numbers: closed forms on a run with known numbers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from probe.report.run.build import report_of
from probe.report.run.schema import Starts
from probe.report.run.write import drawings
from probe.results.run import read_results

Make = Callable[..., Path]
DRAWS = (0.98, 1.02) * 8
SD = 15**0.5 * 0.02
"""Of an error, as a share of it: sqrt(15 / 16 sum (share - 1)^2) over 16 blocks."""


def starts(run: Path) -> Starts | None:
    return report_of(read_results(run), run).datasets["photos"].starts


def test_intervals_over_draws(make_run: Make):
    found = starts(make_run(draws=DRAWS, spread=0.0))
    assert (found.n, found.blocks) == (12, 16)
    assert found.attractors.sd == pytest.approx(SD * 0.43)
    half = t.ppf(0.975, 15) * SD * 0.43 / 0.61
    ratio = 0.43 / 0.61
    assert found.ratio.over_starts == pytest.approx((ratio - half, ratio + half))
    assert found.ratio.over_both == pytest.approx(found.ratio.over_starts)  # images do not differ
    assert found.ratio.over_images == pytest.approx((ratio, ratio))
    assert found.difference.sd == pytest.approx(found.attractors.sd)  # the random bases need no starts
    shares = np.array(DRAWS)
    paired = np.sqrt(15 * np.var(0.43 * shares - 0.39 * np.sqrt(shares)))
    assert found.difference_one_step.sd == pytest.approx(paired)
    assert found.ratio_one_step.sd == pytest.approx(np.sqrt(15 * np.var(0.43 / 0.39 * np.sqrt(shares))))


def test_both_causes_add_as_squares(make_run: Make):
    found = starts(make_run(draws=DRAWS, noise_per_method=0.1)).ratio
    for side in (0, 1):
        images, draws, both = (
            found.mean - ends[side] for ends in (found.over_images, found.over_starts, found.over_both)
        )
        assert both**2 == pytest.approx(images**2 + draws**2)


def test_sizes(make_run: Make):
    found = starts(make_run(draws=DRAWS, spread=0.0))
    assert sorted(found.sizes) == ["attractors", "gaussian", "one_step"]
    assert [(one.starts, one.atoms) for one in found.sizes["attractors"]] == [(8, 8), (12, 12)]
    ratios = [one.ratio.mean for one in found.sizes["one_step"]]
    assert ratios == pytest.approx([1.5 * 0.39 / 0.61, 0.39 / 0.61])


def test_the_page_says_it(make_run: Make):
    run = make_run(draws=DRAWS)
    results = read_results(run)
    report = report_of(results, run)
    assert "photos_sizes" in drawings(report, results)
    assert "over draws of starts" in report.datasets["photos"].starts.sentence


def test_older_runs_know_nothing(make_run: Make):
    assert starts(make_run()) is None


def test_one_block_is_no_jackknife(make_run: Make):
    found = starts(make_run(draws=(1.0,)))
    assert found.ratio.over_starts is found.ratio.over_both is None
    assert "not known" in found.sentence
