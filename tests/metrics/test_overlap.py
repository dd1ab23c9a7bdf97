"""Overlap of dictionaries: closed forms, invariances, and the null level against rotations that SciPy draws."""

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from probe.metrics import sets
from probe.metrics.sets import overlap, unrelated

# Products of unit rows in float32: eps sqrt(d) each, far less in the sum of squares.
ROUNDING = 1e-5


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_closed_forms():
    basis = torch.eye(6)
    assert overlap(basis[:3], basis[3:]) == 0
    assert overlap(basis[:4], basis[2:]) == pytest.approx(2 / 4)  # of projections: their common rank
    assert overlap(basis[:1], basis) == pytest.approx(6**-0.5)
    assert overlap(basis, basis[[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]]) == pytest.approx(1)


def test_as_the_cosine_of_second_moments(monkeypatch):
    a, b = drawn(30, 2, 4), drawn(7, 2, 4, seed=1)
    one, other = (x.flatten(1).double() for x in (a, b))
    one, other = (x / x.norm(dim=1, keepdim=True) for x in (one, other))
    p, q = one.T @ one, other.T @ other
    expected = float((p * q).sum() / (p.norm() * q.norm()))
    for rows in (1024, 4):
        monkeypatch.setattr(sets, "ROWS", rows)
        assert overlap(a, b) == pytest.approx(expected, abs=ROUNDING)
        assert overlap(b, a) == pytest.approx(expected, abs=ROUNDING)


def test_order_sign_scale_and_common_rotation_do_not_matter():
    a, b = drawn(20, 8), drawn(9, 8, seed=1)
    turn = torch.from_numpy(ortho_group.rvs(8, random_state=0)).float()
    for other in (a.flip(0), -a, 7 * a):
        assert overlap(other, b) == pytest.approx(overlap(a, b), abs=ROUNDING)
    assert overlap(a @ turn, b @ turn) == pytest.approx(overlap(a, b), abs=ROUNDING)
    assert overlap(a, a) == pytest.approx(1, abs=ROUNDING)


def test_null_level_is_the_mean_over_rotations():
    a, b = drawn(5, 8) + 1, drawn(9, 8, seed=1) - 2  # each with a direction of its own
    turns = ortho_group.rvs(8, size=2000, random_state=0)
    found = np.array([overlap(a, b @ torch.from_numpy(turn).float()) for turn in turns])
    assert unrelated(a, b) == pytest.approx(found.mean(), abs=4 * found.std() / len(found) ** 0.5)


def test_what_does_not_compare():
    for a, b in ((drawn(0, 4), drawn(2, 4)), (drawn(2, 4), drawn(2, 5))):
        with pytest.raises(ValueError, match="cannot be compared"):
            overlap(a, b)
