"""Rank at a share of the variance against scikit-learn's PCA and closed forms."""

import math

import pytest
import torch
from sklearn.decomposition import PCA

from probe.metrics import sets
from probe.metrics.sets import effective_rank, rank_at_variance


def orthogonal(d: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]


@pytest.mark.parametrize("block", [2**22, 64])
@pytest.mark.parametrize(("n", "d"), [(200, 12), (12, 200), (30, 30), (2, 5)])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_as_scikit_learn_counts(monkeypatch, block, n, d, share):
    monkeypatch.setattr(sets, "BLOCK", block)
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(n)) * torch.logspace(0, -2, d) + 5
    shares = PCA().fit(x.double().numpy()).explained_variance_ratio_.cumsum()
    assert rank_at_variance(x, share) == int((shares < share).sum()) + 1


@pytest.mark.parametrize(("share", "expected"), [(0.1, 1), (0.9, 9), (0.91, 10), (1.0, 10)])
def test_ten_equal_directions(share, expected):
    """Plus and minus each of ten orthogonal vectors of one length: every component holds a tenth."""
    x = torch.cat([torch.eye(10), -torch.eye(10)]).double() @ orthogonal(10) + 100
    assert rank_at_variance(x, share) == expected


def test_a_line_a_point_and_equal_points():
    line = torch.linspace(-1, 1, 50)[:, None] * torch.ones(1, 30) + 7
    assert rank_at_variance(line.view(50, 3, 10)) == 1
    assert rank_at_variance(line[:1]) == 0
    assert rank_at_variance(line[:1].expand(40, -1)) == 0
    assert rank_at_variance(torch.zeros(3, 4)) == 0


@pytest.mark.parametrize(("x", "share"), [(torch.ones(2, 2), 0), (torch.ones(2, 2), 1.1), (torch.ones(0, 2), 0.9)])
def test_nonsense(x, share):
    with pytest.raises(ValueError, match=r"share|rows"):
        rank_at_variance(x, share)
    with pytest.raises(ValueError, match="finite"):
        rank_at_variance(torch.tensor([[math.nan]]))


@pytest.mark.parametrize(("n", "d"), [(200, 12), (12, 200)])
def test_effective_rank_is_that_of_its_definition(n, d):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(n)) * torch.logspace(0, -2, d) + 5
    values = torch.linalg.svdvals(x.double() - x.double().mean(0))
    expected = torch.distributions.Categorical(values[values > 1e-9 * values[0]]).entropy().exp()
    assert effective_rank(x) == pytest.approx(float(expected), rel=1e-6)


def test_effective_rank_of_equal_directions_a_line_and_a_point():
    x = torch.cat([torch.eye(10), -torch.eye(10)]).double() @ orthogonal(10) + 100
    assert effective_rank(x) == pytest.approx(10)
    assert effective_rank(torch.cat([x, x], 1)) == pytest.approx(10)
    line = torch.linspace(-1, 1, 50)[:, None] * torch.ones(1, 30) + 7
    assert effective_rank(line) == pytest.approx(1, abs=1e-5)
    assert effective_rank(line[:1].expand(40, -1)) == 0
