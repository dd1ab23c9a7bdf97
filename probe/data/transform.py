"""From a picture of any kind to (3, R, R) bytes."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from probe.data.decode import decoded


def image_to_tensor(data: bytes | Image.Image, resolution: int, oddities: list[str] | None = None) -> Tensor:
    """Decode, turn upright, convert to sRGB, crop the central square, resize.

    The EXIF orientation is applied, as in ``datasets``. Grey becomes three equal channels, 16 bits become 8
    (value / 257), a colour profile is applied (one that is sRGB changes nothing, a broken one is ignored),
    transparency is laid on white, of an animation the first frame is taken. The central square has the
    side of the shorter edge (of an odd remainder the larger half is cut at the right or bottom). Resizing is Pillow's
    BICUBIC, which averages over the whole footprint of a pixel when shrinking (antialiased) and interpolates when
    enlarging.

    Args:
        data: an encoded image, or a decoded one.
        resolution: R >= 1.
        oddities: see ``decoded``.

    Returns:
        uint8 (3, R, R) in 0..255.

    Raises:
        UnreadableImage: it cannot be decoded, has more than ``MAX_PIXELS`` pixels, or its values have no fixed range
            (32-bit and signed integers, floats).
    """
    square = central_square(decoded(data, oddities))
    # A picture that has the size already passes unchanged: cifar at 32 stays pixel-exact.
    resized = square.resize((resolution, resolution), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized, dtype=np.uint8)).permute(2, 0, 1).contiguous()


def central_square(image: Image.Image) -> Image.Image:
    """The square in the middle, of the shorter edge's side."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
