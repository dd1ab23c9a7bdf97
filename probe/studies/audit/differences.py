"""How far the outputs of one way to run a model are from the reference's."""

import math
from dataclasses import dataclass

from torch import Tensor

from probe.metrics import images

EQUAL = 150.0
"""PSNR in dB at most; that of equal pictures is infinite, which JSON has no number for."""


@dataclass(frozen=True)
class Difference:
    """Found against expected latents, over the values that are finite.

    Attributes:
        rms, largest: root mean square and largest difference, both relative to the root mean square of the expected.
        bad: share of values that are not finite.
    """

    rms: float
    largest: float
    bad: float


def difference(found: Tensor, expected: Tensor) -> Difference:
    """Of two tensors of one shape, in float64. A relative difference is infinite if no value is finite, and NaN never.

    Raises:
        ValueError: their shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f"it gives the shape {tuple(found.shape)} instead of {tuple(expected.shape)}")
    finite = found.isfinite() & expected.isfinite()
    bad = 1 - float(finite.double().mean())
    if not finite.any():
        return Difference(math.inf, math.inf, bad)
    off, size = (found - expected)[finite], float(expected[finite].square().mean().sqrt())
    size = size or 1.0  # where all expected values are 0, the difference itself
    return Difference(float(off.square().mean().sqrt()) / size, float(off.abs().max()) / size, bad)


def psnr(found: Tensor, expected: Tensor, image_range: tuple[float, float]) -> Tensor:
    """Peak signal-to-noise ratio in dB of each row (n, ...) of pictures, clamped to the range first; a value that is
    not finite counts as black. At most ``EQUAL``.

    Raises:
        ValueError: their shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f"it gives the shape {tuple(found.shape)} instead of {tuple(expected.shape)}")
    low, high = image_range
    one, other = ((x.nan_to_num(low, low, low).clamp(low, high) - low) / (high - low) for x in (found, expected))
    return images.psnr(one, other).clamp(max=EQUAL)
