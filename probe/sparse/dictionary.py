"""A dictionary prepared for pursuits: unit atoms, their Gram matrix, and whether they are orthonormal."""

from functools import cached_property

import torch
from torch import Tensor

from probe.precision import full_float32
from probe.sparse.codes import SCHUR_FLOOR


class Dictionary:
    """Atoms prepared for pursuits; pass it to ``omp`` instead of the atoms to reuse the Gram matrix.

    The Gram matrix takes N^2 d multiply-adds, most of the work for a few signals, and N^2 numbers of memory. It is
    computed when first needed; orthonormal dictionaries do not need it.

    ValueError if the atoms are not a matrix with at least one row, or a value is not finite.

    Attributes:
        atoms: as given, in ``dtype`` (N, d); of any norm, including zero.
        unit: the atoms divided by their norms (N, d); a zero atom stays zero and is never chosen.
        norm: the norms (N,); 1 for a zero atom.
    """

    def __init__(self, atoms: Tensor, dtype: torch.dtype):
        if atoms.ndim != 2 or not len(atoms):
            raise ValueError(
                f"the dictionary must be (N, d), with at least one atom as a row, not {tuple(atoms.shape)}"
            )
        if not torch.isfinite(atoms).all():
            raise ValueError("the dictionary has values that are not finite")
        exact, self.exponent = power_of_two(atoms)
        norm = torch.linalg.vector_norm(exact, dim=1)
        norm = torch.where(norm > 0, norm, 1)
        self.atoms = atoms.to(dtype)
        self.unit = (exact / norm[:, None]).to(dtype)
        self.norm = torch.ldexp(norm, self.exponent).to(dtype)

    def __len__(self) -> int:
        return len(self.atoms)

    def part(self, rows: Tensor) -> "Dictionary":
        """The atoms of these rows, in that order; their Gram matrix is taken from this one's, not computed."""
        found, rows = object.__new__(Dictionary), rows.to(self.unit.device)
        for name in ("atoms", "unit", "norm", "exponent"):
            setattr(found, name, getattr(self, name)[rows])
        found.gram = self.gram[rows][:, rows]
        return found

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
    """Atoms that form a basis of the span, by a pivoted Cholesky factorisation of the Gram matrix (LAPACK pstrf).

    Each step takes the atom that is farthest from the span of those before, until what is left of every atom is below
    the float64 floor of the Schur diagonal. Returns indices in order of choice (r,), r the rank of the dictionary, and
    the lower factor of their Gram matrix (r, r).
    """
    from scipy.linalg.lapack import dpstrf

    exact = unit.double()
    factor, pivots, rank, _ = dpstrf((exact @ exact.T).cpu().numpy(), tol=SCHUR_FLOOR[torch.float64], lower=1)
    chosen = torch.from_numpy(pivots[:rank].astype("int64") - 1)
    return chosen.to(unit.device), torch.from_numpy(factor[:rank, :rank]).tril().to(unit.device)


def power_of_two(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in float64 with their largest entry in [0.5, 1), and the exponents (n,) of the divisors.

    Division by a power of two is exact: squares and float32 cannot overflow, and scales do not change the choices.
    """
    exact = rows.double()
    none = rows.new_zeros(len(rows), dtype=torch.int)
    exponent = torch.frexp(exact.abs().amax(1)).exponent if rows.shape[1] else none
    half = torch.div(exponent, 2, rounding_mode="floor")  # in two steps: 2^-1074 has no finite inverse
    return torch.ldexp(torch.ldexp(exact, -half[:, None]), (half - exponent)[:, None]), exponent
