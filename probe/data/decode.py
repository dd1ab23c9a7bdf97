"""From a picture of any kind to upright sRGB, and to (3, R, R) bytes."""

import io
import re
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from probe.data.profiles import BrokenProfile, to_srgb
from probe.data.source import UnreadableImage

MAX_PIXELS = 2**26  # as 8192 x 8192; a tiny file can claim more than fits in memory
# Pillow knows dozens of formats; some start other programs (EPS) or have no signature (TGA).
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
DIM = "dim"
BROKEN_PROFILE = "broken profile"
"""Oddities of pictures that are used nevertheless."""

_SAMPLE_FORMAT, _BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 339, 258, 262, 0
_UNSIGNED = 1
_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")


def image_to_tensor(data: bytes | Image.Image, resolution: int, oddities: list[str] | None = None) -> Tensor:
    """Decode, turn upright, convert to sRGB, crop the central square, resize.

    The EXIF orientation is applied, as in ``datasets``. Grey becomes three equal channels, 16 bits become 8
    (value / 257), a colour profile is applied (an sRGB one changes nothing, a broken one is ignored), transparency is
    laid on white, and an animation gives its first frame. The side of the central square is the shorter edge (if the
    remainder is odd, the larger part is cut at the right or bottom). Resizing is Pillow's BICUBIC, which averages over
    the whole footprint of a pixel when shrinking (antialiased) and interpolates when enlarging.

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
    # A picture of the right size passes unchanged: CIFAR at 32 stays pixel-exact.
    resized = square.resize((resolution, resolution), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized, dtype=np.uint8)).permute(2, 0, 1).contiguous()


def central_square(image: Image.Image) -> Image.Image:
    """The central square; its side is the shorter edge."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def opened(data: bytes | Image.Image) -> Image.Image:
    """Read the header of an encoded picture; the pixels are read later.

    UnreadableImage for a format not among ``FORMATS``, or more than ``MAX_PIXELS``.
    """
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of large pictures, and raises where it cannot go on.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=_formats()) if isinstance(data, bytes) else data
        except Exception as error:
            raise unreadable(error) from error
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"it has {image.width} x {image.height} pixels, more than the {MAX_PIXELS:,} allowed")
    return image


def decoded(data: bytes | Image.Image, oddities: list[str] | None = None) -> Image.Image:
    """A picture upright, in sRGB and on white, of its own size.

    Args:
        data: an encoded image, or a decoded one.
        oddities: ``DIM`` is added for a 16-bit picture that uses fewer than 12 bits, ``BROKEN_PROFILE`` for one with an
            unusable colour profile, which is taken as sRGB.

    Raises:
        UnreadableImage: as ``opened``; or it is damaged, or its values have no fixed range.
    """
    found: list[str] = []
    image = opened(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wide = _wide(image)
            profile = image.info.get("icc_profile")
            upright = ImageOps.exif_transpose(image)  # of an animation this loads the first frame only
            if wide:
                upright = _narrowed(upright, wide, found)
            result = _on_white(upright, profile, found)
        except UnreadableImage:
            raise
        except Exception as error:  # Pillow's decoders raise nearly any class on a damaged file; the caller counts it
            raise unreadable(error) from error
    if oddities is not None:
        oddities += found
    return result


def unreadable(error: Exception) -> UnreadableImage:
    """The error as an UnreadableImage, whose text is the same for the same fault (no addresses in memory)."""
    if isinstance(error, UnidentifiedImageError):
        return UnreadableImage("it is damaged or not an image of a known format")
    return UnreadableImage(f"{type(error).__name__}: {_ADDRESS.sub('the file', str(error))}")


def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]  # a Pillow may be built without some


@dataclass(frozen=True)
class _Wide:
    """How to read values of more than 8 bits: the value of white (or of black, if inverted)."""

    most: int = 65535
    inverted: bool = False


def _wide(image: Image.Image) -> _Wide | None:
    """How to read a picture with more than 8 bits in one channel; None for others. Called before anything is decoded.

    Raises:
        UnreadableImage: its values have no fixed range, so the value of white is unknown.
    """
    bits, inverted = 16, False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        kinds = tags.get(_SAMPLE_FORMAT, _UNSIGNED)
        if set(kinds if isinstance(kinds, tuple) else (kinds,)) != {_UNSIGNED}:
            raise UnreadableImage("a TIFF of signed integers or floats has no fixed range; save it with 8 bits")
        sizes = tags.get(_BITS, 1)
        bits = max(sizes if isinstance(sizes, tuple) else (sizes,))
        if bits > 16:
            raise UnreadableImage(f"{bits}-bit integers have no fixed range; save it with 8 or 16 bits")
        inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode.startswith("I;16"):
        return _Wide(4095 if bits == 12 else 65535, inverted)
    # Pillow opens 16-bit PPM, and older ones PNG, as 32-bit "I".
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return _Wide()
    if image.mode in ("I", "F"):
        kind = "32-bit integers have" if image.mode == "I" else "mode F has"
        raise UnreadableImage(f"{kind} no fixed range; save it with 8 or 16 bits")
    return None


def _narrowed(image: Image.Image, wide: _Wide, found: list[str]) -> Image.Image:
    """Scale to 8 bits; Pillow's own conversion clips at 255 instead."""
    values = np.asarray(image).astype(np.int64 if image.mode == "I" else np.uint32)
    if values.min() < 0 or values.max() > wide.most:
        raise UnreadableImage("32-bit integers have no fixed range; save it with 8 or 16 bits")
    if wide.most > 4095 and values.max() < 4096:
        found.append(DIM)
    bytes_ = ((values * 255 + wide.most // 2) // wide.most).astype(np.uint8)
    grey = Image.fromarray(255 - bytes_ if wide.inverted else bytes_)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _on_white(image: Image.Image, profile: bytes | None, found: list[str]) -> Image.Image:
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode not in ("L", "CMYK"):
        image = image.convert("RGB")
    if profile:
        try:
            image = to_srgb(image, profile)
        except BrokenProfile:
            found.append(BROKEN_PROFILE)
    image = image.convert("RGB")
    if alpha is None:
        return image
    image.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
