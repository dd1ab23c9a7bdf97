"""What one pass through an autoencoder leaves of images: D(E(x)) against x, image by image and as a set.

| symbol | meaning | shape |
|---|---|---|
| x, y | images, and D(E(x)) clamped to the valid range, both in [0, 1] | (n, 3, H, W) |
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.dynamics.flow import per_row
from probe.methods import Compared
from probe.metrics.frechet import frechet
from probe.metrics.interval import Interval
from probe.precision import full_float32
from probe.studies.inputs import as_pictures, inputs
from probe.studies.perceptual import Perceptual
from probe.studies.probing.reconstruction import measured
from probe.training.images import crop

OTHERS = ("latent_mse", "clip")
"""Metrics of the table that say nothing here."""


@dataclass(frozen=True)
class OnePass:
    """Errors of n images.

    Attributes:
        errors: by metric (``probe.methods.METRICS``) (n,), float64 on the CPU; NaN where an image has no such number,
            as where y is not finite.
        rfid: Fréchet distance of all y from all x; None without Inception, for one image, or if a y is not finite.
        finite: whether all of D(E(x)) is (n,).
    """

    errors: dict[str, Tensor]
    rfid: Interval | None
    finite: Tensor


@torch.no_grad()
def one_pass(
    model: Autoencoder,
    images: Tensor,
    perceptual: Perceptual,
    *,
    together: int = 16,
    eight_bits: bool = False,
    on_images: Callable[[int], None] = lambda done: None,
) -> OnePass:
    """Encode and decode uint8 images (n, c, s, s) once, ``together`` of them at a time, and compare.

    Of a grey image and its reconstruction, three equal channels are compared; of a video, each frame with the image
    that it repeats, and its first frame for rFID.

    Args:
        eight_bits: round y to 8 bits before all metrics; for rFID it always is.
        on_images: called with the number of images that are done.
    """
    found: list[dict[str, Tensor]] = []
    features: list[tuple[Tensor, Tensor]] = []
    finite: list[Tensor] = []
    for part in images.split(together):
        with full_float32():
            z = model.encode(inputs(model, part))
            decoded = model.decode(z)
        whole = decoded.flatten(1).isfinite().all(1)
        # Clamping would make white of infinity.
        y = torch.where(per_row(whole, decoded), decoded, torch.nan)
        y = _unit(model, y, part.shape[-1])
        finite.append(whole.cpu())
        if perceptual.inception:
            first = y[:, :, 0] if y.ndim == 5 else y
            both = (_colour(part), as_pictures(first).expand(-1, 3, -1, -1))
            features.append((perceptual.inception(both[0]), perceptual.inception(both[1])))
        x = _colour(part).to(y) / 255
        x = x[:, :, None].expand_as(y) if y.ndim == 5 else x
        if eight_bits:
            y = (y * 255).round() / 255
        nothing = torch.zeros(len(x), dtype=torch.float64)
        pair = Compared(x=x, x_hat=y, z=z, z_hat=z, latent_mse=nothing, lpips=perceptual.lpips)
        found.append({name: value.cpu() for name, value in measured(pair).items() if name not in OTHERS})
        on_images(sum(map(len, finite)))
    all_finite = torch.cat(finite)
    rfid = None
    if features and len(images) > 1 and bool(all_finite.all()):
        rfid = frechet(*(torch.cat(side) for side in zip(*features, strict=True)))
    return OnePass({name: torch.cat([part[name] for part in found]) for name in found[0]}, rfid, all_finite)


def _unit(model: Autoencoder, x: Tensor, side: int) -> Tensor:
    """Decoded images, cropped to the images' own side and clamped, in [0, 1]; grey ones in three channels."""
    low, high = model.image_range
    return _colour((crop(x, side).clamp(low, high) - low) / (high - low))


def _colour(x: Tensor) -> Tensor:
    return x.expand(-1, 3, *x.shape[2:]) if x.shape[1] == 1 else x
