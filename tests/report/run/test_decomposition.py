"""The decomposition of the advantage, on data whose truth is known, and in words."""

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from probe.config import SparseConfig
from probe.dictionary import random_orthogonal, unit_rows
from probe.methods import OURS
from probe.metrics.interval import ratios_of_means
from probe.report.run.build import build_report
from probe.report.run.decomposition import CHAIN, PARTS, decomposition, decomposition_table
from probe.report.run.sample import Key, Sample
from probe.report.run.schema import Decomposition
from probe.report.run.write import write_report
from probe.results.run import read_results
from probe.sparse import omp
from probe.studies.probing.reconstruction import dictionaries

D, ATOMS, N = 64, 4, 300
Make = Callable[..., Path]


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def explained(points: torch.Tensor, latents: torch.Tensor) -> dict[str, float]:
    """The shares of the parts, from end points and latents, by the code of a run."""
    sparse = SparseConfig(controls=CHAIN[:-1], random_bases=1)
    bases = dictionaries(points, torch.zeros(1, 4, 4, 4), sparse, seed=0)
    columns = {
        Key("latent_mse", name, ATOMS): omp(bases[name], latents, [ATOMS]).squared_error[:, 0].numpy() / D
        for name in CHAIN
    }
    found = decomposition(Sample(columns, {}, 0.95), ATOMS, "end points")
    assert found is not None
    return {part: getattr(found, part).mean for part in ("total", *PARTS)}


def test_one_direction_that_all_share_is_all_the_mean():
    direction = 10 * random_orthogonal(D, seed=5)[:1]
    found = explained(direction + 0.1 * normal(40, D, seed=1), direction + normal(N, D, seed=2))
    assert found["total"] > 0.5
    assert found["mean"] == pytest.approx(found["total"], abs=0.03)
    assert abs(found["covariance"]) < 0.03
    assert abs(found["atoms"]) < 0.03


def test_gaussian_latents_with_the_covariance_of_the_points_are_mean_and_covariance():
    scales = torch.tensor([10.0] * 6 + [0.3] * (D - 6), dtype=torch.float64)
    mixing = scales[:, None] * random_orthogonal(D, seed=5)
    found = explained(normal(2000, D, seed=1) @ mixing, normal(N, D, seed=2) @ mixing)
    assert found["total"] > 0.5
    # The mean of few points is not 0, and points where the covariance is large: it takes off something by that alone.
    assert found["mean"] < 0.3
    assert found["covariance"] > 0.6
    assert abs(found["atoms"]) < 0.03


def test_sparse_combinations_of_isotropic_atoms_are_all_atoms():
    points = unit_rows(normal(D, D, seed=1))
    chosen = torch.stack([torch.randperm(D, generator=torch.Generator().manual_seed(i))[:3] for i in range(N)])
    latents = (normal(N, 3, 1, seed=2) * points[chosen]).sum(1)
    found = explained(points, latents)
    assert found["total"] > 0.9
    assert found["atoms"] == pytest.approx(found["total"], abs=0.08)
    assert abs(found["mean"]) < 0.05
    assert abs(found["covariance"]) < 0.08


def photos(run: Path) -> Decomposition:
    return Decomposition.model_validate(build_report(run)["datasets"]["photos"]["decomposition"])


def test_parts_add_up_and_have_paired_intervals(make_run: Make):
    run = make_run(noise_per_method=0.1)
    found = photos(run)
    parts = [getattr(found, part) for part in PARTS]
    assert sum(part.mean for part in parts) == pytest.approx(found.total.mean, abs=1e-14)
    rows = read_results(run).datasets["photos"].rows
    rows = rows[rows.atoms == 3].sort_values("image")
    columns = {name: rows[rows.method == name].latent_mse.to_numpy() for name in CHAIN}
    steps = [*pairwise(CHAIN), (CHAIN[0], OURS)]
    above = np.stack([columns[before] - columns[after] for before, after in steps], axis=1)
    expected = ratios_of_means(above, np.stack([columns[CHAIN[0]]] * 4, axis=1)).intervals()
    for one, wanted in zip([*parts, found.total], expected, strict=True):
        assert one.mean == pytest.approx(wanted.mean, abs=1e-14)
        assert one.ci95 == pytest.approx(wanted.ci95, abs=1e-12)


