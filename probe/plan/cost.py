"""What E, D and f = E(D(z)) of a model cost for one row, counted without computing where that is possible.

| symbol | meaning | shape |
|---|---|---|
| z | a latent | (1, c, h, w) |
| x | an image | (1, 3, H, W) |
"""

import logging
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from probe.autoencoders import Autoencoder, load_autoencoder, outline
from probe.config import ModelConfig
from probe.dynamics import LatentMap
from probe.dynamics.jacobian import kept

log = logging.getLogger("probe")


@dataclass(frozen=True)
class Pass:
    """One evaluation of a function at one row.

    Attributes:
        flops: of matrix products, convolutions and attention; a multiply-add counts as two.
        moved: bytes that its operations read and write, each once, weights left out.
        peak: largest sum of the bytes of its intermediate tensors that exist at one time.
        operations: calls of kernels.
    """

    flops: float
    moved: float
    peak: float
    operations: int


@dataclass(frozen=True)
class ModelCost:
    """What a model costs for one row.

    Attributes:
        class_name: of the model.
        latent_shape, sample_shape: of one latent and of one input, without the batch.
        weights: bytes of the parameters.
        encode, decode, f: one row each, without gradients.
        graph: bytes of the graph that certificates keep of one row; None where f has no derivative of that kind.
        element: bytes of a number.
        model: the loaded model, where it had to be loaded to count; None where its config.json was enough.
    """

    class_name: str
    latent_shape: tuple[int, ...]
    sample_shape: tuple[int, ...]
    weights: float
    encode: Pass
    decode: Pass
    f: Pass
    graph: float | None
    element: int
    model: Autoencoder | None = None

    @property
    def d(self) -> int:
        """Latent dimension."""
        return torch.Size(self.latent_shape).numel()


def model_cost(spec: ModelConfig, resolution: int) -> ModelCost:
    """What a model costs; of a model of diffusers only config.json is read, from the hub too.

    Models of a user's own function, and classes that do not run without values, are loaded and evaluated at one row.

    Raises:
        UserError: as ``load_autoencoder``; or the resolution does not suit the model.
    """
    without_weights = outline(spec)
    if without_weights is not None:
        without_weights.check_resolution(resolution)
        try:
            return counted(without_weights, spec, resolution)
        except Exception as error:  # any operation that needs values, or has no kernel for the meta device
            log.debug(f"the cost of {spec.source} is counted on its weights: {type(error).__name__}: {error}")
    return cost_of(load_autoencoder(spec), spec, resolution)


def cost_of(model: Autoencoder, spec: ModelConfig, resolution: int) -> ModelCost:
    """``model_cost`` of a loaded model."""
    model.latent_shape(resolution)  # says what does not fit, in one sentence
    return counted(model, spec, resolution)


def counted(model: Autoencoder, spec: ModelConfig, resolution: int) -> ModelCost:
    """``model_cost`` of a model as it is, on whatever device; nothing is checked."""
    shape = model.sample_shape(resolution)
    x = torch.zeros(1, *shape, device=model.device, dtype=model.dtype)
    known = [p for module in model.modules for p in module.parameters()]
    encode, z = passing(model.encode, x, known)
    decode, _ = passing(model.decode, z, known)
    f = LatentMap(model, clamp=spec.clamp)
    return ModelCost(
        class_name=model.class_name,
        latent_shape=tuple(z.shape[1:]),
        sample_shape=shape,
        weights=float(sum(p.numel() * p.element_size() for p in known)),
        encode=encode,
        decode=decode,
        f=passing(f, z, known)[0],
        graph=_graph_bytes(f, z),
        element=x.element_size(),
        model=None if model.device.type == "meta" else model,
    )


@torch.no_grad()
def passing(function: Callable[[Tensor], Tensor], x: Tensor, known: list[Any]) -> tuple[Pass, Tensor]:
    """What a function costs at x, and its value; the tensors ``known`` do not count as moved or alive.

    Attention is counted in its plain form: of the fused ones the counter knows those of GPUs only. So a matrix of all
    pairs of positions counts as moved and alive, which these do without.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as flops, _Traffic(known) as traffic:
        y = function(x)
    return Pass(float(flops.get_total_flops()), traffic.moved, traffic.peak, traffic.operations), y


def _graph_bytes(f: LatentMap, z: Tensor) -> float | None:
    try:
        return float(kept(f, z)[1])
    except (NotImplementedError, RuntimeError):
        return None


class _Traffic(TorchDispatchMode):
    """Counts what operations read and write, and what is alive of what they made."""

    def __init__(self, known: list[Tensor]):
        super().__init__()
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.moved, self.peak, self.now, self.operations = 0.0, 0.0, 0.0, 0
        self.holders: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        made = [one for one in tree_leaves(result) if isinstance(one, Tensor)]
        before = {one.untyped_storage()._cdata for one in given}
        if all(one.untyped_storage()._cdata in before for one in made) and not func._schema.is_mutable:
            self._watch(made)  # views
            return result
        self.operations += 1
        unknown = [one for one in (*given, *made) if one.untyped_storage()._cdata not in self.known]
        self.moved += sum(one.numel() * one.element_size() for one in unknown)
        self._watch(made)
        return result

    def _watch(self, made: list[Tensor]) -> None:
        for tensor in made:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in self.known:
                continue
            if not self.holders[key]:
                self.now += size
            self.holders[key] += 1
            weakref.finalize(tensor, self._gone, key, size)
        self.peak = max(self.peak, self.now)

    def _gone(self, key: int, size: int) -> None:
        self.holders[key] -= 1
        if not self.holders[key]:
            self.now -= size
