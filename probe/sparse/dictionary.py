"""A dictionary prepared for pursuits: unit atoms, their Gram matrix, and whether they are orthonormal."""

import logging
from functools import cached_property

import torch
from torch import Tensor

from probe.machine import free_bytes
from probe.precision import full_float32
from probe.sparse.codes import SCHUR_FLOOR, SparseCodes, combine

log = logging.getLogger("probe")
GRAM = 4
"""A Gram matrix may take one part in so many of the memory that is free: a part of the dictionary copies its own from
it, and other dictionaries have theirs."""
BLOCK = 1 << 20
"""Numbers of the rows that are prepared at once, in float64."""
BASIS = 4096
"""Atoms among which ``independent`` looks at once, at least."""


class Dictionary:
    """Atoms prepared for pursuits; pass it to ``omp`` instead of the atoms to reuse the Gram matrix.

    The Gram matrix takes N^2 d multiply-adds, most of the work for a few signals, and N^2 numbers of memory. It is
    computed when first needed; orthonormal dictionaries, and those for which it is too large (``gram_fits``), do not
    need it.

    ValueError if the atoms are not a matrix with at least one row, or a value is not finite.

    Attributes:
        unit: the atoms divided by their norms (N, d), in ``dtype``; a zero atom stays zero and is never chosen.
        norm: the norms (N,), of any size; 1 for a zero atom.
    """

    def __init__(self, atoms: Tensor, dtype: torch.dtype):
        if atoms.ndim != 2 or not len(atoms):
            raise ValueError(
                f"the dictionary must be (N, d), with at least one atom as a row, not {tuple(atoms.shape)}"
            )
        self.unit, self.norm = atoms.new_empty(atoms.shape, dtype=dtype), atoms.new_empty(len(atoms), dtype=dtype)
        self.exponent = atoms.new_empty(len(atoms), dtype=torch.int)
        finite = torch.ones((), dtype=torch.bool, device=atoms.device)
        size = max(BLOCK // max(atoms.shape[1], 1), 1)
        for first in range(0, len(atoms), size):  # in float64, so not all at once
            rows = slice(first, first + size)
            finite &= torch.isfinite(atoms[rows]).all()
            exact, self.exponent[rows] = power_of_two(atoms[rows])
            norm = torch.linalg.vector_norm(exact, dim=1)
            norm = torch.where(norm > 0, norm, 1)
            self.unit[rows] = exact / norm[:, None]
            self.norm[rows] = torch.ldexp(norm, self.exponent[rows])
        if not finite:
            raise ValueError("the dictionary has values that are not finite")

    def __len__(self) -> int:
        return len(self.unit)

    def part(self, rows: Tensor) -> "Dictionary":
        """The atoms of these rows, in that order; their Gram matrix is taken from this one's, not computed, or is not
        needed either."""
        found, rows = object.__new__(Dictionary), rows.to(self.unit.device)
        for name in ("unit", "norm", "exponent"):
            setattr(found, name, getattr(self, name)[rows])
        found.gram_fits = self.gram_fits
        if self.gram_fits:
            found.gram = self.gram[rows[:, None], rows]
        return found

    def reconstruct(self, codes: SparseCodes, level: int) -> Tensor:
        """x_hat at a level (n, d) for codes in this dictionary."""
        support, code = codes.sparse(level)
        return combine(self.unit, support, code * self.norm[support.clamp(min=0)])

    @cached_property
    def gram_fits(self) -> bool:
        """Whether pursuits take the Gram matrix: by its bytes and the memory that is free when first asked."""
        device = self.unit.device
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_bytes()
        size = len(self) ** 2 * self.unit.element_size()
        if GRAM * size > free:
            log.info(f"sparse codes in {len(self)} atoms are found without a Gram matrix, of {size / 2**30:.3g} GiB")
        return GRAM * size <= free

    @property
    def dtype(self) -> torch.dtype:
        return self.unit.dtype

    @cached_property
    def gram(self) -> Tensor:
        """Gram matrix of the unit atoms (N, N)."""
        with full_float32():
            return self.unit @ self.unit.T

    @cached_property
    def orthonormal(self) -> bool:
        """Whether the unit atoms are orthonormal up to rounding: A A^T u = u for random signs u.

        A pair of atoms that is off by e changes two entries of A A^T u by e, whatever the signs, so 8 vectors find it
        unless several such pairs cancel in all of them.
        """
        n, d = self.unit.shape
        if n > d:
            return False
        signs = torch.randint(0, 2, (n, 8), generator=torch.Generator().manual_seed(0))
        u = (2 * signs - 1).to(self.unit)
        with full_float32():
            worst = (self.unit @ (self.unit.T @ u) - u).abs().max()
        # Rounding of atoms and products adds up to about sqrt(N) eps.
        return float(worst) < 16 * n**0.5 * torch.finfo(self.dtype).eps

    @cached_property
    def span(self) -> tuple[Tensor, Tensor]:
        """``independent`` atoms, and the factor of their Gram matrix."""
        return independent(self.unit)


def independent(unit: Tensor) -> tuple[Tensor, Tensor]:
    """Atoms that form a basis of the span, by pivoted Cholesky factorisations (LAPACK pstrf).

    Each step takes the atom that is farthest from the span of those before, until what is left of every atom is below
    the float64 floor of the Schur diagonal; among ``BASIS`` or 2 d atoms at a time, so that no matrix is N x N. Returns
    indices in order of choice (r,), r the rank of the dictionary, and a lower factor of their Gram matrix (r, r).
    """
    from scipy.linalg.lapack import dpstrf

    d, floor = unit.shape[1], SCHUR_FLOOR[torch.float64]
    basis, found = unit.new_empty((0, d), dtype=torch.float64), []  # orthonormal rows; indices
    size = max(BASIS, 2 * d)
    for first in range(0, len(unit), size):
        left = exact = unit[first : first + size].double()
        if len(basis):
            for _ in range(2):
                left = left - (left @ basis.T) @ basis
            if left.square().sum(1).max() < floor:
                continue
        factor, pivots, rank, _ = dpstrf((left @ left.T).cpu().numpy(), tol=floor, lower=1)
        chosen = torch.from_numpy(pivots[:rank].astype("int64") - 1).to(unit.device)
        if len(unit) <= size:
            return chosen, torch.from_numpy(factor[:rank, :rank]).tril().to(unit.device)
        found.append(chosen + first)
        basis = torch.linalg.qr(torch.cat([basis, exact[chosen]]).T).Q.T
        if len(basis) == d:
            break
    chosen = torch.cat(found)
    return chosen, torch.linalg.qr(unit[chosen].double().T).R.T.contiguous()


def power_of_two(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in float64 with their largest entry in [0.5, 1), and the exponents (n,) of the divisors.

    Division by a power of two is exact: squares and float32 cannot overflow, and scales do not change the choices.
    """
    exact = rows.double()
    none = rows.new_zeros(len(rows), dtype=torch.int)
    exponent = torch.frexp(exact.abs().amax(1)).exponent if rows.shape[1] else none
    half = torch.div(exponent, 2, rounding_mode="floor")  # in two steps: 2^-1074 has no finite inverse
    return torch.ldexp(torch.ldexp(exact, -half[:, None]), (half - exponent)[:, None]), exponent
