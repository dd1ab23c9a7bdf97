"""Pictures as data URIs, small enough for a page that holds thousands."""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

LOSSLESS = 32
"""A row of pictures with longer sides is lossy WebP, and so are sheets and what a slider changes, which are many: they
are for looking, not for measuring."""
THUMBNAIL, ON_SHEET = 96, 64
"""Longest sides, in pixels, of a reconstruction and of a picture in a sheet; the run's files hold larger ones."""
EFFORT = {True: {"quality": 20, "method": 2}, False: {"quality": 75}}
"""How WebP is encoded, by whether it is lossless, where quality is effort: an eighth of the time for 5 % more bytes."""
GAP = 128
"""Grey between pictures, on a light page and on a dark one; transparency would take a third more bytes."""
SHOWN = 4
"""Reconstructions in a strip."""


def uri(kind: str, data: bytes) -> Markup:
    """A data URI."""
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode()}")  # base64 holds no markup


def webp(image: NDArray[np.uint8], lossless: bool = False) -> Markup:
    """An image (H, W, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "webp", lossless=lossless, **EFFORT[lossless])
    return uri("image/webp", buffer.getvalue())


def strip(images: NDArray[np.uint8], one_of_many: bool = False) -> Markup:
    """The first of the images (n, 3, H, W), side by side with gaps."""
    tiles = [_small(image, THUMBNAIL) for image in images[:SHOWN]]
    height, width = tiles[0].shape[:2]
    gap = max(1, width // 16)
    spaced = [np.pad(tile, ((0, 0), (0, gap), (0, 0)), constant_values=GAP) for tile in tiles]
    row = np.concatenate(spaced, axis=1)[:, :-gap]
    return webp(np.ascontiguousarray(row), lossless=not one_of_many and max(height, width) <= LOSSLESS)


def _small(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image (3, H, W) as (h, w, 3), sides at most ``side``."""
    picture = Image.fromarray(image.transpose(1, 2, 0))
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(picture)


def small(figure: bytes, scale: float) -> Markup:
    """A figure in a PNG file, made smaller."""
    picture = Image.open(io.BytesIO(figure)).convert("RGB")
    return webp(np.asarray(picture.resize([round(scale * side) for side in picture.size], Image.Resampling.LANCZOS)))


@dataclass(frozen=True)
class Sheet:
    """Many pictures in one image, row by row."""

    columns: int
    rows: int
    address: Markup


def sheet(images: NDArray[np.uint8]) -> Sheet | None:
    """A sheet of images (n, 3, H, W), with about as many columns as rows; None without images."""
    if not len(images):
        return None
    small = np.stack([_small(image, ON_SHEET) for image in images])
    n, height, width, channels = small.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    padded = np.pad(small, ((0, rows * columns - n), (0, 0), (0, 0), (0, 0)))
    grid = padded.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return Sheet(columns, rows, webp(grid.reshape(rows * height, columns * width, channels)))
