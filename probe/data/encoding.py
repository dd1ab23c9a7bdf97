"""How a picture's file was encoded, and encoding others alike: measures what compression alone does to a score.

``reencode`` crops a picture to its central square, resizes it (bicubic) to the shorter edge of the other file, and
saves it in that file's format: JPEG with its quantisation tables and chroma subsampling, any other format without loss.
Grey pictures stay grey, and colour ones in colour. What happened to the pixels before the last save is unknown.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from PIL import Image, JpegImagePlugin

from probe.data.decode import central_square, decoded, opened, readable


@dataclass(frozen=True)
class Encoding:
    """How a picture's file was encoded.

    Attributes:
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
    """A picture encoded like another, by the rule above, and decoded again; UnreadableImage if it cannot be decoded."""
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


class Reencoding:
    """A ``prepare`` for ``load_images`` that encodes each picture like the next of ``like``, in turn."""

    def __init__(self, like: Sequence[Encoding]) -> None:
        self.like: Iterator[Encoding] = cycle(like)

    def __call__(self, data: bytes | Image.Image) -> Image.Image:
        return reencode(data, next(self.like))
