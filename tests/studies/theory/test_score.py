"""Estimated densities and their scores, against scikit-learn and finite differences."""

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity as Sklearn

from probe.studies.theory.score import KernelDensity, MixtureDensity, cosines

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(60, 3)) @ np.diag([1.0, 2.0, 0.5]) + 4
Z = RNG.normal(size=(5, 3)) + 4


def slopes(density, z: np.ndarray, h: float = 1e-5) -> np.ndarray:
    steps = h * np.eye(z.shape[1])
    return np.stack([(density.log_density(z + e) - density.log_density(z - e)) / (2 * h) for e in steps], 1)


@pytest.mark.parametrize("density", [KernelDensity.fit(POINTS), MixtureDensity.fit(POINTS)], ids=["kernel", "mixture"])
def test_the_score_is_the_slope_of_the_log_density(density):
    assert np.allclose(density.score(Z), slopes(density, Z), atol=1e-6)


def test_several_components():
    apart = np.concatenate([POINTS, POINTS + 30, POINTS - 30])
    density = MixtureDensity.fit(apart)
    assert density.components >= 3
    assert np.allclose(density.score(Z), slopes(density, Z), atol=1e-6)


def test_kernels_are_those_of_scikit_learn():
    ours = KernelDensity(POINTS, 0.7)
    assert np.allclose(ours.log_density(Z), Sklearn(bandwidth=0.7).fit(POINTS).score_samples(Z))


def test_the_bandwidth_is_the_likeliest_by_leaving_one_out():
    def left_out(h: float) -> float:
        rest = [np.delete(POINTS, i, 0) for i in range(len(POINTS))]
        return sum(
            float(Sklearn(bandwidth=h).fit(others).score_samples(one[None])[0])
            for others, one in zip(rest, POINTS, strict=True)
        )

    chosen = KernelDensity.fit(POINTS).bandwidth
    assert left_out(chosen) > max(left_out(chosen * 1.3), left_out(chosen / 1.3))


def test_how_many_kernels_make_up_the_density():
    assert np.allclose(KernelDensity(POINTS, 1e-3).kernels(POINTS), 1)
    assert np.allclose(KernelDensity(POINTS, 1e6).kernels(Z), len(POINTS))


def test_a_gaussian_pulls_to_its_mean():
    many = RNG.normal(size=(4000, 3))
    pull = MixtureDensity.fit(many).score(Z)
    assert np.allclose(pull, -Z, rtol=0.15, atol=0.15)
    assert float(cosines(pull, -Z).diagonal().min()) > 0.99


def test_cosines():
    a, b = np.array([[1.0, 0], [0, 0]]), np.array([[3.0, 0], [0, 2], [-1, -1]])
    assert np.allclose(cosines(a, b), [[1, 0, -(0.5**0.5)], [0, 0, 0]])
