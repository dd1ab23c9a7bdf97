"""Inputs that are harder than their targets: regularisers that make f contract (paper, Section 3)."""

import torch
from torch import Tensor

PATCH = 4
"""Side of a masked patch."""


def disturbed(x: Tensor, *, noise: float, mask: float, generator: torch.Generator) -> Tensor:
    """Images (n, c, s, s) with Gaussian noise of this deviation, and a share ``mask`` of their patches set to 0.

    Each patch is masked by itself with that probability, in all channels; s is a multiple of 4.

    Args:
        generator: on the device of x; not touched where both are 0.
    """
    if noise:
        x = x + noise * torch.randn(x.shape, generator=generator, device=x.device)
    if mask:
        n, _, height, width = x.shape
        grid = (n, 1, height // PATCH, width // PATCH)
        kept = torch.rand(grid, generator=generator, device=x.device) >= mask
        x = x * kept.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    return x
