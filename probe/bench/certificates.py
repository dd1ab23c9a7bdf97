"""What a certificate costs: ours against ARPACK on forward-mode products, at the same points, fixed or not.

| contender | what it does |
|---|---|
| scipy eigs, svds | ARPACK, a point at a time, on products in forward and reverse mode made anew |
| probe | ``spectra_at``, which ``certify`` calls where a point is fixed |
| probe certify | the whole certificate: a first look at the radius, plain steps, then the spectra where these lead |
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from probe.bench import in_turn, paired_ratio
from probe.bench.device import now
from probe.dynamics import LatentMap, apply, certify
from probe.dynamics.certificate import TOGETHER, YES, spectra_at
from probe.precision import full_float32


@dataclass
class Measured:
    """One contender.

    Attributes:
        tool: its name.
        seconds: for all points, the median over the repeats.
        products: with J or J^T, mean over points.
        steps: evaluations of f outside of products, mean over points: residuals, finite differences, plain steps.
        evaluations: the time of a certificate in evaluations of f, each on as many rows as ours takes at once.
        certified: points that are attractors: the residual is below the tolerance, and the radius below 1; of
            ``certify`` those that it certifies.
        ratio: seconds over ours, the median over the repeats.
    """

    tool: str
    seconds: float
    products: float
    steps: float
    evaluations: float
    certified: int
    ratio: float


class _Watched(LatentMap):
    """A latent map that counts the rows it is asked for outside of products, which need gradients."""

    def __init__(self, f: LatentMap):
        super().__init__(f.autoencoder, clamp=f.clamp)
        self.rows = 0

    def __call__(self, z: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            self.rows += len(z)
        return super().__call__(z)


def compare(f: LatentMap, points: Tensor, *, tolerance: float, budget: int, repeats: int) -> Iterator[Measured]:
    """Measure all contenders in turn, ``repeats`` times, at points (n, ...)."""
    f = _Watched(f)

    def counted(contender: Callable[[Tensor], tuple[float, int]]) -> tuple[float, float, int]:
        before = f.rows
        products, certified = contender(points)
        return products, (f.rows - before) / len(points), certified

    tools = {
        "scipy eigs, svds": partial(_by_arpack, f, tolerance=tolerance),
        "probe": partial(_by_probe, f, tolerance=tolerance, budget=budget),
        "probe certify": partial(_by_certify, f, tolerance=tolerance, budget=budget),
    }
    clock = partial(now, points.device)
    for contender in tools.values():
        contender(points[:1])
    seconds, found = in_turn({tool: partial(counted, one) for tool, one in tools.items()}, repeats, clock)
    once = _evaluation(f, points[:TOGETHER], clock)
    for tool, (products, steps, certified) in found.items():
        taken = statistics.median(seconds[tool])
        ratio = paired_ratio(seconds[tool], seconds["probe"])
        yield Measured(tool, taken, products, steps, taken / len(points) / once, certified, ratio)


def _evaluation(f: Callable[[Tensor], Tensor], z: Tensor, clock: Callable[[], float]) -> float:
    """Seconds of an evaluation of f, for one row of these; the median of nine."""
    with torch.no_grad(), full_float32():
        f(z)
        seconds, _ = in_turn({"f": partial(f, z)}, 9, clock)
    return statistics.median(seconds["f"]) / len(z)


def _by_probe(f: Callable[[Tensor], Tensor], z: Tensor, tolerance: float, budget: int) -> tuple[float, int]:
    fixed = _fixed(f, z, tolerance)
    _, radius, norm = spectra_at(f, z, budget=budget)
    return float((radius.products + norm.products).double().mean()), int((fixed & (radius.value < 1)).sum())


def _by_certify(f: LatentMap, z: Tensor, tolerance: float, budget: int) -> tuple[float, int]:
    found = certify(f, z, tolerance=tolerance, budget=budget)
    return float(found.products.double().mean()), int((found.attractor == YES).sum())


def _by_arpack(f: Callable[[Tensor], Tensor], z: Tensor, tolerance: float) -> tuple[float, int]:
    fixed = _fixed(f, z, tolerance)
    products = certified = 0
    for point, settled in zip(z.split(1), fixed.tolist(), strict=True):
        operator = _Counted(f, point)
        rng = np.random.default_rng(0).standard_normal(point.numel())
        value = scipy.sparse.linalg.eigs(operator, k=1, v0=rng, tol=1e-2, return_eigenvectors=False)
        scipy.sparse.linalg.svds(operator, k=1, v0=rng, tol=1e-2, return_singular_vectors=False)
        products += operator.products
        certified += int(settled and abs(value[0]) < 1)
    return products / len(z), certified


def _fixed(f: Callable[[Tensor], Tensor], z: Tensor, tolerance: float) -> Tensor:
    with torch.no_grad(), full_float32():
        return (torch.cat([apply(f, part)[1] for part in z.split(TOGETHER)]) < tolerance).cpu()


class _Counted(scipy.sparse.linalg.LinearOperator):
    """J_f at one point, which counts its products."""

    def __init__(self, f: Callable[[Tensor], Tensor], z: Tensor):
        self.f, self.z, self.products = f, z, 0
        super().__init__(np.dtype(np.float64), (z.numel(), z.numel()))

    def _matvec(self, v: np.ndarray) -> np.ndarray:
        return self._product(lambda x: torch.func.jvp(self.f, (self.z,), (x,))[1], v)

    def _rmatvec(self, u: np.ndarray) -> np.ndarray:
        return self._product(lambda x: torch.func.vjp(self.f, self.z)[1](x)[0], u)

    def _product(self, product: Callable[[Tensor], Tensor], v: np.ndarray) -> np.ndarray:
        self.products += 1
        x = torch.from_numpy(np.ascontiguousarray(v)).view(self.z.shape).to(self.z)
        with full_float32(), sdpa_kernel(SDPBackend.MATH):
            return product(x).detach().flatten().double().cpu().numpy()
