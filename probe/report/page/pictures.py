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
"""Pictures with longer sides become lossy WebP (quality 85): they are for looking, not for measuring."""
MANY = 2**20
"""So do sheets with more pixels than this: 4096 photographs of 32 x 32 take 9 MB lossless."""
THUMBNAIL, ON_SHEET = 96, 64
"""Longest sides, in pixels, of a reconstruction and of a picture in a sheet; the run's files hold larger ones."""
EFFORT = {True: {"quality": 20, "method": 2}, False: {"quality": 85}}
"""How WebP is encoded, by whether it is lossless, where quality is effort: an eighth of the time for 5 % more bytes."""
SHOWN = 6
"""Reconstructions in a strip."""


def uri(kind: str, data: bytes) -> Markup:
    """A data URI."""
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode()}")  # base64 holds no markup


def webp(image: NDArray[np.uint8], side: int) -> Markup:
    """An image (H, W, 3 or 4) that holds pictures with longest side ``side``."""
    buffer = io.BytesIO()
    lossless = side <= LOSSLESS and image.shape[0] * image.shape[1] <= MANY
    Image.fromarray(image).save(buffer, "webp", lossless=lossless, **EFFORT[lossless])
    return uri("image/webp", buffer.getvalue())


def strip(images: NDArray[np.uint8]) -> Markup:
    """The first of the images (n, 3, H, W), side by side with gaps."""
    tiles = [_small(image, THUMBNAIL) for image in images[:SHOWN]]
    height, width = tiles[0].shape[:2]
    gap = max(1, width // 16)
    opaque = [np.dstack([tile, np.full((height, width), 255, np.uint8)]) for tile in tiles]
    row = np.concatenate([np.pad(tile, ((0, 0), (0, gap), (0, 0))) for tile in opaque], axis=1)[:, :-gap]
    return webp(np.ascontiguousarray(row), max(height, width))


def _small(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image (3, H, W) as (h, w, 3), sides at most ``side``."""
    picture = Image.fromarray(image.transpose(1, 2, 0))
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(picture)


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
    return Sheet(columns, rows, webp(grid.reshape(rows * height, columns * width, channels), max(height, width)))
