"""Starts beside the stable manifolds of weak saddles: where plain steps get away, extrapolation must not fall in."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from probe.dynamics import EndPoints, Outcome, iterate


@dataclass(frozen=True)
class Wells:
    """In coordinates w = z Q: ``k`` of them go to +-1 by w + 0.05 sin(pi w) / pi, away from 0 at rate 1.05; the others
    shrink at rates from 0.5 to 0.98 and are pushed by the first. Saddles are where one of the ``k`` is 0."""

    d: int
    k: int
    condition: float

    def basis(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        left, right = torch.linalg.qr(torch.randn(2, self.d, self.d, generator=generator, dtype=torch.float64))[0]
        return left @ torch.diag(torch.logspace(0, math.log10(self.condition), self.d, dtype=torch.float64)) @ right

    def map(self, z: Tensor) -> Tensor:
        basis = self.basis().to(z)
        wells, others = (z @ torch.linalg.inv(basis)).split([self.k, self.d - self.k], 1)
        rates = torch.linspace(0.5, 0.98, self.d - self.k).to(z)
        others = rates * torch.tanh(others) + 0.3 * wells[:, :1].square()
        return torch.cat([wells + 0.05 * torch.sin(math.pi * wells) / math.pi, others], 1) @ basis

    def starts(self, n: int) -> Tensor:
        """Gaussian, but the ``k`` lie 1e-6 to 0.1 from 0."""
        generator = torch.Generator().manual_seed(1)
        w = torch.randn(n, self.d, generator=generator, dtype=torch.float64)
        w[:, : self.k] = w[:, : self.k].sign() * 10 ** (5 * torch.rand(n, self.k, generator=generator).double() - 6)
        return w @ self.basis()

    def signs(self, ends: EndPoints) -> Tensor:
        """By the signs of the ``k``, the attractor of each start; 0 where it converged at a saddle (n, k)."""
        w = (ends.end @ torch.linalg.inv(self.basis()))[:, : self.k]
        assert set(ends.outcome.tolist()) == {Outcome.CONVERGED}
        return torch.where((w.abs() > 0.5).all(1, keepdim=True), w.sign(), 0)


@pytest.mark.parametrize("wells", [Wells(64, 1, 10), Wells(16, 1, 10), Wells(64, 3, 10)])
def test_where_plain_steps_leave_a_weak_saddle_accelerated_ones_do(wells):
    """With two plain steps after an extrapolation and no look at their modes, 43, 24 and 18 of the 400 fall in."""
    z0 = wells.starts(400)
    plain, fast = (iterate(wells.map, z0, accelerate=value, max_steps=1500) for value in (False, True))
    away, other = wells.signs(plain), wells.signs(fast)
    gets_away = away.abs().sum(1) > 0
    assert int(gets_away.sum()) > 100
    assert int((gets_away & (other[:, 0] == 0)).sum()) <= 8
    assert int(fast.extrapolations.sum()) > 300
    moved = gets_away & (other[:, 0] != 0) & (other != away).any(1)
    assert int(moved.sum()) <= 4


def test_an_extrapolation_near_a_saddle_does_not_depend_on_the_other_rows():
    wells = Wells(16, 1, 10)
    z0 = wells.starts(40)
    whole = iterate(wells.map, z0, accelerate=True, max_steps=1500)
    parts = [iterate(wells.map, z, accelerate=True, max_steps=1500) for z in z0.flip(0).split(7)]
    for name in ("steps", "evaluations", "extrapolations", "outcome"):
        assert torch.equal(getattr(whole, name).flip(0), torch.cat([getattr(part, name) for part in parts])), name
    assert torch.allclose(whole.end.flip(0), torch.cat([part.end for part in parts]), atol=1e-9)


def test_extrapolated_rows_at_an_attractor_converge_after_few_more_steps():
    """Rates up to 0.98, none above 1: plain steps that look for growing modes cost less than extrapolation saves."""
    rates = torch.linspace(-0.5, 0.98, 40, dtype=torch.float64)
    z0 = torch.randn(64, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain, fast = (iterate(lambda z: rates * z, z0, accelerate=value) for value in (False, True))
    assert set(fast.outcome.tolist()) == {Outcome.CONVERGED}
    assert int(fast.evaluations.sum()) < 0.5 * int(plain.evaluations.sum())
