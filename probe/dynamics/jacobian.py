"""Products with the Jacobian J_f at many points at once; f takes each row by itself, so one pass serves all rows."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from probe.dynamics.memory import Fitting
from probe.precision import full_float32

AGREEMENT = 0.1
"""Largest relative difference between a product and finite differences."""
SCALES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Lengths of finite differences relative to the norm of the point. The product must agree at one of them at which the
difference is well above rounding."""


class Jacobian:
    """J_f at n points.

    Products are computed in forward mode. If an operation of f has no forward derivative (group norm after attention,
    as in Stable Diffusion's autoencoder), in reverse mode twice, which costs a little more.

    Args:
        f: maps (n, ...) to n rows of any shape (of a decoder, images), each row by itself.
        z: the points (n, ...).
    """

    def __init__(self, f: Callable[[Tensor], Tensor], z: Tensor):
        self.f, self.z = f, z
        self._forward = Fitting(lambda z, v: torch.func.jvp(f, (z,), (v,)))
        self._backward = Fitting(lambda z, u: torch.func.vjp(f, z)[1](u)[0])
        self._twice = partial(_twice_backward, f)
        self._value = Fitting(f)

    def times(self, v: Tensor) -> Tensor:
        """J v for v of the shape of z."""
        return self.step(v)[1]

    def step(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """f(z) and J v."""
        with _exact():
            try:
                return _detached(self._forward(self.z, v.to(self.z)))
            except torch.OutOfMemoryError:
                raise
            except (NotImplementedError, RuntimeError):
                if self._forward.function is self._twice:
                    raise
                self._forward.function = self._twice
            return _detached(self._forward(self.z, v.to(self.z)))

    def transposed_times(self, u: Tensor) -> Tensor:
        """J^T u for u of the shape of f(z)."""
        with _exact():
            return self._backward(self.z, u.to(self.z)).detach()

    def take(self, rows: Tensor) -> "Jacobian":
        """J at some of the points (indices)."""
        return self.at(self.z[rows])

    def at(self, z: Tensor) -> "Jacobian":
        """J of the same f at other points; keeps the batch size and mode found so far."""
        other = copy.copy(self)
        other.z = z
        return other

    @torch.no_grad()
    def agrees(self) -> Tensor:
        """Whether J v agrees with finite differences of f, for one random v (n,).

        It does not where ``torch.no_grad`` or ``detach`` inside f hides a dependence, where a quantiser lets gradients
        pass, or where f has no derivative.
        """
        v = directions(self.z)
        try:
            product = self.times(v).flatten(1).double()
        except torch.OutOfMemoryError:
            raise
        except (NotImplementedError, RuntimeError):
            return torch.zeros(len(v), dtype=torch.bool, device=v.device)
        length = self.z.flatten(1).norm(dim=1).clamp(min=1e-3)
        agreed = torch.zeros(len(v), dtype=torch.bool, device=v.device)
        for scale in SCALES:
            h = (scale * length).view(-1, *[1] * (v.ndim - 1))
            with full_float32():
                there, back = self._value(self.z + h * v), self._value(self.z - h * v)
            slope = (there - back).flatten(1).double() / (2 * h.view(-1, 1))
            rounding = 10 * torch.finfo(v.dtype).eps * there.flatten(1).norm(dim=1).double() / h.flatten()
            size = torch.maximum(product.norm(dim=1), slope.norm(dim=1))
            # A slope below rounding shows nothing, unless f does not move at all.
            telling = (rounding <= AGREEMENT * size) | (size == 0)
            agreed |= telling & ((product - slope).norm(dim=1) <= AGREEMENT * size + rounding)
        return agreed


def _twice_backward(f: Callable[[Tensor], Tensor], z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """f(z), and J v as the derivative of u -> J^T u, which is linear, in the direction v."""
    y, back, *_ = torch.func.vjp(f, z)
    return y, torch.func.vjp(lambda u: back(u)[0], torch.zeros_like(y))[1](v)[0]


def _detached(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Weights that require gradients would keep the graph of every product."""
    return pair[0].detach(), pair[1].detach()


def directions(z: Tensor) -> Tensor:
    """A random unit vector, the same for each row of z (n, ...), so that results do not depend on the batch."""
    v = torch.randn(z.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (v / v.norm()).to(z).expand_as(z).contiguous()


@contextmanager
def _exact() -> Iterator[None]:
    """Fused attention has no forward derivative; its plain form has."""
    with full_float32(), sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        yield
