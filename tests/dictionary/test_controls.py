"""Control dictionaries against their definitions and against scikit-learn and SciPy."""

import numpy as np
import torch
from scipy.fft import dctn
from scipy.stats import kstest
from sklearn.decomposition import TruncatedSVD

from probe.dictionary import dct, gaussian, pca_oracle, random_bases, random_orthogonal, unit_rows


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


def test_gaussian_rows_have_unit_norm():
    assert torch.allclose(gaussian(30, 12, 0).norm(dim=1), torch.ones(30, dtype=torch.float64))


def test_dct_gives_scipys_coefficients():
    shape = (3, 4, 6)
    latent = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = np.stack([dctn(channel, norm="ortho") for channel in latent.numpy()])
    assert np.allclose((dct(shape) @ latent.flatten()).numpy(), expected.ravel())


def test_pca_spans_what_scikit_learn_finds():
    latents = torch.randn(40, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 2
    ours = pca_oracle(latents)
    theirs = TruncatedSVD(5, algorithm="arpack").fit(latents.numpy()).components_
    assert np.allclose(np.abs(ours[:5].numpy() @ theirs.T), np.eye(5), atol=1e-8)
    assert len(pca_oracle(latents[:3])) == 3
    assert len(pca_oracle(torch.zeros(3, 10))) == 0


def test_unit_rows_leaves_out_what_has_no_direction():
    assert len(unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0], [torch.nan, 1.0]]))) == 1
