"""Images as a model takes them, whatever its channels and side."""

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.errors import UserError
from probe.training import pad
from probe.training.images import is_grey

TOGETHER = 256
"""Images that are encoded or decoded at once."""


def inputs(model: Autoencoder, images: Tensor, side: int) -> Tensor:
    """uint8 images (n, 3 or 1, s, s) in the model's range, type, channels and place, in a black frame up to ``side``.

    Raises:
        UserError: the images are larger than ``side``, are in colour where the model takes grey ones, or the model
            takes none.
    """
    if images.shape[-1] > side:
        raise UserError(f"images of side {images.shape[-1]} do not fit {model.source}, which takes {side}.")
    images = pad(images, side)
    if model.kind != "image" or model.channels != 1:
        return model.from_pixels(images.expand(-1, 3, -1, -1))
    if not is_grey(images):
        raise UserError(f"{model.source} takes grey images, and these are in colour; give it others.")
    low, high = model.image_range
    return images[:, :1].to(model.device, model.dtype) / 255 * (high - low) + low


@torch.no_grad()
def encode(model: Autoencoder, images: Tensor, side: int) -> Tensor:
    """Latents of uint8 images (n, 3 or 1, s, s); see ``inputs``."""
    return torch.cat([model.encode(inputs(model, part, side)) for part in images.split(TOGETHER)])
