"""From a picture of any kind to upright sRGB, and to (3, R, R) bytes; and how its file was encoded.

Encoding others alike (``reencode``) measures what compression alone does to a score.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from probe.data.formats import known_formats
from probe.data.source import UnreadableImage

MAX_PIXELS = 2**26  # as 8192 x 8192; a tiny file can claim more than fits in memory
DIM = "dim"
BROKEN_PROFILE = "broken profile"
"""Oddities of pictures that are used nevertheless."""
_SAME_PROFILE = 2  # largest difference, of 255, at which a profile counts as sRGB, so that pictures keep their values
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
    """A picture of which only the header is read; UnreadableImage if its format is unknown, or above ``MAX_PIXELS``."""
    with readable():
        image = Image.open(io.BytesIO(data), formats=known_formats()) if isinstance(data, bytes) else data
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"it has {image.width} x {image.height} pixels, more than the {MAX_PIXELS:,} allowed")
    return image


def decoded(data: bytes | Image.Image, oddities: list[str] | None = None) -> Image.Image:
    """A picture upright, in sRGB and on white, of its own size; UnreadableImage as for ``image_to_tensor``.

    oddities: ``DIM`` is added for a 16-bit picture that uses fewer than 12 bits, ``BROKEN_PROFILE`` for one with an
    unusable colour profile, which is taken as sRGB.
    """
    oddities = [] if oddities is None else oddities
    image = opened(data)
    with readable():
        wide = _wide(image)
        profile = image.info.get("icc_profile")
        upright = ImageOps.exif_transpose(image)  # of an animation this loads the first frame only
        if wide:
            upright = _narrowed(upright, *wide, oddities)
        return _on_white(upright, profile, oddities)


@contextmanager
def readable() -> Iterator[None]:
    """Pillow without its warnings, and with every error as UnreadableImage, in the same words for the same fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata and of large pictures; it raises where it cannot go on
        try:
            yield
        except UnreadableImage:
            raise
        except UnidentifiedImageError as error:
            raise UnreadableImage("it is damaged or not an image of a known format") from error
        except Exception as error:  # Pillow's decoders raise nearly any class on a damaged file; the caller counts it
            reason = _ADDRESS.sub("the file", str(error))
            raise UnreadableImage(f"{type(error).__name__}: {reason}") from error


def _wide(image: Image.Image) -> tuple[int, bool] | None:
    """Of a picture with more than 8 bits in one channel: the value of white, or of black, and whether it is of black.

    Called before anything is decoded. UnreadableImage if the values have no fixed range.
    """
    bits, inverted = 16, False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        if set(np.atleast_1d(tags.get(TiffImagePlugin.SAMPLEFORMAT, 1))) != {1}:
            raise UnreadableImage("a TIFF of signed integers or floats has no fixed range; save it with 8 bits")
        bits = max(np.atleast_1d(tags.get(TiffImagePlugin.BITSPERSAMPLE, 1)))
        if bits > 16:
            raise _without_range(f"{bits}-bit integers have")
        inverted = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0  # white is zero
    if image.mode.startswith("I;16"):
        return 4095 if bits == 12 else 65535, inverted
    # Pillow opens 16-bit PPM, and older ones PNG, as 32-bit "I".
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return 65535, False
    if image.mode in ("I", "F"):
        raise _without_range("32-bit integers have" if image.mode == "I" else "mode F has")
    return None


