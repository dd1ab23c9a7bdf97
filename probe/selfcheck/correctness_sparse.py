"""Sparse codes on the device: supports, weights and errors are those of the CPU in float64."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from probe.selfcheck.check import Check, Row, Setting, at_most, equals
from probe.selfcheck.correctness_dynamics import tf32_allowed
from probe.sparse import Dictionary, SparseCodes, batched, cholesky, directions
from probe.sparse.omp import Method, engine, omp


@dataclass(frozen=True)
class Case:
    """A dictionary of N atoms in d dimensions, and a path of ``levels`` for n signals.

    kind: ``random``, ``coherent`` (all atoms share a direction), ``repeated`` (every atom twice) or ``low rank``.
    """

    n_atoms: int
    d: int
    levels: tuple[int, ...]
    n: int
    kind: str = "random"
    method: Method = "omp"

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.method}, {self.n_atoms} {self.kind} atoms, d {self.d}, {self.levels[-1]} chosen"


SMALL = (
    Case(120, 60, (4, 12), 20),
    Case(120, 60, (4, 12), 20, method="ols"),
    Case(60, 60, (8, 60), 20, "coherent"),
    Case(120, 60, (20,), 20, "repeated"),
    Case(120, 60, (20, 50), 20, "low rank"),
)
LARGE = (
    Case(512, 256, (8, 64, 128), 100),
    Case(512, 256, (64,), 100, method="ols"),
    Case(1024, 1024, (51, 205), 64),
    Case(1024, 1024, (205, 512), 16),
    Case(1024, 512, (128,), 64, "coherent"),
)
"""512 of 1024 is beyond ``omp.LONG``: the inverse Cholesky factor on a GPU."""


def _atoms(case: Case) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(case.n_atoms + case.levels[-1])
    atoms = torch.randn(case.n_atoms, case.d, dtype=torch.float64, generator=generator)
    if case.kind == "coherent":
        atoms += 4 * torch.randn(1, case.d, dtype=torch.float64, generator=generator)
    if case.kind == "repeated":
        atoms[1::2] = atoms[::2]
    if case.kind == "low rank":
        atoms[:, case.d // 2 :] = 0
    return atoms, torch.randn(case.n, case.d, dtype=torch.float64, generator=generator)


def _float64(setting: Setting) -> Iterator[Row]:
    for case in SMALL if setting.small else SMALL + LARGE:
        atoms, signals = _atoms(case)
        reference = _on_cpu(atoms, signals, case)
        found = omp(atoms.to(setting.device), signals.to(setting.device), case.levels, method=case.method)
        yield _same(case.name, found, reference, signals)


def _on_cpu(atoms: Tensor, signals: Tensor, case: Case) -> SparseCodes:
    """By ``omp``, or, where that would compile code first, by the formulation in torch."""
    ready, ols = Dictionary(atoms, torch.float64), case.method == "ols"
    if engine(ready, case.levels[-1]) == batched.pursue or case.levels[-1] >= min(atoms.shape):
        return omp(ready, signals, case.levels, method=case.method)
    found = batched.pursue(ready.unit, ready.gram, signals, case.levels, ols=ols, memory=1 << 30)
    norms = ready.norm[found.support.clamp(min=0)]
    return replace(found, coefficients=tuple(code / norms[:, : code.shape[1]] for code in found.coefficients))


def _same(name: str, found: SparseCodes, reference: SparseCodes, signals: Tensor) -> Row:
    """Signals whose atoms are others, or come in another order; the note compares errors."""
    ours, theirs = found.support.cpu(), reference.support
    width = max(ours.shape[1], theirs.shape[1])
    pad = [torch.nn.functional.pad(one, (0, width - one.shape[1]), value=-1) for one in (ours, theirs)]
    other = int((pad[0] != pad[1]).any(1).sum())
    gap = (found.squared_error.cpu() - reference.squared_error).abs().amax(1) / signals.square().sum(1)
    return equals(
        f"other supports: {name}", other, 0, "signals", f"errors differ by {float(gap.max()):.1e} of a signal"
    )


def _formulations(setting: Setting) -> Iterator[Row]:
    """All torch formulations on the device, in chunks of several sizes."""
    case = Case(120, 60, (4, 30), 40) if setting.small else Case(512, 256, (16, 128), 150)
    atoms, signals = _atoms(case)
    reference = _on_cpu(atoms, signals, case)
    ready, x = Dictionary(atoms.to(setting.device), torch.float64), signals.to(setting.device)
    formulations = {"batched": batched.pursue, "cholesky": cholesky.pursue, "directions": directions.pursue}
    for name, pursue in formulations.items():
        for memory in (1 << 30, 1 << 22):
            found = pursue(ready.unit, ready.gram, x, case.levels, ols=False, memory=memory)
            yield _same(f"{name} with {memory >> 20} MiB of work arrays", found, reference, signals)


def _float32(setting: Setting) -> Iterator[Row]:
    """Where two atoms tie within rounding, float32 may take the other, and the path is another from there on: on a CPU,
    too. For the atoms that it takes, the error must be the least, as float64 knows it."""
    for case in SMALL[:1] if setting.small else LARGE[::2]:
        atoms, signals = _atoms(case)
        reference = _on_cpu(atoms, signals, case)
        there = atoms.to(setting.device), signals.to(setting.device)
        with tf32_allowed():
            found = omp(*there, case.levels, method=case.method, dtype=torch.float32)
        support, energy = found.support.cpu(), signals.square().sum(1)
        other = float((support != reference.support).any(1).double().mean())
        limit = 35 if case.kind == "coherent" else 2
        yield at_most(f"other supports: {case.name}", 100 * other, limit, "% of the signals")
        gap = (found.squared_error.cpu().double()[:, -1] - _least(atoms, signals, support)).abs() / energy
        yield at_most(f"errors beyond the least: {case.name}", float(gap.max()), 1e-5, note="of a signal's energy")


def _least(atoms: Tensor, signals: Tensor, support: Tensor) -> Tensor:
    """||x - x_hat||^2 of the projections on the chosen atoms, in float64 (n,)."""
    basis = torch.linalg.qr(atoms[support].mT)[0]  # (n, d, k)
    rest = signals - (basis @ (basis.mT @ signals[:, :, None]))[:, :, 0]
    return rest.square().sum(1)


def _engines(setting: Setting) -> Iterator[Row]:
    """Which formulation serves which path here."""
    atoms = Dictionary(torch.eye(16, dtype=torch.float64, device=setting.device) + 0.1, torch.float64)
    chosen = {depth: engine(atoms, depth).__module__.rpartition(".")[2] for depth in (8, 5000)}
    yield Row("formulation of a short path", chosen[8])
    yield Row("formulation of a long path", chosen[5000])


CHECKS = (
    Check("omp-float64", "correctness", "OMP and OLS choose the atoms that the CPU chooses", 30, _float64),
    Check("omp-formulations", "correctness", "each formulation of OMP gives the same codes", 15, _formulations),
    Check("omp-float32", "correctness", "OMP in float32 takes the same atoms but for ties", 15, _float32),
    Check("omp-engines", "correctness", "which formulation is used", 5, _engines),
)
