"""Images as a model takes them, whatever its channels and side."""

from dataclasses import replace

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.config import DatasetConfig
from probe.data import ImageSet, load_images
from probe.errors import UserError
from probe.training import pad
from probe.training.images import is_grey

TOGETHER = 256
"""Images that are encoded or decoded at once."""


def drawn(model: Autoencoder, source: str, n: int, side: int) -> ImageSet:
    """n images of a preset or of ``parquet:PATH`` and the like, with the channels that the model takes.

    Raises:
        UserError: as ``load_images``; or they are in colour, and the model takes grey ones.
    """
    spec = DatasetConfig(source=source if ":" in source else None, n=n, holdout=0)
    images = load_images("data" if spec.source else source, spec, resolution=side)
    if model.channels != 1:
        return images
    if not is_grey(images.images):
        raise UserError(f"{model.source} takes grey images, and those of {source} are in colour; give it others.")
    return replace(images, images=images.images[:, :1].contiguous())


def inputs(model: Autoencoder, images: Tensor, side: int) -> Tensor:
    """uint8 images (n, 3, s, s), or (n, 1, s, s) where the model takes grey ones, in its range, type and place, in a
    black frame up to ``side``.

    Raises:
        UserError: the images are larger than ``side``, or the model takes none.
    """
    if images.shape[-1] > side:
        raise UserError(f"images of side {images.shape[-1]} do not fit {model.source}, which takes {side}.")
    images = pad(images, side)
    if model.kind != "image" or model.channels != 1:
        return model.from_pixels(images)
    low, high = model.image_range
    return images.to(model.device, model.dtype) / 255 * (high - low) + low


@torch.no_grad()
def encode(model: Autoencoder, images: Tensor, side: int) -> Tensor:
    """Latents of uint8 images; see ``inputs``."""
    return torch.cat([model.encode(inputs(model, part, side)) for part in images.split(TOGETHER)])