def _narrowed(image: Image.Image, most: int, inverted: bool, oddities: list[str]) -> Image.Image:
    """Scale to 8 bits; Pillow's own conversion clips at 255 instead."""
    values = np.asarray(image).astype(np.int64 if image.mode == "I" else np.uint32)
    if values.min() < 0 or values.max() > most:
        raise _without_range("32-bit integers have")
    if most > 4095 and values.max() < 4096:
        oddities.append(DIM)
    bytes_ = ((values * 255 + most // 2) // most).astype(np.uint8)
    grey = Image.fromarray(255 - bytes_ if inverted else bytes_)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey


def _without_range(what: str) -> UnreadableImage:
    return UnreadableImage(f"{what} no fixed range; save it with 8 or 16 bits")


def _on_white(image: Image.Image, profile: bytes | None, oddities: list[str]) -> Image.Image:
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if image.mode not in ("L", "CMYK"):
        image = image.convert("RGB")
    if profile:
        try:
            image = _to_srgb(image, profile)
        except _BrokenProfile:
            oddities.append(BROKEN_PROFILE)
    image = image.convert("RGB")
    if alpha is None:
        return image
    image.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


class _BrokenProfile(Exception):
    """A colour profile (ICC) that is damaged, or for another colour mode than its picture's."""


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A picture of mode L, RGB or CMYK in sRGB, of mode RGB; grey stays grey. One with an sRGB profile is unchanged."""
    mode, transform = _transform(profile)
    grey = image.mode == "L"
    if grey and mode == "RGB":
        image = image.convert("RGB")
    if image.mode == "RGB" and mode == "L" and len({band.tobytes() for band in image.split()}) == 1:
        grey, image = True, image.getchannel(0)  # an RGB file of a grey picture
    if image.mode != mode:
        raise _BrokenProfile
    if transform is None:
        return image
    converted = transform.point(image)
    # Rounding may separate the channels of a grey picture by one level.
    return converted.getchannel("G") if grey else converted


@lru_cache(maxsize=32)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode of pictures with this profile, and the transform to sRGB; None if they are in sRGB already."""
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[source.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent, flags)
    except Exception as error:  # littlecms' wrapper raises several classes
        raise _BrokenProfile from error
    if mode == "CMYK":
        return mode, transform
    levels = np.linspace(0, 255, 256 if mode == "L" else 9).round().astype(np.uint8)
    grid = levels[None] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    asked = Image.fromarray(grid)
    change = np.abs(np.asarray(transform.point(asked), int) - np.asarray(asked.convert("RGB"), int)).max()
    return mode, None if change <= _SAME_PROFILE else transform


@dataclass(frozen=True)
class Encoding:
    """How a picture's file was encoded.

    format: JPEG, PNG, ...; None for a picture that came decoded.
    side: the shorter edge.
    tables: a JPEG's quantisation tables, of 64 numbers each.
    subsampling: a JPEG's chroma subsampling, as Pillow numbers it (0: 4:4:4, 1: 4:2:2, 2: 4:2:0); -1 for others.
    """

    format: str | None
    side: int
    tables: tuple[tuple[int, ...], ...] = ()
    subsampling: int = -1

    @property
    def label(self) -> str:
        """``JPEG 128, mean of the luminance table 9.6``."""
        table = f", mean of the luminance table {sum(self.tables[0]) / 64:.3g}" if self.tables else ""
        return f"{self.format or 'decoded'} {self.side}{table}"


def encoding_of(data: bytes | Image.Image) -> Encoding:
    """Read a file's header; UnreadableImage if it is not an image."""
    image = opened(data)
    with readable():
        tables: dict[int, Any] = getattr(image, "quantization", None) or {}
        subsampling = JpegImagePlugin.get_sampling(image) if isinstance(image, JpegImagePlugin.JpegImageFile) else -1
    found = tuple(tuple(tables[key]) for key in sorted(tables)) if image.format == "JPEG" else ()
    return Encoding(image.format, min(image.size), found, subsampling)


def reencode(data: bytes | Image.Image, like: Encoding) -> Image.Image:
    """A picture encoded like another, and decoded again; UnreadableImage if it cannot be decoded.

    It is cropped to its central square, resized (bicubic) to the shorter edge of the other file, and saved in that
    file's format: JPEG with its quantisation tables and chroma subsampling, any other format without loss. Grey
    pictures stay grey, and colour ones in colour. What happened to the pixels before the last save is unknown.
    """
    image = central_square(decoded(data))
    if len({band.tobytes() for band in image.split()}) == 1:
        image = image.convert("L")
    image = image.resize((like.side, like.side), Image.Resampling.BICUBIC)
    if like.format != "JPEG":
        return image
    buffer = io.BytesIO()
    tables = [list(table) for table in like.tables[: 1 if image.mode == "L" else None]]
    chroma = {} if image.mode == "L" else {"subsampling": like.subsampling}
    image.save(buffer, "JPEG", qtables=tables, **chroma)
    return Image.open(io.BytesIO(buffer.getvalue()))


class Collecting:
    """A ``prepare`` for ``load_images`` that returns pictures unchanged and records how they were encoded."""

    def __init__(self) -> None:
        self.found: list[Encoding] = []

    def __call__(self, data: bytes | Image.Image) -> bytes | Image.Image:
        self.found.append(encoding_of(data))
        return data


def reencoding(like: Sequence[Encoding]) -> Callable[[bytes | Image.Image], Image.Image]:
    """A ``prepare`` for ``load_images`` that encodes each picture like the next of ``like``, in turn."""
    turn = cycle(like)
    return lambda data: reencode(data, next(turn))
