"""From a picture of any kind to (3, R, R) bytes."""

import io
import warnings

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from probe.data.candidates import UnreadableImage


def image_to_tensor(data: bytes | Image.Image, resolution: int) -> Tensor:
    """Decode, turn upright, convert to RGB, crop the central square, resize.

    The EXIF orientation is applied, as in ``datasets``. Grey becomes three equal channels, 16 bits become 8
    (value / 257), transparency is laid on white, of an animation the first frame is taken. The central square has the
    side of the shorter edge (of an odd remainder the larger half is cut at the right or bottom). Resizing is Pillow's
    BICUBIC, which averages over the whole footprint of a pixel when shrinking (antialiased) and interpolates when
    enlarging.

    Args:
        data: an encoded image, or a decoded one.
        resolution: R >= 1.

    Returns:
        uint8 (3, R, R) in 0..255.

    Raises:
        UnreadableImage: it cannot be decoded, is a decompression bomb, or has no fixed range (32-bit modes).
    """
    square = central_square(decoded(data))
    # A picture that has the size already passes unchanged: cifar at 32 stays pixel-exact.
    resized = square.resize((resolution, resolution), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized, dtype=np.uint8)).permute(2, 0, 1).contiguous()


def decoded(data: bytes | Image.Image) -> Image.Image:
    """A picture upright and in RGB, of its own size; errors as ``image_to_tensor``."""
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of large pictures, and raises where it cannot go on.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data)) if isinstance(data, bytes) else data
            return _to_rgb(ImageOps.exif_transpose(image))
        except UnreadableImage:
            raise
        except Exception as error:  # Pillow's decoders raise nearly any class on a damaged file; the caller counts it
            raise UnreadableImage(f"{type(error).__name__}: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _from_wide(image)
    if image.has_transparency_data:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")


def _from_wide(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey; Pillow's own conversion clips at 255 instead."""
    values = np.asarray(image)
    # Older Pillow opens 16-bit PNG as 32-bit "I", so the mode alone does not tell.
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise UnreadableImage(f"mode {image.mode} has no fixed range of values")
    return Image.fromarray(np.round(values / 257.0).astype(np.uint8)).convert("RGB")


def central_square(image: Image.Image) -> Image.Image:
    """The square in the middle, of the shorter edge's side."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
