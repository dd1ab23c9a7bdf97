"""Errors of parts of the dictionaries: with a block of starts left out, and of the first starts only.

Another draw of starts gives another dictionary, and other errors of the same images. How much they vary is estimated
from the one draw there is: the starts are dealt into B blocks, start i into block i mod B, and each image is coded in
the B dictionaries that lack one block (delete-a-group jackknife; ``probe.metrics.interval.jackknife``). The dictionary
without a block has the atoms whose basin holds a start of another block: where a basin's leader is left out, the atom
stays, since another start ended within the merging threshold of it.

The dictionaries of the first N starts, N = 2^k, show what a larger dictionary is worth at the same number of atoms in
the code. Everything here is latent MSE at 5 % of d, by the same pursuit as the reconstructions; nothing is decoded.

| symbol | meaning |
|---|---|
| N, B | starts, blocks |
| m, d | atoms of a dictionary, latent dimension |
| n | images |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.config import SparseConfig
from probe.dictionary.controls import gaussian, unit_row_of
from probe.methods import OURS
from probe.sparse import Dictionary, omp
from probe.studies.probing.reconstruction import centred

BLOCKS = 16
"""Blocks of starts: 15 degrees of freedom, and dictionaries that keep 94 % of the starts."""
ONE_STEP, GAUSSIAN = "one_step", "gaussian"
EXAMINED = 128
"""Images of a data set that are coded without each block, at most: enough for a variance of their mean."""
LARGEST = 4096
"""Atoms of the largest Gaussian dictionary, unless there are more starts."""


@dataclass(frozen=True)
class Subsets:
    """Dictionaries whose parts are coded, each with the atom of every start.

    Attributes:
        bases: prepared dictionaries (m, d), by method.
        atom: by method (N,): row of the dictionary that a start gave, -1 for none.
        level: atoms in the code.
        blocks: B; fewer than 2 give no errors with a block left out.
    """

    bases: dict[str, Dictionary]
    atom: dict[str, Tensor]
    level: int
    blocks: int

    def sizes(self, method: str) -> list[int]:
        """Numbers of first starts: powers of two from the level on, then all."""
        return first_sizes(len(self.atom[method]), self.level)

    @property
    def facts(self) -> dict[str, Any]:
        """For the result file: ``blocks``; by method ``starts``, the sizes, and the ``atoms`` that these gave."""
        sizes = {method: self.sizes(method) for method in self.atom}
        atoms = {method: [len(_rows(self.atom[method][:size])) for size in sizes[method]] for method in sizes}
        return {"blocks": self.blocks, "starts": sizes, "atoms": atoms}


def first_sizes(n: int, level: int) -> list[int]:
    """Powers of two from the level on, then all n."""
    return [*(2**k for k in range(n.bit_length()) if level <= 2**k < n), n]


def gaussian_atoms(n: int, d: int) -> int:
    """Atoms of the Gaussian dictionary whose parts are coded."""
    return max(n, min(2 * d, LARGEST))


def subsets_of(
    bases: Mapping[str, Dictionary],
    member: Tensor | None,
    first: Tensor,
    sparse: SparseConfig,
    seed: int,
) -> Subsets:
    """Parts of those dictionaries whose atoms come from starts, or are drawn like them.

    Args:
        bases: prepared dictionaries by method, as for ``reconstruct``.
        member: the atom of every start (N,), -1 for none. If None (unknown), there are no parts to code.
        first: f(z0) of every start (N, c, h, w).
        seed: of the run.
    """
    n, d, level = len(first), first[0].numel(), sparse.five_percent(first[0].numel())
    if member is None:
        return Subsets({}, {}, level, 0)
    atom = {OURS: member}
    if ONE_STEP in bases:
        atom[ONE_STEP] = unit_row_of(centred(first, sparse))
    held = {method: bases[method] for method in atom}
    if GAUSSIAN in bases:
        like = bases[GAUSSIAN]
        count = gaussian_atoms(n, d)
        held[GAUSSIAN] = Dictionary(gaussian(count, d, seed + 1).to(like.unit.device), like.dtype)
        atom[GAUSSIAN] = torch.arange(count)
    return Subsets(held, atom, level, min(BLOCKS, n))


def errors_in_subsets(made: Subsets, signals: Tensor, few: int | None = None) -> dict[str, Tensor]:
    """Latent MSE of signals (n, d), float64 on the CPU.

    Returns:
        ``left_out/METHOD`` (B, few) of methods made from starts, without each block, of the first signals (default:
        all); ``size/METHOD`` (sizes, n).
    """
    few = len(signals) if few is None else few
    found = {}
    for method, basis in made.bases.items():
        atom = made.atom[method]
        whole = omp(basis, signals, [made.level])
        full = whole.squared_error[:, 0]
        chosen = whole.support[:, : made.level]
        smaller = [
            _without(basis, _rows(atom[:size]), signals, made.level, chosen, full) for size in made.sizes(method)
        ]
        found[f"size/{method}"] = torch.stack(smaller)
        if method != GAUSSIAN and made.blocks > 1:
            blocks = torch.arange(len(atom)) % made.blocks
            left = [_rows(atom[blocks != block]) for block in range(made.blocks)]
            first_ones = (signals[:few], made.level, chosen[:few], full[:few])
            without = [_without(basis, rows, *first_ones) for rows in left]
            found[f"left_out/{method}"] = torch.stack(without)
    return {name: (errors.double() / signals.shape[1]).cpu() for name, errors in found.items()}


def _rows(atom: Tensor) -> Tensor:
    """Rows of the dictionary that some of its starts gave."""
    return torch.unique(atom[atom >= 0])


def _without(basis: Dictionary, rows: Tensor, signals: Tensor, level: int, chosen: Tensor, full: Tensor) -> Tensor:
    """Squared errors (n,) with these rows of the dictionary only.

    Where the pursuit in the whole dictionary chose none of the others (``chosen`` (n, level), errors ``full`` (n,)), it
    makes the same choices without them, and its error stands.
    """
    kept = torch.zeros(len(basis), dtype=torch.bool)
    kept[rows] = True
    if kept.all():
        return full
    kept = kept.to(chosen.device)
    affected = ((chosen >= 0) & ~kept[chosen.clamp(min=0)]).any(1)
    errors = full.clone()
    if not affected.any():
        return errors
    if len(rows):
        errors[affected] = omp(basis.part(rows), signals[affected], [level]).squared_error[:, 0]
    else:
        errors[affected] = signals[affected].to(errors).square().sum(1)
    return errors
