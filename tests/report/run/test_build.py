"""The numbers of report.json against what was put in."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import bootstrap, ttest_rel

from probe.methods import METHODS
from probe.metrics.interval import mean_interval
from probe.report.model import finite
from probe.report.run.build import build_report
from probe.results.files import read_table, write_table

Make = Callable[..., Path]


def photos(run: Path) -> dict:
    return build_report(run)["datasets"]["photos"]


def test_contract_keys(make_run: Make):
    report = build_report(make_run())
    assert report["schema_version"] == 3
    assert {"model", "solver", "dictionary", "datasets", "provenance", "warnings"} <= set(report)
    assert {"source", "class", "weights_sha256", "latent_shape", "d"} <= set(report["model"])
    assert {"n", "outcomes", "steps", "residual", "certificates"} <= set(report["solver"])
    assert {"atoms", "rule", "atoms_euclidean"} <= set(report["dictionary"])
    data = report["datasets"]["photos"]
    assert {"n_planned", "n_used", "autoencoder_floor", "verdict", "levels"} <= set(data)
    assert data["autoencoder_floor"]["pixel_mse"]["mean"] == pytest.approx(0.006)
    level = data["levels"][0]
    assert (level["atoms"], level["fraction"]) == (3, pytest.approx(3 / 64))
    assert list(level["methods"]) == [one.name for one in METHODS]
    ours = level["methods"]["attractors"]
    assert ours["difference"]["to"] == "random_orthogonal"
    for errors in (ours, ours["difference"]):
        for metric in ("latent_mse", "pixel_mse"):
            assert set(errors[metric]) >= {"mean", "ci95"}
    assert level["methods"]["random_orthogonal"]["difference"] is None


def test_counts(make_run: Make):
    solver = build_report(make_run())["solver"]
    assert solver["n"] == 12
    assert solver["outcomes"] == {"converged": 9, "cycle": 1, "max_steps": 1, "diverged": 1}
    assert solver["periods"] == {"2": 1}
    assert (solver["certificates"]["certified"], solver["certificates"]["undecided"]) == (3, 1)
    assert solver["steps"]["max"] == 500


def test_diversity_in_a_sentence(make_run: Make):
    report = build_report(make_run(vendi={"n": 5, "atoms": 2.5, "gaussian": 4.87}))
    said = "How different the atoms are: Vendi score 2.50, on a scale from 1 (all point the same way) to 5 (no two have"
    assert any(sentence.startswith(said) and "4.87" in sentence for sentence in report["summary"])
    assert report["dictionary"]["vendi"]["gaussian"] == 4.87


def test_what_the_largest_basin_means_is_said(make_run: Make):
    assert (
        "The largest basin (the starts that end in the same point) holds 4 of 11 starts, 36.4 %."
        in (build_report(make_run())["summary"])
    )


def test_without_a_shared_end_point_basins_say_nothing(make_run: Make):
    summary = build_report(make_run(basin=[1] * 12, certificate=[1] * 12, outcome=[0] * 12))["summary"]
    assert any(one.startswith("No two of these 12 starts share an end point") for one in summary)
    assert not any("largest basin" in one for one in summary)


def test_atoms_that_were_not_examined_are_told_from_undecided_ones(make_run: Make):
    report = build_report(make_run(certificate=[1, 0, -1, -1, -1], undecided=1))
    kinds = [atom["certificate"] for atom in report["gallery"]]
    assert kinds == ["attractor", "not an attractor", "undecided", "not examined", "not examined"]
    assert report["solver"]["certificates"]["unexamined"] == 2
    assert any("1 undecided, 2 not examined" in sentence for sentence in report["summary"])


def test_means_are_the_rows_means(make_run: Make):
    run = make_run(noise_per_method=0.02)
    rows = pq.read_table(run / "reconstructions" / "photos.parquet").to_pandas()
    # Of several bases the mean, image by image.
    rows = rows.groupby(["method", "atoms", "image"], as_index=False)[["latent_mse", "pixel_mse"]].mean()
    for level in photos(run)["levels"]:
        for method, errors in level["methods"].items():
            chosen = rows[(rows["method"] == method) & (rows["atoms"] == level["atoms"])].sort_values("image")
            for metric in ("latent_mse", "pixel_mse"):
                expected = mean_interval(chosen[metric])
                # The same sums in another order: a few roundings of 2^-53.
                assert errors[metric]["mean"] == pytest.approx(expected.mean, abs=1e-14)
                assert errors[metric]["ci95"] == pytest.approx(expected[1:], abs=1e-14)


def test_difference_is_paired_by_image_not_by_row(make_run: Make):
    # Every method shares one noise per image, so the paired difference is a constant and its interval a point; rows
    # are shuffled in the file, so pairing by row would leave an interval as wide as the noise.
    difference = photos(make_run(spread=0.3))["levels"][0]["methods"]["attractors"]["difference"]["latent_mse"]
    assert difference["mean"] == pytest.approx(-0.18, abs=1e-12)
    assert difference["ci95"] == pytest.approx([-0.18, -0.18], abs=1e-12)


def test_ratios_are_scipys(make_run: Make):
    run = make_run(noise_per_method=0.1, n_images=40, planned=40)
    rows = pq.read_table(run / "reconstructions" / "photos.parquet").to_pandas()
    rows = rows[rows.atoms == 6].groupby(["method", "image"]).latent_mse.mean()
    ours = photos(run)["levels"][1]["methods"]["attractors"]
    for against in (ours["difference"], ours["difference_strongest"]):
        a, b = (rows[name].sort_index().to_numpy() for name in ("attractors", against["to"]))
        theirs = bootstrap(
            (a, b), lambda x, y, axis: x.mean(axis) / y.mean(axis), paired=True, n_resamples=10_000,
            method="percentile", rng=np.random.default_rng(1),
        )  # fmt: skip
        found = against["latent_ratio"]
        assert found["mean"] == pytest.approx(a.mean() / b.mean())
        # The Monte Carlo error of a 2.5 % quantile of 10,000 draws is about 3 % of the standard error.
        assert found["ci95"] == pytest.approx(list(theirs.confidence_interval), abs=0.15 * theirs.standard_error)
    assert ours["difference_strongest"]["to"] == photos(run)["levels"][1]["strongest"] == "one_step"


def test_simultaneous_intervals_are_those_of_a_t_test_at_an_eighteenth_of_the_error(make_run: Make):
    """One data set makes eighteen comparisons: with nine controls, by latent and by pixel MSE."""
    run = make_run(noise_per_method=0.1)
    report = build_report(run)
    assert report["provenance"]["statistics"]["comparisons"] == 18
    assert "m = 18" in report["verdict_rule"]
    rows = pq.read_table(run / "reconstructions" / "photos.parquet").to_pandas()
    rows = rows[rows.atoms == 3].groupby(["method", "image"]).latent_mse.mean()
    a, b = rows["attractors"], rows["random_orthogonal"]
    found = report["datasets"]["photos"]["levels"][0]["methods"]["attractors"]["difference"]["latent_mse"]
    assert found["simultaneous"] == pytest.approx(list(ttest_rel(a, b).confidence_interval(1 - 0.05 / 18)))
    assert found["simultaneous"][0] < found["ci95"][0] < found["ci95"][1] < found["simultaneous"][1]


def test_spread_of_random_bases(make_run: Make):
    at = photos(make_run(bases=(-0.03, 0.0, 0.03), spread=0.0))["levels"][0]["methods"]
    assert at["random_orthogonal"]["latent_mse"]["mean"] == pytest.approx(0.61)
    assert at["random_orthogonal"]["bases"]["latent_mse"] == pytest.approx(
        {"n": 3, "min": 0.58, "max": 0.64, "sd": 0.03}
    )
    assert at["dct"]["bases"] is None


def test_one_random_basis_has_no_spread(make_run: Make):
    one = photos(make_run(bases=(0.0,)))["levels"][0]["methods"]["random_orthogonal"]["bases"]
    assert (one["pixel_mse"]["n"], one["pixel_mse"]["sd"]) == (1, None)


def test_a_basis_that_is_not_finite_is_not_averaged_away(make_run: Make):
    run = make_run()
    path = run / "reconstructions" / "photos.parquet"
    rows, about = read_table(path)
    rows.loc[(rows.method == "random_orthogonal") & (rows.basis == 1) & (rows.image == 3), "latent_mse"] = np.nan
    del about["sha256"]
    write_table(path, rows, about)
    data = photos(run)
    assert data["levels"][0]["methods"]["random_orthogonal"]["latent_mse"]["mean"] is None
    assert data["verdict"].startswith("no verdict on end points against the random orthogonal basis")


def test_sanity_rows(make_run: Make):
    found = photos(make_run(spread=0.0))["sanity"]
    assert found["zero_code"]["latent_mse"]["mean"] == pytest.approx(1.2)
    assert found["mean_image"]["pixel_mse"]["mean"] == pytest.approx(0.08)
    assert found["mean_image"]["explanation"] == "x' is the mean of the 20 held-out images for every image, z' = E(x')"
    assert found["mean_image"]["attractors_ratio"]["mean"] == pytest.approx(0.043 / 0.08)
    assert found["zero_code"]["autoencoder_ratio"]["mean"] == pytest.approx(0.006 / 0.09)


def test_errors_relative_to_the_floor(make_run: Make):
    at = photos(make_run(spread=0.0))["levels"][0]["methods"]
    assert at["attractors"]["floor_ratio"]["mean"] == pytest.approx(0.043 / 0.006)
    assert at["attractors"]["floor_ratio"]["ci95"] == pytest.approx([0.043 / 0.006] * 2)


def test_a_control_without_error_gives_no_ratio(make_run: Make):
    at = photos(make_run(means={"attractors": 0.4, "random_orthogonal": 0.0}, bases=(0.0,), spread=0.0))["levels"][0]
    difference = at["methods"]["attractors"]["difference"]
    assert difference["latent_ratio"] == {"mean": None, "ci95": None, "simultaneous": None}
    assert difference["latent_mse"]["mean"] == pytest.approx(0.4)


def test_diverged_residual_is_null_and_counted(make_run: Make):
    report = build_report(make_run())
    residual = report["solver"]["residual"]
    assert residual["non_finite"] == 1
    assert residual["by_outcome"]["diverged"]["max"] is None
    json.dumps(report, allow_nan=False)


def test_all_starts_diverged(make_run: Make):
    report = build_report(make_run(outcome=[3] * 4, basin=[], certificate=[], means={"dct": 0.4}))
    assert report["solver"]["residual"]["median"] is None
    assert report["dictionary"]["largest_basin"] is None
    assert any("dictionary is empty" in warning for warning in report["warnings"])


def test_an_exact_search_is_no_warning(make_run: Make):
    good = build_report(make_run())
    assert (good["dictionary"]["index"], good["dictionary"]["recall"]) == ("exact", 1.0)
    assert not any("approximate" in warning for warning in good["warnings"])


@pytest.mark.parametrize(("recall", "warned"), [(0.995, False), (0.973, True)])
def test_a_poor_recall_is_a_warning(make_run: Make, recall: float, warned: bool):
    report = build_report(make_run(recall=recall))
    assert (report["dictionary"]["index"], report["dictionary"]["recall"]) == ("approximate", recall)
    stated = "found 97.3 % of the near pairs of 400 sampled points (95 % interval 95.2 to 98.5 %)"
    assert any(stated in warning for warning in report["warnings"]) == warned


def test_one_image(make_run: Make):
    data = photos(make_run(n_images=1, planned=1))
    assert data["levels"][0]["methods"]["attractors"]["latent_mse"]["ci95"] is None
    assert data["verdict"].startswith("too few images for a verdict")


def test_missing_method(make_run: Make):
    reason = "no held-out images"
    means = {"attractors": 0.4, "random_orthogonal": 0.6}
    data = photos(make_run(means=means, absent={"pca_oracle": reason}))
    assert data["absent"]["pca_oracle"] == reason
    assert data["absent"]["dct"] == "no rows in the results"
    assert set(data["levels"][0]["methods"]) == set(means)


def test_non_finite_error_stays_in_its_column(make_run: Make):
    report = build_report(make_run(poison=float("inf")))
    methods = report["datasets"]["photos"]["levels"][0]["methods"]
    assert methods["attractors"]["latent_mse"] == {"mean": None, "ci95": None}
    assert methods["random_orthogonal"]["latent_mse"]["ci95"] is not None
    assert any("not finite" in warning for warning in report["warnings"])


def test_finite():
    assert finite({"a": [float("nan"), 1.0], "b": np.float32("inf")}) == {"a": [None, 1.0], "b": None}


def test_pure_reading(make_run: Make):
    run = make_run()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    build_report(run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
