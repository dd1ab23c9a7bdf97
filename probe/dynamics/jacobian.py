"""Products with the Jacobian J_f at many points at once; f takes each row by itself, so one pass serves all rows."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from probe.dynamics.latent_map import LatentMap, in_type
from probe.dynamics.memory import Fitting
from probe.machine import free_bytes
from probe.precision import full_float32

AGREEMENT, SMALL = 0.1, 0.01
"""Largest relative difference between a product and finite differences; relative to ``SMALL`` where both are smaller,
as at super-attracting points, where they are rounding: 0.001 more or less decides nothing there."""
SCALES = (1e-2, 1e-3, 1e-1, 1e-4)
"""Lengths of finite differences relative to the norm of the point, in the order in which most agree. The product must
agree at one of them at which the difference is well above rounding."""
FINE_SCALES = (1e-4, 1e-5, 1e-3, 1e-6)
"""The same in float64."""
CLEARLY = 1.5
"""Forward mode computes J v where the kept graph takes this many times as long. A smaller difference could be chance,
and chance must not choose: the last digits of a result depend on the mode."""
SHARE = 0.5
"""Largest part of the free memory of a CPU that a graph may take; a GPU reports that its memory is used up."""


class Jacobian:
    """J_f at n points.

    The graph of f at the points is built once and kept. J^T u is then one pass back through it, about as fast as f;
    J v is a pass through the graph of that pass, or forward mode where a measurement shows that it is clearly faster.
    Where f has no reverse derivative, or not even the graph of one point fits into memory, nothing is kept and J v is
    computed in forward mode.

    Args:
        f: maps (n, ...) to n rows of any shape (of a decoder, images), each row by itself.
        z: the points (n, ...).
        on_product: called before each product with J or J^T, as most do not ask f.

    Raises:
        torch.OutOfMemoryError: from a product, if the graph of several points does not fit; see ``Fitting``.
    """

    def __init__(self, f: Callable[[Tensor], Tensor], z: Tensor, on_product: Callable[[], None] = lambda: None):
        self.f, self.z, self.on_product = f, z, on_product
        self._modes = _Modes(f)
        self._graph: _Graph | None = None

    def times(self, v: Tensor) -> Tensor:
        """J v for v of the shape of z."""
        self.on_product()
        with _exact():
            v = v.to(self.z)
            if not self._modes.chosen(self.z).forward:
                product = self._with_graph(lambda graph: graph.times(v))
                if product is not None:
                    return product
            return self._modes.step(self.z, v)[1]

    def transposed_times(self, u: Tensor) -> Tensor:
        """J^T u for u of the shape of f(z)."""
        self.on_product()
        with _exact():
            u = u.to(self.z)
            product = self._with_graph(lambda graph: graph.transposed_times(u))
            return self._modes.transposed(self.z, u).detach() if product is None else product

    @property
    def transposes(self) -> bool:
        """Whether a product with J^T is the faster one: where a graph is kept."""
        return self._modes.chosen(self.z).keep

    def step(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """f(z) and J v, for a single product at these points."""
        with _exact():
            return self._modes.step(self.z, v.to(self.z))

    def take(self, rows: Tensor) -> "Jacobian":
        """J at some of the points (indices, ascending)."""
        return self if len(rows) == len(self.z) else self.at(self.z[rows])

    def at(self, z: Tensor) -> "Jacobian":
        """J of the same f at other points; keeps the modes found so far."""
        other = copy.copy(self)
        other.z, other._graph = z, None
        return other

    def agrees(self) -> Tensor:
        """Whether J v agrees with finite differences of f, for one random v (n,).

        It does not where ``torch.no_grad`` or ``detach`` inside f hides a dependence, where a quantiser lets gradients
        pass, or where f has no derivative. Where only reverse mode misses something, forward mode is used from here on.
        Where differences in float32 do not agree, an autoencoder is asked in float64: they can be smaller there.
        """
        v = directions(self.z)
        agreed = self._agreed(v)
        if self._modes.keep and not bool(agreed.all()):
            self._graph, self._modes.keep, self._modes.forward = None, False, True
            agreed = self._agreed(v)
        left = (~agreed).nonzero().squeeze(1)
        if len(left) and self.z.dtype == torch.float32 and isinstance(self.f, LatentMap):
            with in_type(self.f, torch.float64):
                agreed[left] = Jacobian(self.f, self.z[left].double())._agreed(v[left].double(), FINE_SCALES)
        return agreed

    @torch.no_grad()
    def _agreed(self, v: Tensor, scales: tuple[float, ...] = SCALES) -> Tensor:
        try:
            product = self.times(v).flatten(1).double()
        except torch.OutOfMemoryError:
            raise
        except (NotImplementedError, RuntimeError):
            return torch.zeros(len(v), dtype=torch.bool, device=v.device)
        length = self.z.flatten(1).norm(dim=1).clamp(min=1e-3)
        agreed = torch.zeros(len(v), dtype=torch.bool, device=v.device)
        for scale in scales:
            left = (~agreed).nonzero().squeeze(1)
            if not len(left):
                break
            agreed[left] = self._agreed_at(scale * length[left], left, v, product[left])
        return agreed

    def _agreed_at(self, h: Tensor, rows: Tensor, v: Tensor, product: Tensor) -> Tensor:
        """Whether products (k, d) agree with differences of length h (k,) at rows (k,) of the points."""
        z, v = self.z[rows], v[rows]
        step = h.view(-1, *[1] * (v.ndim - 1)) * v
        with full_float32():
            there, back = self._modes.value(z + step), self._modes.value(z - step)
        slope = (there - back).flatten(1).double() / (2 * h.view(-1, 1))
        rounding = 10 * torch.finfo(v.dtype).eps * there.flatten(1).norm(dim=1).double() / h
        size = torch.maximum(product.norm(dim=1), slope.norm(dim=1)).clamp(min=SMALL)
        # A slope below rounding shows nothing.
        telling = rounding <= AGREEMENT * size
        return telling & ((product - slope).norm(dim=1) <= AGREEMENT * size + rounding)

    def _with_graph(self, product: "Callable[[_Graph], Tensor]") -> Tensor | None:
        """The product with the kept graph; None if none is kept."""
        if not self._modes.chosen(self.z).keep:
            return None
        try:
            if self._graph is None:
                self._modes.check_memory(len(self.z))
                self._graph = _Graph(self.f, self.z)
            return product(self._graph)
        except torch.OutOfMemoryError:
            self._graph = None
            if len(self.z) > 1:
                raise
            self._modes.keep = False
        return None


class _Graph:
    """The graph of f at z, and that of u -> J^T u once it is needed."""

    def __init__(self, f: Callable[[Tensor], Tensor], z: Tensor):
        self.z = z.detach().requires_grad_()
        self.y = f(self.z)
        self._linear: tuple[Tensor, Tensor] | None = None

    def transposed_times(self, u: Tensor) -> Tensor:
        return torch.autograd.grad(self.y, self.z, u, retain_graph=True, materialize_grads=True)[0]

    def times(self, v: Tensor) -> Tensor:
        """The derivative of u -> J^T u, which is linear, in the direction v."""
        if self._linear is None:
            u = torch.zeros_like(self.y, requires_grad=True)
            self._linear = u, torch.autograd.grad(self.y, self.z, u, create_graph=True, materialize_grads=True)[0]
        u, pulled = self._linear
        if not pulled.requires_grad:  # J is 0
            return torch.zeros_like(u)
        return torch.autograd.grad(pulled, u, v, retain_graph=True, materialize_grads=True)[0]


@dataclass(frozen=True)
class _Measured:
    """How products of one f are computed, as measured at one point.

    Attributes:
        keep: whether graphs are kept.
        forward: whether J v is computed in forward mode.
        bytes: what the graph of one point takes; 0 where a device tells itself that its memory is used up.
    """

    keep: bool = True
    forward: bool = False
    bytes: int = 0


_KNOWN: "WeakKeyDictionary[Callable[[Tensor], Tensor], dict[object, _Measured]]" = WeakKeyDictionary()
"""What was measured, for as long as f lives: it takes as long as some ten certificates of a small model."""


class _Modes:
    """How products of one f are computed: as measured, until a product fails or is wrong."""

    def __init__(self, f: Callable[[Tensor], Tensor]):
        self.f = f
        self.keep, self.forward, self.bytes = True, False, 0
        self.value = Fitting(f)
        self.transposed = Fitting(lambda z, u: torch.func.vjp(f, z)[1](u)[0])
        self._step = Fitting(lambda z, v: torch.func.jvp(f, (z,), (v,)))
        self._chosen = False

    def step(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """f(z) and J v in forward mode. If an operation of f has none (group norm after attention, as in Stable
        Diffusion's autoencoder), in reverse mode twice."""
        try:
            y, product = self._step(z, v)
        except torch.OutOfMemoryError:
            raise
        except (NotImplementedError, RuntimeError):
            if self._step.function == self._twice_backward:
                raise
            self._step.function = self._twice_backward
            y, product = self._step(z, v)
        return y.detach(), product.detach()  # weights that require gradients would keep the graph of every product

    def chosen(self, z: Tensor) -> "_Modes":
        """Measured at the first of the points, if f has not been yet."""
        if not self._chosen and len(z):
            self._chosen = True
            key = z.shape[1:], z.dtype, z.device
            try:
                known = _KNOWN.setdefault(self.f, {})
            except TypeError:  # no hash, or no weak reference
                known = {}
            if key not in known:
                known[key] = self._measured(z[:1])
            self.keep, self.forward, self.bytes = known[key].keep, known[key].forward, known[key].bytes
        return self

    def check_memory(self, n: int) -> None:
        """Raise OutOfMemoryError if a CPU has no room for the graph of n points: it would be killed, not told."""
        if self.bytes and n * self.bytes > SHARE * free_bytes():
            raise torch.OutOfMemoryError(f"the graph of f at {n} points takes {n * self.bytes / 2**30:.1f} GiB")

    def _measured(self, z: Tensor) -> _Measured:
        v = directions(z)
        try:
            graph, size = kept(self.f, z)
            seconds = _seconds(lambda: graph.times(v), z.device)
        except torch.OutOfMemoryError:
            return _Measured(keep=False)
        except (NotImplementedError, RuntimeError):
            return _Measured(keep=False, forward=True)
        size = size if z.device.type == "cpu" else 0
        try:
            self.step(z, v)
            return _Measured(True, seconds > CLEARLY * _seconds(lambda: self.step(z, v), z.device), size)
        except (NotImplementedError, RuntimeError):
            return _Measured(bytes=size)

    def _twice_backward(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        y, back, *_ = torch.func.vjp(self.f, z)
        return y, torch.func.vjp(lambda u: back(u)[0], torch.zeros_like(y))[1](v)[0]


def kept(f: Callable[[Tensor], Tensor], z: Tensor) -> tuple[_Graph, int]:
    """The graph of f at z after a product with J, and the bytes that it keeps, weights left out; also on the meta
    device."""
    held: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):
            held[x.untyped_storage()._cdata] = x.untyped_storage().nbytes()
        return x

    with _exact(), saved_tensors_hooks(pack, lambda x: x):
        graph = _Graph(f, z)
        graph.times(directions(z))
    return graph, sum(held.values())


def _seconds(product: Callable[[], object], device: torch.device) -> float:
    """The shortest of three; on a CPU of the process's own time, which other processes do not lengthen."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    measured = []
    for _ in range(3):
        began = clock()
        product()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        measured.append(clock() - began)
    return min(measured)


def directions(z: Tensor, seed: int = 0) -> Tensor:
    """A random unit vector, the same for each row of z (n, ...), so that results do not depend on the batch."""
    v = torch.randn(z.shape[1:], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (v / v.norm()).to(z).expand_as(z).contiguous()


@contextmanager
def _exact() -> Iterator[None]:
    """Fused attention has no forward derivative and no double backward; its plain form has both."""
    with full_float32(), sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        yield
