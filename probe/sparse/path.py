"""The part that both torch formulations of the greedy path share: the state of a chunk of signals, and the choice.

All arrays of the size of the dictionary are allocated once, and steps write into them. Every ``EVERY`` steps the device
is asked for one bit: whether the energy of a residual is in doubt.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from probe.sparse.codes import DOUBT, SparseCodes, combine, floor

EVERY = 64
"""Steps on a GPU between these synchronisations; an exactly sparse signal may take so many atoms without weight. On a
CPU every step asks."""


class Path:
    """The state of n signals on the way to ``levels[-1]`` atoms; letters as in ``probe.sparse.omp``.

    Attributes:
        unit, x, levels, ols: unit atoms (N, d), signals (n, d), levels, and whether to select by OLS.
        correlation, schur: c and s (n, N); s is -1 for the chosen atoms, which bars them.
        image: room for A q (n, N).
        support, weight: chosen atoms, -1 once a signal has stopped, and q . x (n, depth).
        energy, left, live: ||x||^2, ||r||^2 and whether the signal continues (n,).
        known: ||r||^2 when last computed from a residual; ``left`` continues from it by subtraction (n,).
    """

    def __init__(self, unit: Tensor, x: Tensor, levels: tuple[int, ...], ols: bool):
        n, depth = len(x), levels[-1]
        self.unit, self.x, self.levels, self.ols = unit, x, levels, ols
        self.floor, self.epsilon = floor(x.dtype, ols), torch.finfo(x.dtype).eps
        self.row = torch.arange(n, device=x.device)
        self.correlation = x @ unit.T
        norms = torch.cat([rows.square().sum(1) for rows in unit.split(4096)])  # no second dictionary
        self.schur = norms.repeat(n, 1)
        self.image, self.score = torch.empty_like(self.schur), torch.empty_like(self.schur)
        self.mask = torch.empty((n, len(unit)), dtype=torch.bool, device=x.device)
        self.equal = self.mask.view(torch.uint8)  # argmax takes no bool
        self.support = torch.full((n, depth), -1, dtype=torch.long, device=x.device)
        self.weight = x.new_zeros((n, depth))
        self.codes: list[Tensor] = []
        self.errors: list[Tensor] = []
        self.energy = x.square().sum(1)
        self.left = self.known = self.energy
        self.live = self.energy > 0

    def choose(self) -> tuple[Tensor, Tensor]:
        """The next atom of each signal (n,), ties to the lowest index, and sqrt(s) of it; updates ``live``."""
        torch.abs(self.correlation, out=self.score)
        if self.ols:
            torch.clamp(self.schur, min=self.floor, out=self.image)
            self.score.div_(self.image.sqrt_())
        torch.lt(self.schur, self.floor, out=self.mask)
        self.score.masked_fill_(self.mask, -1)
        best = self.score.amax(1, keepdim=True)
        torch.ge(self.score, best * (1 - 16 * self.epsilon), out=self.mask)
        j = self.equal.argmax(1)
        # Below this, what is left of the signal is the rounding of the arithmetic, and so is the choice.
        self.live &= best.squeeze(1) > 8 * self.epsilon * self.energy.sqrt()
        return j, self.schur[self.row, j].clamp(min=self.floor).sqrt()

    def advance(self, k: int, j: Tensor, scale: Tensor) -> None:
        """Step k with ``image`` = A q, which is zeroed where a signal has stopped."""
        self.image.mul_(self.live[:, None])
        step = torch.where(self.live, self.correlation[self.row, j] / scale, 0)
        self.weight[:, k] = step
        self.support[:, k] = torch.where(self.live, j, -1)
        self.correlation.addcmul_(step[:, None], self.image, value=-1)
        self.schur.addcmul_(self.image, self.image, value=-1)
        self.schur[self.row, j] = torch.where(self.live, -1, self.schur[self.row, j])
        self.left = self.left - step.square()  # not in place: ``errors`` holds it

    def checkpoint(self, k: int, code: Callable[[int], Tensor]) -> None:
        """After k atoms: recompute residual and correlations at a level, so that rounding does not add up along the
        path, and for signals with ``left`` in doubt."""
        if k not in self.levels and k % (1 if self.x.device.type == "cpu" else EVERY):
            return
        doubt = self.live & (self.left < DOUBT * k * self.epsilon * self.known)
        if k not in self.levels and not doubt.any():
            return
        weights = code(k)
        residual = self.x - combine(self.unit, self.support[:, :k], weights)
        error = residual.square().sum(1)
        if k in self.levels:
            self._record(weights, error)
            doubt = torch.ones_like(doubt)
        else:
            self.left = torch.where(doubt, error, self.left)
        self.live &= self.left > (8 * self.epsilon) ** 2 * self.energy
        self.known = torch.where(doubt, self.left, self.known)
        if k < self.levels[-1]:
            fresh = torch.matmul(residual, self.unit.T, out=self.score)
            torch.where(doubt[:, None], fresh, self.correlation, out=self.correlation)

    def _record(self, code: Tensor, error: Tensor) -> None:
        """Record the code at a level, unless rounding made it worse than that of the previous level."""
        k = code.shape[1]
        before = self.codes[-1] if self.codes else code[:, :0]
        least = self.errors[-1] if self.errors else self.energy
        worse = error > least
        self.live &= ~worse
        self.left = torch.where(worse, least, error)
        self.codes.append(torch.where(worse[:, None], torch.nn.functional.pad(before, (0, k - before.shape[1])), code))
        self.errors.append(self.left)

    def result(self) -> SparseCodes:
        return SparseCodes(self.levels, self.support, tuple(self.codes), torch.stack(self.errors, 1))
