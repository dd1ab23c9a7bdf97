"""Images as the network takes them: grey ones with one channel, the side a multiple of 16 (2^convolutions)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from probe.errors import UserError


def fitted(side: int, where: str, convolutions: int) -> int:
    """The next multiple of 2^convolutions, to which images of this side are padded; UserError if they are too small."""
    multiple = 2**convolutions
    if side < multiple:
        raise UserError(
            f"{where}: images of side {side} are too small for {convolutions} strides of 2, which need {multiple} at "
            "least; draw them larger (side)."
        )
    return -(-side // multiple) * multiple


def pad(images: Tensor, side: int) -> Tensor:
    """Images (n, c, s, s) in a black frame (n, c, side, side), centred; of an odd difference more at the right, bottom.

    The mapping back is ``crop``: errors and similarities are taken over the image's own pixels.
    """
    before = (side - images.shape[-1]) // 2
    after = side - images.shape[-1] - before
    return F.pad(images, (before, after, before, after))


def crop(images: Tensor, side: int) -> Tensor:
    """The central part (n, c, side, side) that ``pad`` was given."""
    before = (images.shape[-1] - side) // 2
    return images[..., before : before + side, before : before + side]


def is_grey(images: Tensor) -> bool:
    """Whether the three channels of uint8 images (n, 3, s, s) are equal everywhere, as those of grey pictures are."""
    return bool((images[:, :1] == images).all())


def as_input(images: Tensor, side: int, device: torch.device | str = "cpu") -> Tensor:
    """uint8 images (n, c, s, s) as float32 (n, c, side, side) in [0, 1], in a black frame."""
    return pad(images.to(device), side).float() / 255
