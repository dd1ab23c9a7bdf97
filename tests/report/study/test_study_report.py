"""The study's report: its rules against scipy and closed forms, and the files from results made up to show a trend."""

import json
import math
import re

import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from probe.errors import UserError
from probe.report.study import study_table, write_study_report
from probe.report.study.memorization import null
from probe.report.study.schema import StudyReport
from probe.report.study.verdicts import difference_interval, spearman_interval
from probe.results.files import write_tensors
from probe.studies.sweeps.kinds import parse_study_config

pytestmark = pytest.mark.usefixtures("undrawn")

KS, SEEDS = (2, 8, 32), (0, 1)


def test_the_interval_of_a_rank_correlation():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    pairs = list(zip(x, x + rng.normal(size=200), strict=True))
    rho, (low, high) = spearman_interval(pairs)
    assert rho == pytest.approx(stats.spearmanr(*zip(*pairs, strict=True)).statistic)
    # scipy's bootstrap of the same statistic: both have an error of about a tenth of the interval's width.
    x, y = (np.array(values) for values in zip(*pairs, strict=True))
    boot = stats.bootstrap(
        (x, y), lambda a, b: stats.spearmanr(a, b).statistic, paired=True, vectorized=False, n_resamples=500, rng=0
    ).confidence_interval
    assert (low, high) == pytest.approx((boot.low, boot.high), abs=0.05)


def test_a_perfect_order_of_few_models_proves_little():
    def interval(n):
        return spearman_interval([(i, -i) for i in range(n)])

    assert interval(4) == (-1.0, None)
    assert interval(5)[1][0] == pytest.approx(-1)  # the interval holds what it is about
    assert interval(5)[1][1] < 0  # probability 1/120 by chance
    assert interval(5)[1][1] > interval(8)[1][1] > interval(30)[1][1] > -1
    assert spearman_interval([(i, 3.0) for i in range(9)]) == (None, None)
    assert spearman_interval([]) == (None, None)


def test_the_interval_of_a_difference_is_that_of_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 1, 80), rng.normal(0.5, 2, 120)
    difference, (low, high) = difference_interval([(a, b)])
    assert difference == pytest.approx(a.mean() - b.mean())
    boot = stats.bootstrap(
        (a, b), lambda a, b, axis: a.mean(axis) - b.mean(axis), method="percentile", n_resamples=9999, rng=0
    ).confidence_interval
    assert (low, high) == pytest.approx((boot.low, boot.high), abs=0.05)  # 2000 resamples: an end errs by 4 % of 0.85


def test_seeds_that_disagree_widen_the_interval():
    one = np.full(50, 0.9)
    null_level = np.full(50, 0.5)
    _, agreed = difference_interval([(one, null_level)] * 4)
    assert agreed == pytest.approx((0.4, 0.4))
    _, apart = difference_interval([(one, null_level), (one - 0.8, null_level)])
    assert apart == pytest.approx((-0.4, 0.4))
    # Independent draws of two seeds narrow the interval by sqrt(2), also where a seed is drawn twice it does not count
    # as one: the spread over resamples of seeds that are alike is that of twice the images.
    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    _, single = difference_interval([(a, null_level)])
    _, double = difference_interval([(a, null_level)] * 2)
    assert (single[1] - single[0]) / (double[1] - double[0]) == pytest.approx(math.sqrt(2), rel=0.1)


def test_a_null_claim_is_about_the_smallest_value_and_tells_the_others():
    high, low, none = np.full(9, 0.9), np.full(9, 0.3), np.empty(0)
    claim = null("null_test", "k", {8: [(low, high)], 2: [(high, low)], 32: [(none, low)]})
    assert claim.result == "holds"
    assert claim.by_value == {"2": "holds", "8": "does not hold", "32": "undecided"}
    assert claim.claim == "at k = 2, mem of the attractors exceeds that of unseen test images"


@pytest.fixture
def study(tmp_path):
    """A study whose mem and test error fall with k, and whose rank does not change."""
    settings = {
        "study": "bottleneck",
        "datasets": {"made-up": {"train": {"source": "folder:<a>|b", "n": 40}, "test": 8, "side": 28}},
        "k": list(KS),
        "seeds": list(SEEDS),
    }
    config = parse_study_config(settings)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    source = {"n_used": 40, "source": {"source": "folder:<a>|b"}}
    data = {"made-up": {"train": source, "test": source, "channels": 1, "side": 28, "sha256": "00"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"command": "probe study <x>", "data": data}))
    for i, k in enumerate(KS):
        for seed in SEEDS:
            write_cell(tmp_path, k, seed, i)
    return tmp_path