@pytest.mark.parametrize(
    ("means", "said"),
    [
        (
            (0.8, 0.87, 0.83),
            "of the 20 % by which end points beat the random orthogonal basis (latent MSE with 3 atoms), 13 are their"
            " mean, 4 their covariance and 3 the end points themselves",
        ),
        (
            (0.8, 0.7, 0.75),
            "the latent MSE with 3 atoms of end points is 20 % below that of the random orthogonal basis: their mean"
            " takes off 30, their covariance adds 5 and the end points themselves add 5",
        ),
        (
            (1.1, 0.9, 0.95),
            "the latent MSE with 3 atoms of end points is 10 % above that of the random orthogonal basis: their mean"
            " takes off 10, their covariance adds 5 and the end points themselves add 15",
        ),
        (
            (1.0, 0.8, 0.9),
            "the latent MSE with 3 atoms of end points is the same as that of the random orthogonal basis: their mean"
            " takes off 20, their covariance adds 10 and the end points themselves add 10",
        ),
        # Whole numbers would be 20 = 7 + 7 + 7: what rounding leaves over is given to the parts so that they add up.
        (
            (0.8, 0.9335, 0.867),
            "of the 20 % by which end points beat the random orthogonal basis (latent MSE with 3 atoms), 6 are their"
            " mean, 7 their covariance and 7 the end points themselves",
        ),
        (
            (0.988, 0.998, 0.991),
            "of the 1.2 % by which end points beat the random orthogonal basis (latent MSE with 3 atoms), 0.2 are their"
            " mean, 0.7 their covariance and 0.3 the end points themselves",
        ),
    ],
)
def test_sentences(make_run: Make, means: tuple[float, float, float], said: str):
    chain = dict(zip((OURS, "random_mean", "matched_gaussian"), means, strict=True))
    assert photos(make_run(means={"random_orthogonal": 1.0} | chain, spread=0.001)).sentence == said


def test_a_part_whose_interval_includes_nothing_is_named(make_run: Make):
    means = {OURS: 0.8, "random_orthogonal": 1.0, "random_mean": 0.9, "matched_gaussian": 0.8}
    sentence = photos(make_run(means=means, noise_per_method=0.1)).sentence
    assert sentence.endswith("; the end points themselves may contribute nothing, by the interval")


@pytest.mark.parametrize("absent", CHAIN)
def test_without_one_of_the_dictionaries_there_is_none(make_run: Make, absent: str):
    means = {name: 0.5 for name in CHAIN if name != absent}
    report = build_report(make_run(means=means))
    assert report["datasets"]["photos"]["decomposition"] is None
    assert decomposition_table(report) is None


def test_an_error_that_is_not_finite_gives_none(make_run: Make):
    assert build_report(make_run(poison=float("nan")))["datasets"]["photos"]["decomposition"] is None


def test_one_image_has_no_intervals(make_run: Make):
    found = photos(make_run(n_images=1, planned=1))
    assert found.total.mean is not None
    assert found.total.ci95 is None
    assert "nothing" not in found.sentence


def test_pages_and_terminal_say_it(make_run: Make):
    run = make_run()
    report = write_report(run)
    sentence = report["datasets"]["photos"]["decomposition"]["sentence"]
    page = (run / "report" / "report.md").read_text()
    assert f"photos: {sentence}." in page.replace("\\", "")
    assert "Where the advantage over the random orthogonal basis comes from" in page
    output = io.StringIO()
    table = decomposition_table(report)
    assert table is not None
    Console(width=500, file=output).print(table)
    assert f"photos: {sentence}." in " ".join(output.getvalue().split())
