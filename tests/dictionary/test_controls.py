"""Control dictionaries against their definitions and against scikit-learn and SciPy."""

import numpy as np
import torch
from scipy.fft import dctn
from scipy.stats import kstest
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import TruncatedSVD

from probe.dictionary import (
    dct,
    draws_like,
    gaussian,
    matched_gaussian,
    mean_first,
    pca_oracle,
    random_bases,
    random_orthogonal,
    unit_rows,
    weights_transform,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def assert_orthonormal(basis: torch.Tensor, d: int) -> None:
    assert torch.allclose(basis @ basis.T, torch.eye(d, dtype=torch.float64), atol=1e-12)


def test_random_orthogonal_is_a_basis_and_a_function_of_the_seed():
    basis = random_orthogonal(50, 3)
    assert torch.allclose(basis @ basis.T, torch.eye(50, dtype=torch.float64), atol=1e-12)
    assert torch.equal(basis, random_orthogonal(50, 3))
    assert not torch.equal(basis, random_orthogonal(50, 4))


def test_random_orthogonal_is_haar():
    # In 3 dimensions a coordinate of a uniform direction is uniform on [-1, 1]; unfixed QR signs would not be.
    corners = np.array([random_orthogonal(3, seed)[0, 0].item() for seed in range(500)])
    assert kstest(corners, "uniform", args=(-1, 2)).pvalue > 0.001


def test_random_bases_are_independent_and_more_of_them_begin_with_the_same():
    bases = random_bases(40, 3, seed=7)
    assert torch.equal(bases[0], random_orthogonal(40, 7))
    assert all(torch.equal(a, b) for a, b in zip(bases, random_bases(40, 5, seed=7), strict=False))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        # Cosines of independent directions are about normal with variance 1/d.
        assert kstest((bases[a] @ bases[b].T).flatten().numpy() * 40**0.5, "norm").pvalue > 0.001


def test_a_basis_begins_with_the_mean_of_the_points_and_stays_orthonormal():
    basis, points = random_orthogonal(30, 1), normal(8, 30) + 0.5
    for offset in (points, -points, basis[:1], -basis[:1]):  # the mean may be the first atom already
        made = mean_first(basis, offset)
        assert_orthonormal(made, 30)
        mean = offset.numpy().mean(0)
        assert np.allclose(made[0], mean / np.linalg.norm(mean))


def test_what_is_left_of_the_basis_is_uniform_in_the_complement_of_the_mean():
    # In 4 dimensions the complement has 3, where a coordinate of a uniform direction is uniform on [-1, 1].
    mean, across = torch.ones(1, 4), torch.tensor([1.0, -1, 0, 0], dtype=torch.float64) / 2**0.5
    corners = [(mean_first(random_orthogonal(4, seed), mean)[2] @ across).item() for seed in range(500)]
    assert kstest(corners, "uniform", args=(-1, 2)).pvalue > 0.001


def test_a_mean_of_zero_leaves_the_basis_and_no_points_leave_nothing():
    basis = random_orthogonal(12, 0)
    pair = torch.stack([normal(12), normal(12)]).float() * torch.tensor([[1.0], [-1.0]])
    assert torch.equal(mean_first(basis, pair), basis)
    assert mean_first(basis, pair[:0]).shape == (0, 12)


def test_draws_have_the_mean_and_the_covariance_of_the_points():
    m, d = 4000, 6
    points = normal(m, d) @ normal(d, d, seed=1) + normal(d, seed=2)
    made, wanted = draws_like(points, seed=3).numpy(), LedoitWolf().fit(points.numpy())
    scale = np.sqrt(np.diag(wanted.covariance_))
    # Standard errors are scale / sqrt(m) for means, and at most sqrt(2 / m) times both scales for covariances.
    assert (np.abs(made.mean(0) - points.numpy().mean(0)) < 5 * scale / m**0.5).all()
    assert (np.abs(np.cov(made.T) - wanted.covariance_) < 5 * (2 / m) ** 0.5 * np.outer(scale, scale)).all()
    assert np.allclose(wanted.covariance_, np.cov(points.numpy().T), rtol=0.05, atol=0.05)  # many points, no shrinkage


def test_fewer_points_than_dimensions_are_not_mixed_in_their_span():
    m, d = 60, 400
    spread = torch.linspace(3, 0.1, d, dtype=torch.float64)
    points = normal(m, d) * spread + 1
    made = torch.cat([draws_like(points, seed) for seed in range(0, 40, 2)])
    outside = made - made @ torch.linalg.pinv(points) @ points
    assert outside.norm() > 0.3 * made.norm()
    # The total variance is that of the points.
    total = (points - points.mean(0)).square().sum() / m
    assert torch.isclose((made - points.mean(0)).square().sum(1).mean(), total, rtol=0.1)
    wanted = np.diag(LedoitWolf().fit(points.numpy()).covariance_)
    assert np.corrcoef(made.var(0).numpy(), wanted)[0, 1] > 0.9


def test_matched_gaussian_has_as_many_unit_rows_as_points():
    made = matched_gaussian(normal(7, 20), seed=0)
    assert made.shape == (7, 20)
    assert torch.allclose(made.norm(dim=1), torch.ones(7, dtype=torch.float64))
    assert torch.allclose(matched_gaussian(torch.eye(1, 5) * 3, 0), torch.eye(1, 5).double())  # no covariance
    assert len(matched_gaussian(torch.empty(0, 5), 0)) == 0


def test_two_opposite_points_have_a_covariance():
    # scikit-learn's shrinkage is 0 here up to rounding, on either side; its root must not be NaN.
    for seed in range(20):
        point = normal(1, 8, seed=seed)
        assert draws_like(torch.cat([point, -point]), 0).isfinite().all()


def test_gaussian_rows_have_unit_norm():
    assert torch.allclose(gaussian(30, 12, 0).norm(dim=1), torch.ones(30, dtype=torch.float64))


def test_dct_gives_scipys_coefficients():
    shape = (3, 4, 6)
    latent = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = np.stack([dctn(channel, norm="ortho") for channel in latent.numpy()])
    assert np.allclose((dct(shape) @ latent.flatten()).numpy(), expected.ravel())


def test_weights_transform_is_scipys_dct_of_scikit_learns_channels():
    mixing = normal(4, 4, seed=1)
    latents = torch.einsum("ij,kjhw->kihw", mixing, normal(50, 4, 3, 5)) + 1
    basis = weights_transform(latents)
    assert_orthonormal(basis, 60)
    channels = latents.movedim(1, -1).reshape(-1, 4).numpy()
    components = TruncatedSVD(3, algorithm="arpack").fit(channels).components_
    expected = dctn(np.einsum("ij,jhw->ihw", components, latents[0].numpy()), axes=(1, 2), norm="ortho")
    found = (basis @ latents[0].flatten()).view(4, 3, 5)[:3].numpy()
    assert np.allclose(np.abs(found), np.abs(expected))  # a component's sign is free


def test_weights_transform_of_other_shapes():
    for shape in ((6,), (3, 5), (2, 3, 2, 4)):
        basis = weights_transform(normal(40, *shape))
        assert_orthonormal(basis, int(np.prod(shape)))
    flat = normal(40, 6)
    components = TruncatedSVD(5, algorithm="arpack").fit(flat.numpy()).components_
    assert np.allclose(np.abs(weights_transform(flat)[:5].numpy() @ components.T), np.eye(5), atol=1e-8)


def test_weights_transform_leaves_out_latents_that_are_not_finite():
    latents = normal(5, 2, 3, 3)
    broken = torch.cat([latents, torch.full((1, 2, 3, 3), torch.nan)])
    assert torch.equal(weights_transform(broken), weights_transform(latents))
    assert weights_transform(broken[5:]).shape == (0, 18)


def test_pca_spans_what_scikit_learn_finds():
    latents = torch.randn(40, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 2
    ours = pca_oracle(latents)
    theirs = TruncatedSVD(5, algorithm="arpack").fit(latents.numpy()).components_
    assert np.allclose(np.abs(ours[:5].numpy() @ theirs.T), np.eye(5), atol=1e-8)
    assert len(pca_oracle(latents[:3])) == 3
    assert len(pca_oracle(torch.zeros(3, 10))) == 0


def test_unit_rows_leaves_out_what_has_no_direction():
    assert len(unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0], [torch.nan, 1.0]]))) == 1
