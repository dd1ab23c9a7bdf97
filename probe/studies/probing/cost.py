"""The cost of one step of f: floating point operations and memory."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from probe.autoencoders import Autoencoder
from probe.config import Config
from probe.dynamics import LatentMap
from probe.studies.probing.end_points import iteration

ACTIVATIONS = 3
"""Rough number of largest tensors alive at once in a forward pass: an input, an output, a skip."""


def cost(model: Autoencoder, shape: tuple[int, ...], config: Config) -> dict[str, Any]:
    """The cost of f for one start, measured by running it once without gradients.

    Returns:
        ``flops_per_step`` (of one row; a multiply-add counts as two; matrix products, convolutions and attention only),
        ``weights_bytes``, ``rows`` (the batch, by ``solver.batch_size``), and ``step_bytes`` (estimated: the weights,
        and per row three times the largest output of a module).
    """
    largest = 0

    def watch(_module: Any, _inputs: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, torch.Tensor):
            largest = max(largest, output.numel() * output.element_size())

    handles = [m.register_forward_hook(watch) for module in model.modules for m in module.modules()]
    z = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)).to(model.device, model.dtype)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            LatentMap(model, clamp=config.model.clamp)(z)
    finally:
        for handle in handles:
            handle.remove()
    weights = sum(p.numel() * p.element_size() for module in model.modules for p in module.parameters())
    rows = iteration(config.solver, shape, model.device).batch_size
    return {
        "flops_per_step": counter.get_total_flops(),
        "weights_bytes": weights,
        "rows": rows,
        "step_bytes": weights + rows * ACTIVATIONS * largest,
    }
