"""The verdict's rule in each branch, and each warning."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from probe.report.run.build import build_report
from probe.report.run.schema import Contrast, ControlComparison
from probe.report.run.verdict import against_bases, headline, result
from probe.results.files import read_table, write_table

Make = Callable[..., Path]
BASE = {"attractors": 0.43, "random_orthogonal": 0.61, "one_step": 0.39, "gaussian": 0.65, "dct": 0.45}


def verdict(run: Path, metric: str = "latent_mse") -> str:
    sentence: str = build_report(run)["datasets"]["photos"]["verdicts"][metric]
    return sentence


@pytest.mark.parametrize(
    ("ci95", "expected"),
    [
        ((-0.2, -0.1), "beats"),
        ((0.1, 0.2), "loses"),
        ((-0.1, 0.1), "no difference seen"),
        ((-0.1, 0.0), "no difference seen"),
        ((0.0, 0.1), "no difference seen"),
        (None, "no interval"),
    ],
)
def test_rule(ci95: tuple[float, float] | None, expected: str):
    assert result(0.0, ci95, 10) == expected
    assert result(0.0, ci95, 9) == "too few images"


@pytest.mark.parametrize(
    ("together", "singles", "expected"),
    [
        ("beats", [(-0.2, -0.1)] * 5, ("beats", 5)),
        ("beats", [(-0.2, -0.1)] * 4 + [(-0.2, 0.1)], ("no difference seen", 4)),
        ("loses", [(0.1, 0.2)] * 5, ("loses", 0)),
        ("loses", [(0.1, 0.2)] * 4 + [(-0.2, -0.1)], ("no difference seen", 1)),
        ("no difference seen", [(-0.2, -0.1), (0.1, 0.2)], ("no difference seen", 1)),
        ("beats", [(-0.2, -0.1), None], ("no difference seen", 1)),
    ],
)
def test_each_single_basis_must_be_beaten(together: str, singles: list, expected: tuple[str, int]):
    assert against_bases(together, singles) == expected


def test_a_basis_that_is_not_beaten_takes_the_verdict(make_run: Make):
    """On the mean 0.43 is below 0.45, but the first of two bases has 0.41."""
    sentence = verdict(make_run(means=BASE | {"random_orthogonal": 0.45}, bases=(-0.04, 0.04), spread=0.0))
    assert sentence.startswith(
        "no difference is seen between end points and the random orthogonal basis (latent MSE with 3 atoms "
        "0.430 against 0.450, "
        "ratio 0.956 [0.956, 0.956], 1 of 2 bases beaten)"
    )


def test_a_basis_that_is_not_better_takes_the_verdict_too(make_run: Make):
    """On the mean 0.43 is above 0.41, but the second of two bases has 0.43, too; the interval is that of the mean."""
    sentence = verdict(make_run(means=BASE | {"random_orthogonal": 0.41}, bases=(-0.02, 0.02), spread=0.0))
    assert sentence.startswith("no difference is seen between end points and the random orthogonal basis (")
    assert "ratio 1.05 [1.05, 1.05] to the mean of 2 bases, but not every basis is seen to be better)" in sentence


def test_beats_base_but_not_one_step(make_run: Make):
    run = make_run(means=BASE, spread=0.0)
    assert verdict(run) == (
        "end points beat the random orthogonal basis (latent MSE with 3 atoms 0.430 against 0.610, "
        "ratio 0.705 [0.705, 0.705]) but not one step from noise (0.390, ratio 1.10 [1.10, 1.10])"
    )
    assert verdict(run, "pixel_mse") == (
        "end points beat the random orthogonal basis (pixel MSE with 3 atoms 0.0430 against 0.0610, "
        "ratio 0.705 [0.705, 0.705]) but not one step from noise (0.0390, ratio 1.10 [1.10, 1.10])"
    )


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.1, "end points lose to the random orthogonal basis"), (0.0, "no difference is seen")]
)
def test_latents_and_pixels_may_disagree(make_run: Make, shift: float, expected: str):
    run = make_run(means=BASE)
    file = run / "reconstructions" / "photos.parquet"
    rows, about = read_table(file)
    base = rows[rows.method == "random_orthogonal"].groupby(["image", "atoms"]).pixel_mse.mean()
    own = rows.method == "attractors"
    keys = pd.MultiIndex.from_frame(rows.loc[own, ["image", "atoms"]])
    rows.loc[own, "pixel_mse"] = base.loc[keys].to_numpy() + shift
    del about["sha256"]
    write_table(file, rows, about)
    assert verdict(run).startswith("end points beat the random orthogonal basis")
    assert verdict(run, "pixel_mse").startswith(expected)


def against(**results: str) -> list[ControlComparison]:
    """Comparisons of one data set, by control."""
    none = Contrast(mean=None, ci95=None)
    of = {"metric": "latent_mse", "attractors": 1, "other": 1, "difference": none, "ratio": none}
    return [ControlComparison(to=to, result=result, **of) for to, result in results.items()]


SAME = "no difference seen"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            [against(random_orthogonal="beats", dct="loses", one_step="beats", pca_oracle="loses")] * 5
            + [against(random_orthogonal=SAME, dct="loses", one_step="beats", pca_oracle="loses")],
            "the end points beat the random orthogonal basis on 5 of 6 data sets, and the 2-D DCT, the hardest control "
            "to beat, on none of 6 data sets (and lose on all).",
        ),
        (
            [against(random_orthogonal="loses", dct="beats")] * 2 + [against(random_orthogonal=SAME, dct="beats")],
            "the end points beat the random orthogonal basis on none of 3 data sets (and lose on 2), and the 2-D "
            "DCT, the hardest control to beat, on all 3 data sets.",
        ),
        (
            [against(random_orthogonal="beats", dct="beats", pca_oracle="loses")] * 3,
            "the end points beat all 2 controls on all 3 data sets.",
        ),
        (
            [against(random_orthogonal="beats", dct=SAME)],
            "the end points beat the random orthogonal basis, and are not seen to differ from the 2-D DCT, the hardest "
            "control to beat.",
        ),
        ([against(random_orthogonal="too few images")] * 2, "there is no verdict: too few images."),
        ([against(pca_oracle="loses")], "there is no verdict: there is nothing to compare the end points with."),
    ],
)
def test_headline(found: list[list[ControlComparison]], expected: str):
    assert headline("end points", "latent_mse", found) == f"By latent MSE, {expected}"


def test_every_control_is_compared_by_both_metrics(make_run: Make):
    """An oracle, too; intervals hold for all comparisons, and the ratio's includes 1 when the difference's has 0."""
    report = build_report(make_run(noise_per_method=0.05))
    found = report["datasets"]["photos"]["comparisons"]
    names = [name for name in report["datasets"]["photos"]["levels"][0]["methods"] if name != "attractors"]
    assert {"random_orthogonal", "dct", "pca_oracle"} <= set(names)
    assert [(one["metric"], one["to"]) for one in found] == [
        (m, name) for m in ("latent_mse", "pixel_mse") for name in names
    ]
    for one in found:
        low, high = one["ratio"]["simultaneous"]
        sign = {"beats": high < 1, "loses": low > 1, "no difference seen": low <= 1 <= high}
        assert sign[one["result"]], one
    assert "PCA" not in report["headline"]["latent_mse"]


def test_beats_both(make_run: Make):
    sentence = verdict(make_run(means=BASE | {"attractors": 0.3}))
    assert "end points beat the random orthogonal basis" in sentence
    assert " and the strongest other control, one step from noise (0.39" in sentence


def test_strongest_control_leaves_the_oracle_out(make_run: Make):
    sentence = verdict(make_run(means=BASE | {"dct": 0.35, "pca_oracle": 0.1}))
    assert "but not the 2-D DCT (0.35" in sentence
    assert "PCA" not in sentence


def test_loses(make_run: Make):
    sentence = verdict(make_run(means=BASE | {"attractors": 0.7}))
    assert sentence.startswith("end points lose to the random orthogonal basis")
    assert "and they lose to one step from noise" in sentence


def test_no_difference(make_run: Make):
    means = BASE | {"attractors": 0.61, "one_step": 0.61}
    sentence = verdict(make_run(means=means, noise_per_method=0.05, n_images=30))
    assert sentence.startswith("no difference is seen between end points and the random orthogonal basis")
    assert "ratio 0.986 [0." in sentence


def test_beats_base_with_no_difference_from_control(make_run: Make):
    means = {"attractors": 0.4, "random_orthogonal": 0.9, "one_step": 0.4}
    sentence = verdict(make_run(means=means, noise_per_method=0.05, n_images=30))
    assert "but no difference is seen from one step from noise" in sentence


def test_loses_to_base_beats_control(make_run: Make):
    sentence = verdict(make_run(means={"attractors": 0.5, "random_orthogonal": 0.4, "gaussian": 0.6}))
    assert "lose to the random orthogonal basis" in sentence
    assert "and they beat the strongest other control, Gaussian vectors" in sentence


def test_no_baseline(make_run: Make):
    assert verdict(make_run(means={"attractors": 0.4})).startswith("no random orthogonal basis to compare with")


def test_no_dictionary(make_run: Make):
    assert verdict(make_run(means={"random_orthogonal": 0.4})).startswith("no verdict")


def test_one_image(make_run: Make):
    assert verdict(make_run(means=BASE, n_images=1, planned=1)).startswith("too few images for a verdict on end points")


def test_short_dictionary_is_said(make_run: Make):
    assert verdict(make_run(basin=[6, 5], certificate=[1, 1])).endswith(
        "no image used more than 2 of the 3 atoms allowed"
    )


def test_only_a_certified_dictionary_is_called_attractors(make_run: Make):
    report = build_report(make_run(certificate=[1] * 5))
    assert report["datasets"]["photos"]["verdict"].startswith("attractors beat")
    assert report["dictionary"]["label"] == "end points (5 of 5 certified attractors)"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"certificate": [1, 0, 0, -1, -1]},
            "Fewer than half of the 5 atoms are certified attractors (1 certified attractor, 2 not",
        ),
        ({"basin": [11], "certificate": [1]}, "The field is trivial: one basin holds 100 %"),
        (
            {"basin": [11], "certificate": [0], "outcome": [2] * 11 + [3]},
            "100 % of the starts used ended in one direction and count as one end point, although most had not",
        ),
        ({"outcome": [0] * 8 + [3] * 4}, "4 of 12 starts (33.3 %) diverged"),
        ({"planned": 25}, "photos: 20 of 25 planned images were used."),
        ({"pictures": 6}, "photos: the images are tiles of 6 pictures; intervals over images say nothing"),
        ({"notes": ["3 images were left out."]}, "photos: 3 images were left out."),
        ({"unreadable": ["a.png", "b.png"]}, "photos: 2 images could not be read (a.png, b.png)."),
        ({"basin": [6, 5], "certificate": [1, 1]}, "photos: the dictionary has 2 atoms, fewer than the 3 of 5 % of d"),
        (
            {"means": BASE, "absent": {"pca_oracle": "no images were held out"}},
            "photos: the PCA of held-out images (pca_oracle) is missing: no images were held out.",
        ),
        ({"n_images": 1, "planned": 1}, "photos: 1 image, too few for a verdict (at least 10)."),
        (
            {"mean_image": 0.04},
            "photos: the dictionary, with 5 % of d atoms, is not measurably better, by pixel MSE, than the mean image.",
        ),
        (
            {"mean_image": 0.005},
            "photos: the autoencoder alone is not measurably better, by pixel MSE, than the mean image.",
        ),
    ],
)
def test_warning(make_run: Make, changes: dict, expected: str):
    assert [warning for warning in build_report(make_run(**changes))["warnings"] if warning.startswith(expected)]


def test_a_sound_run_has_no_warning(make_run: Make):
    assert build_report(make_run(outcome=[0] * 32, basin=[1] * 32, certificate=[1] * 32))["warnings"] == []


def test_a_dictionary_that_is_smaller_than_the_basis_is_a_warning(make_run: Make):
    few = {"outcome": [0] * 31, "basin": [1] * 31, "certificate": [1] * 31}
    said = "photos: the random orthogonal basis has an advantage: 64 atoms to choose from, the dictionary 31"
    assert build_report(make_run(**few))["warnings"] == [said + "."]  # there are 64 Gaussian vectors


def test_of_vectors_that_are_as_many_as_atoms_the_warning_says_so(make_run: Make):
    few = {"outcome": [0] * 31, "basin": [1] * 31, "certificate": [1] * 31, "gaussian_atoms": 31}
    (found,) = build_report(make_run(**few))["warnings"]
    assert found.endswith("the dictionary 31; there are as many Gaussian vectors as atoms.")


def test_starts_that_could_not_be_examined_are_not_passed_over(make_run: Make):
    (sentence, *_) = build_report(make_run(exponent=float("nan")))["summary"]
    assert "1 did not converge within 500 steps (could not be examined: f has no derivative there" in sentence
