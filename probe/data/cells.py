"""What a cell of a column of images holds: an encoded image, the path of one, or its pixels."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from probe.data.formats import looks_encoded
from probe.data.source import OutOfRange, UnreadableImage, check_size

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]+=*\s*")
_SHORTEST = 48  # characters of base64; no image is shorter, and most paths are


def content(cell: Any) -> bytes | str | Image.Image:
    """The encoded image, its path, or the picture that a cell holds.

    cell: bytes; a path; an image in base64, also as a ``data:`` URL; a mapping with ``bytes`` or ``path``; bytes as a
    list of numbers; or whole numbers 0..255 as (height, width), or with 1, 3 or 4 channels in front or last.

    Raises:
        OutOfRange: pixels lie outside of 0..255.
        UnreadableImage: it is empty or holds something else.
    """
    if isinstance(cell, Mapping):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if isinstance(cell, list | np.ndarray) and len(cell):
        return _picture(_numbers(cell))
    if cell is not None and not isinstance(cell, str | bytes | list | np.ndarray):
        raise UnreadableImage(f"the cell holds {type(cell).__name__}, not bytes")
    if cell is None or not len(cell):
        raise UnreadableImage("the cell is empty")
    if isinstance(cell, str):
        found = from_base64(cell)
        if found is None:
            return cell
        cell = found
    check_size(len(cell))
    return bytes(cell)


def from_base64(text: str) -> bytes | None:
    """The encoded image that a text holds in base64 or as a ``data:`` URL; None for other texts, such as paths."""
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise UnreadableImage("its data: URL is not in base64")
    elif len(text) < _SHORTEST or not _BASE64.fullmatch(text) or not looks_encoded(_decoded(text.lstrip()[:16])):
        return None
    return _decoded(text)


def is_base64(text: str) -> bool:
    """Whether a text is an image in base64, damaged or not, and no path."""
    try:
        return from_base64(text) is not None
    except UnreadableImage:
        return True


def _decoded(text: str) -> bytes:
    text = "".join(text.split()).rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise UnreadableImage(f"its base64 is damaged ({error})") from error


def _numbers(cell: list[Any] | np.ndarray) -> np.ndarray:
    try:
        values = np.asarray(cell)
    except ValueError as error:
        raise UnreadableImage("its rows differ in length") from error
    if values.dtype.kind not in "iu":
        what = {"f": "floats, which have no fixed range", "O": "gaps or things that are no numbers"}
        raise UnreadableImage(f"it holds {what.get(values.dtype.kind, str(values.dtype))}; store whole numbers 0..255")
    check_size(values.size)
    if values.size and (values.min() < 0 or values.max() > 255):
        raise OutOfRange(f"its numbers go from {values.min()} to {values.max()}; store 0..255")
    return values.astype(np.uint8)


def _picture(values: np.ndarray) -> bytes | Image.Image:
    """uint8 (n,) of an encoded image, (H, W), (H, W, C) or (C, H, W)."""
    shape = " x ".join(map(str, values.shape))
    if values.size == 0:
        raise UnreadableImage("the cell is empty")
    if values.ndim == 1:
        data = values.tobytes()
        if not looks_encoded(data):
            raise UnreadableImage(f"it is a flat list of {shape} numbers and no encoded image; nest pixels in rows")
        return data
    if values.ndim == 3:
        first, last = values.shape[0] in CHANNELS, values.shape[2] in CHANNELS
        if first and last:
            raise UnreadableImage(f"its shape {shape} may have channels in front or last; store PNG files instead")
        if not first and not last:
            raise UnreadableImage(f"its shape {shape} has no axis of 1, 3 or 4 channels")
        values = np.moveaxis(values, 0, -1) if first else values
        values = values[..., 0] if values.shape[2] == 1 else values
    elif values.ndim != 2:
        raise UnreadableImage(f"its shape {shape} is not that of one picture")
    return Image.fromarray(np.ascontiguousarray(values))
