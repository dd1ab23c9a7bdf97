"""The table of round-trip measures: what is measured of every image after every cycle, and how it is computed.

``probe roundtrip`` iterates x_{t+1} = B(F(x_t)) from real images, with F = D o E, and B what happens between cycles.
Configurations, result files, reports and documentation read their names here; torch is imported in functions only.

| symbol | meaning | shape |
|---|---|---|
| x_0 | images | (n, 3, H, W), in [0, 1] |
| x_t | pictures after t cycles, clamped to [0, 1] | (n, 3, H, W) |
| z_t | E(x_t), of the unclamped picture | (n, ...) |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from probe.metrics.images import psnr, ssim

if TYPE_CHECKING:
    from torch import Tensor

IDENTITY = "identity"
"""Stands for the name of a model where F is the identity: the control that shows the loss of B alone."""


@dataclass(frozen=True)
class Seen:
    """A batch after t cycles.

    Attributes:
        original: x_0.
        picture: x_t.
        latent: z_t; None for the identity.
        before: z_{t-1}; None for the identity, and at t = 0.
        start: z_0; None for the identity.
        lpips: LPIPS of two batches of pictures, (n,), where its weights are at hand; else None.
    """

    original: "Tensor"
    picture: "Tensor"
    latent: "Tensor | None" = None
    before: "Tensor | None" = None
    start: "Tensor | None" = None
    lpips: "Callable[[Tensor, Tensor], Tensor] | None" = None


@dataclass(frozen=True)
class Measure:
    """A number for each image and cycle.

    Attributes:
        name: of the column, and of keys in report.json; a Python identifier.
        label: in tables and figures; ``unit`` stands in brackets behind it.
        explanation: the formula, in words.
        function: of a batch: (n,), NaN where an image has no such number; None where it does not apply.
        better: which way is better; None where neither is.
        optional: files may lack the column, as ``explanation`` says.
    """

    name: str
    label: str
    explanation: str
    function: "Callable[[Seen], Tensor | None]"
    unit: str = ""
    better: Literal["high", "low"] | None = None
    optional: bool = False


def ciede2000(seen: Seen) -> "Tensor":
    """Mean over pixels of the colour difference CIEDE2000 (scikit-image), for sRGB and daylight D65."""
    import numpy as np
    import torch
    from skimage.color import deltaE_ciede2000, rgb2lab

    a, b = (rgb2lab(one.double().cpu().numpy(), channel_axis=1) for one in (seen.original, seen.picture))
    return torch.from_numpy(np.asarray(deltaE_ciede2000(a, b, channel_axis=1)).mean((1, 2)))


def _shift(channel: int) -> "Callable[[Seen], Tensor]":
    def function(seen: Seen) -> "Tensor":
        return (seen.picture.double() - seen.original.double())[:, channel].mean((1, 2))

    return function


def saturated(seen: Seen) -> "Tensor":
    """Share of values that are 0 or 1."""
    return ((seen.picture <= 0) | (seen.picture >= 1)).double().mean((1, 2, 3))


def _norm(value: "Tensor | None", other: "Tensor | None" = None) -> "Tensor | None":
    """||value|| row by row, or ||value - other||, float64; None without a value."""
    if value is None:
        return None
    flat = value.flatten(1).double()
    if other is not None:
        flat = flat - other.flatten(1).double()
    norm: Tensor = flat.square().sum(1).sqrt()
    return norm


def _moved(seen: Seen) -> "Tensor | None":
    if seen.latent is None or seen.before is not None:
        return _norm(seen.latent, seen.before)
    return seen.latent.new_full((len(seen.latent),), float("nan")).double()


MEASURES: tuple[Measure, ...] = (
    Measure(
        "psnr",
        "PSNR",
        "-10 log10 of the mean over pixels and channels of (x_t - x_0)^2; infinite for equal pictures",
        lambda seen: psnr(seen.original, seen.picture),
        unit="dB",
        better="high",
    ),
    Measure(
        "ssim",
        "SSIM",
        "structural similarity of x_t and x_0 (window of 11 pixels, sigma 1.5), at most 1; NaN below 11 pixels a side",
        lambda seen: ssim(seen.original, seen.picture),
        better="high",
    ),
    Measure(
        "lpips",
        "LPIPS",
        "learned perceptual distance (Zhang et al., 2018, version 0.1) of x_t and x_0; absent without its weights",
        lambda seen: None if seen.lpips is None else seen.lpips(seen.picture, seen.original),
        better="low",
        optional=True,
    ),
    Measure(
        "ciede2000",
        "CIEDE2000",
        "mean over pixels of the colour difference CIEDE2000 between x_t and x_0; 1 is just noticeable",
        ciede2000,
        better="low",
    ),
    Measure("shift_red", "shift of red", "mean of x_t - x_0 in the red channel, for values in [0, 1]", _shift(0)),
    Measure("shift_green", "shift of green", "the same in the green channel", _shift(1)),
    Measure("shift_blue", "shift of blue", "the same in the blue channel", _shift(2)),
    Measure(
        "saturated",
        "saturated",
        "share of values of x_t that are 0 or 1, or were beyond before they were clamped",
        saturated,
    ),
    Measure(
        "norm",
        "latent norm",
        "||z_t||, in the model's own coordinates; absent for the identity",
        lambda seen: _norm(seen.latent),
        optional=True,
    ),
    Measure(
        "moved",
        "latent step",
        "||z_t - z_{t-1}||, how far the last cycle moved the latent; NaN at t = 0; absent for the identity",
        _moved,
        optional=True,
    ),
    Measure(
        "from_start",
        "latent distance to the start",
        "||z_t - z_0||; absent for the identity",
        lambda seen: _norm(seen.latent, seen.start),
        optional=True,
    ),
)


@dataclass(frozen=True)
class Mark:
    """A loss of PSNR whose first cycle is reported.

    Attributes:
        name: of the tensor ``until/NAME`` and of keys in report.json.
        label: in tables.
        fall: in dB below the PSNR after the first cycle; None where ``level`` is given.
        level: an absolute PSNR, in dB.
    """

    name: str
    label: str
    fall: float | None = None
    level: float | None = None


MARKS: tuple[Mark, ...] = (
    Mark("down_1", "1 dB below the first cycle", fall=1.0),
    Mark("down_3", "3 dB below the first cycle", fall=3.0),
    Mark("down_6", "6 dB below the first cycle", fall=6.0),
    Mark("below_25", "PSNR below 25 dB", level=25.0),
)

SHOWN = (1, 2, 5, 10, 20, 50)
"""Cycles of tables, and those whose rFID is measured."""


def shown_cycles(cycles: int) -> list[int]:
    """Those of ``SHOWN`` up to the last cycle, and that one."""
    return sorted({one for one in SHOWN if one <= cycles} | {cycles})
