"""Detection of periodic orbits with one stored point a row."""

import torch
from torch import Tensor

RETURNS = 4
"""Returns to the anchor, one period apart, that make a cycle."""
RELATIVE = 1e-6
"""A return is a squared distance below this share of the squared step: a slow spiral also comes near its past."""


class CycleDetector:
    """Brent's scheme, a row at a time: keep an anchor, renewed at steps 1, 2, 4, ..., and watch for returns to it.

    A cycle of period p is found when a row comes back to its anchor ``RETURNS`` times at exactly p, 2p, ... steps.
    The distance must be below the solver's tolerance and below ``RELATIVE`` times the squared step: an alternating
    contraction z -> -0.99 z returns near its past after two steps long before it has converged, but not that near.
    Four returns must fit between two renewals: with a limit of T steps, periods up to about
    max(2^(k-1), T - 2^k) / 4 can be found, 2^k the last power of two before T (61 for T = 500).
    """

    def __init__(self, z: Tensor, tolerance: float):
        self.tolerance = tolerance
        self.anchor = z.clone()
        self.anchor_step = 0
        self.period = torch.zeros(len(z), dtype=torch.long, device=z.device)
        self.returns = torch.zeros_like(self.period)

    def update(self, z: Tensor, step: int, residual: Tensor) -> Tensor:
        """Take the points at ``step`` and their squared residuals (n,); true (n,) where a cycle is established."""
        age = step - self.anchor_step
        if age > 0:
            distance = (z - self.anchor).flatten(1).square().sum(1)
            near = distance < (RELATIVE * residual).clamp(max=self.tolerance)
            first = near & (self.returns == 0)
            due = (self.returns > 0) & ((self.returns + 1) * self.period == age)
            self.period = torch.where(first, age, self.period)
            # A return at the wrong time, or none when one is due, starts the count again.
            kept = torch.where(near & due, self.returns + 1, self.returns)
            kept = torch.where((near & ~due) | (due & ~near), torch.zeros_like(kept), kept)
            self.returns = torch.where(first, torch.ones_like(kept), kept)
        established = self.returns >= RETURNS
        if step & (step - 1) == 0:  # 0, 1, 2, 4, 8, ...
            self.anchor, self.anchor_step = z.clone(), step
            self.returns = torch.where(established, self.returns, torch.zeros_like(self.returns))
        return established

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these (indices)."""
        self.anchor, self.period, self.returns = self.anchor[rows], self.period[rows], self.returns[rows]