def write_cell(folder, k, seed, i):
    mem, level = torch.full((5,), 0.9 - 0.2 * i + 0.01 * seed), torch.full((7,), 0.6)
    tensors = {f"null_{name}": level.clone() for name in ("test", "reconstructed", "mean", "noise", "untrained")}
    tensors |= {"mem": mem, "gallery": torch.full((3 - i, 1, 28, 28), 40 * i, dtype=torch.uint8)}
    values = {
        **{"dataset": "made-up", "k": k, "size": 40, "seed": seed, "epochs": 2, "loss": [0.2, 0.1 / k], "starts": 10},
        **{"outcomes": {"converged": 10 - 3 * i, "cycle": 0, "max_steps": 3 * i, "diverged": 0}, "steps": 40.0 * k},
        **{"steps_converged": 30.0, "distinct_cosine": 2, "distinct_euclidean": 5, "examined": 4, "certified": 3},
        **{"not_attractors": 1, "undecided": 0, "mem": float(mem[0]), "mem_certified": None, "rank": 2},
        **{name: 0.6 for name in tensors if name.startswith("null")},
        **{"test_error": 0.1 / k + 0.001 * seed, "train_error": 0.05 / k},
    }
    write_tensors(folder / "cells" / f"{k}-{seed}.safetensors", tensors, {"model": values})


FILES = [f"cells/{k}-{seed}.safetensors" for k in KS for seed in SEEDS]


def test_the_report_says_what_the_results_are(study):
    content = write_study_report(study, FILES)
    assert content == json.loads((study / "report" / "report.json").read_text())
    report = StudyReport.model_validate(content)
    data = report.datasets["made-up"]
    assert [point.value for point in data.points] == list(KS)
    mem = data.points[0].columns["mem"]
    assert (mem.mean, mem.std, mem.n) == (pytest.approx(0.905), pytest.approx(0.01 / math.sqrt(2), rel=1e-4), 2)
    assert data.points[0].columns["mem_certified"].mean is None
    assert data.points[1].columns["share_converged"].mean == pytest.approx(0.7)
    assert data.points[1].columns["share_certified"].mean == pytest.approx(0.75)
    results = {claim.name: claim.result for claim in data.claims}
    assert results["mem"] == results["test_error"] == "holds"
    assert results["rank"] == results["distinct_euclidean"] == "undecided"
    (above,) = (claim for claim in data.claims if claim.name == "null_noise")
    assert above.by_value == {"2": "holds", "8": "holds", "32": "does not hold"}
    assert above.statistic == pytest.approx(0.305)
    assert data.padded_to == 32
    assert any("padded with black to 32" in warning for warning in report.warnings)
    assert any("in 2 of 6 models less than half of the starts converged" in warning for warning in report.warnings)


def test_a_trend_the_other_way_does_not_hold(study):
    for i, k in enumerate(reversed(KS)):
        for seed in SEEDS:
            write_cell(study, k, seed, i)
    claims = write_study_report(study, FILES)["datasets"]["made-up"]["claims"]
    assert next(claim for claim in claims if claim["name"] == "mem")["result"] == "does not hold"


def test_all_renderings_are_there_and_user_text_is_no_markup(study):
    content = write_study_report(study, FILES)
    folder = study / "report"
    names = {"made-up", "made-up_attractors", "made-up_loss"}
    figures = sorted(path.name for path in (folder / "figures").iterdir())
    assert figures == sorted(f"{name}.{kind}" for name in names for kind in ("png", "svg"))
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert "<a>" not in page
    assert "&lt;a&gt;|b" in page
    assert page.count("data:image/svg+xml") == 3
    assert "http" not in re.sub("http-equiv|http://www.w3.org|https://matplotlib.org", "", page)
    assert all(f"(figures/{name}.png)" in text for name in names)
    assert "| 2 | 0.905 ± 0.007 |" in text
    assert study_table(content)["made-up"].row_count == 3
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_study_report(study, FILES)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_missing_or_damaged_result_is_named(study):
    (study / FILES[2]).write_bytes(b"x")
    with pytest.raises(UserError, match=r"8-0.safetensors cannot be read .*; delete it and rerun `probe study"):
        write_study_report(study, FILES)
