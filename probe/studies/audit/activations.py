"""The largest activation of every module of a model, and float16 on a machine that has none.

float16 is emulated as GPUs compute it: weights, inputs and the outputs of modules are rounded to it, and what happens
inside a module is computed in float32. (On CPUs without float16 units, torch takes some 200 times as long as in
float32.) A sum that overflows inside a module and is small again at its end is therefore missed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from probe.autoencoders import Autoencoder

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """What a module returned at one of its calls.

    Attributes:
        module: its name in the model, or its class for the model itself.
        largest: absolute value; NaN or infinity if one of the output's values is.
        before: the same of its inputs.
    """

    module: str
    largest: float
    before: float


def recorded(model: Autoencoder, run: Callable[[], Any], change: Change | None = None) -> list[Activation]:
    """The activations of all calls of all modules while ``run`` runs, in the order in which they return: a module's
    parts before the module.

    Args:
        change: what the outputs of all modules go through first.
    """
    seen: list[tuple[str, Tensor, Tensor]] = []

    def see(name: str, given: list[Tensor], returned: list[Tensor]) -> None:
        if returned:
            seen.append((name, _largest(returned), _largest(given)))

    with hooked(model, see, change):
        run()
    return [Activation(name, float(after), float(before)) for name, after, before in seen]


def largest_by_module(model: Autoencoder, run: Callable[[], Any]) -> dict[str, float]:
    """The largest activation of each module while ``run`` runs; NaN or infinite if one of its values is."""
    found: dict[str, float] = {}
    for one in recorded(model, run):
        before = found.get(one.module, 0.0)
        found[one.module] = one.largest if not one.largest <= before else before
    return found


@contextmanager
def hooked(
    model: Autoencoder,
    see: Callable[[str, list[Tensor], list[Tensor]], None] | None = None,
    change: Change | None = None,
) -> Iterator[None]:
    """Context in which all outputs of modules go through ``change``, and ``see`` gets a module's name, inputs and
    outputs."""

    def hook_of(name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
            output = _changed(output, change) if change else output
            if see:
                see(name, _tensors(inputs), _tensors(output))
            return output

        return hook

    handles = [
        module.register_forward_hook(hook_of(name or type(module).__name__))
        for root in model.modules
        for name, module in root.named_modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def as_float16(x: Tensor) -> Tensor:
    """The nearest float16 numbers, in the type of x; infinite beyond 65504."""
    return x.to(torch.float16).to(x.dtype) if x.is_floating_point() else x


def round_weights(model: Autoencoder) -> list[str]:
    """Round all weights and buffers to float16, in place; the names of those that exceed it."""
    exceeding = []
    for root in model.modules:
        for name, value in (*root.named_parameters(), *root.named_buffers()):
            value.data.copy_(as_float16(value.data))
            if not value.isfinite().all():
                exceeding.append(name)
    return exceeding


def _largest(tensors: list[Tensor]) -> Tensor:
    """Of all values; a tensor, as a number would make a GPU wait."""
    sizes = [tensor.detach().abs().amax().float() for tensor in tensors if tensor.numel()]
    return torch.stack(sizes).amax() if sizes else torch.zeros(())


def _tensors(value: Any) -> list[Tensor]:
    """The tensors of floating-point numbers in the input or output of a module."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    values = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [tensor for one in values for tensor in _tensors(one)]


def _changed(value: Any, change: Change) -> Any:
    """The same output with its tensors changed; one of another structure as it is."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (tuple, list):
        return type(value)(_changed(one, change) for one in value)
    return value
