"""What happens to a picture between two cycles: the table ``BETWEEN``.

A configuration names an entry, with its parameter after a colon: ``jpeg:75``, ``resize:0.5:bilinear``.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, features

if TYPE_CHECKING:
    from torch import Tensor

Pixels = np.ndarray
"""uint8 (H, W, 3)."""
FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}
SMALLEST_FACTOR, LARGEST_FACTOR = 1 / 64, 8.0


@dataclass(frozen=True)
class Between:
    """An entry of the table.

    Attributes:
        name: before the colon.
        written: how a configuration writes it.
        explanation: what happens.
        clamps, rounds: whether values are clamped to [0, 1], and rounded to 8 bits.
        of_pixels: from the text after the colon, what else happens to the 8-bit picture; ValueError says what is wrong
            with the text. None: nothing.
        default: the text after the colon where none is given; None: there is no such text.
    """

    name: str
    written: str
    explanation: str
    clamps: bool = True
    rounds: bool = True
    of_pixels: "Callable[[str], Callable[[Pixels], Pixels]] | None" = None
    default: str | None = None


@dataclass(frozen=True)
class Step:
    """What happens between cycles, with its parameter.

    Attributes:
        name: as in the configuration, such as ``jpeg:75``.
        kind: its entry of the table.
        on_pixels: what happens to the 8-bit picture, if anything.
    """

    name: str
    kind: Between
    on_pixels: "Callable[[Pixels], Pixels] | None"

    @property
    def file(self) -> str:
        """As a part of a path."""
        return self.name.replace(":", "-")

    def __call__(self, x: "Tensor") -> "Tensor":
        """Pictures (n, 3, H, W) for values in [0, 1] to such pictures, each by itself; they must be finite."""
        import torch  # reading a configuration needs none

        x = x.clamp(0, 1) if self.kind.clamps else x
        x = (x * 255).round() if self.kind.rounds else x
        if self.on_pixels is not None and len(x):
            pixels = x.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
            x = torch.from_numpy(np.stack(list(map(self.on_pixels, pixels)))).permute(0, 3, 1, 2).to(x)
        return x / 255 if self.kind.rounds else x


def step(text: str) -> Step:
    """What a configuration names; ValueError says what is wrong and what there is."""
    name, colon, parameter = text.partition(":")
    kind = next((one for one in BETWEEN if one.name == name), None)
    if kind is None:
        raise ValueError(f"{name[:40]!r} is unknown; choose among {', '.join(one.written for one in BETWEEN)}")
    if kind.default is None and colon:
        raise ValueError(f"{name} takes nothing after a colon")
    given = parameter or kind.default or ""
    return Step(f"{name}:{given}" if given else name, kind, kind.of_pixels(given) if kind.of_pixels else None)


def codecs() -> dict[str, str | None]:
    """Versions of the libraries with which Pillow writes files; another one may write another picture."""
    turbo = features.version_feature("libjpeg_turbo")
    jpeg = {"libjpeg-turbo": turbo} if turbo else {"libjpeg": features.version_codec("jpg")}
    return {**jpeg, "libwebp": features.version_module("webp")}


def _file(form: str, **options: object) -> Callable[[Pixels], Pixels]:
    """Write a picture as a file of this form, and read it again."""

    def through(pixels: Pixels) -> Pixels:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, form, **options)
        return np.asarray(Image.open(buffer).convert("RGB"))

    return through


def _png(_: str) -> Callable[[Pixels], Pixels]:
    return _file("PNG", compress_level=1)


def _quality(text: str) -> int:
    if text not in map(str, range(1, 101)):  # one way to write each, as names tell settings apart
        raise ValueError(f"the quality is an integer from 1 to 100, not {text[:20]!r}")
    return int(text)


def _jpeg(text: str) -> Callable[[Pixels], Pixels]:
    return _file("JPEG", quality=_quality(text), subsampling="4:2:0")


def _webp(text: str) -> Callable[[Pixels], Pixels]:
    return _file("WEBP", quality=_quality(text), lossless=False, method=4)


def _resize(text: str) -> Callable[[Pixels], Pixels]:
    number, _, chosen = text.partition(":")
    chosen = chosen or "lanczos"
    if chosen not in FILTERS:
        raise ValueError(f"there is no filter {chosen[:20]!r}; choose one of {', '.join(FILTERS)}")
    try:
        factor = float(number)
    except ValueError:
        factor = math.nan
    if not SMALLEST_FACTOR <= factor <= LARGEST_FACTOR:
        raise ValueError(f"the factor is a number from 1/64 to 8, not {number[:20]!r}")

    def through(pixels: Pixels) -> Pixels:
        image = Image.fromarray(pixels)
        small = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
        return np.asarray(image.resize(small, FILTERS[chosen]).resize(image.size, FILTERS[chosen]))

    return through


BETWEEN: tuple[Between, ...] = (
    Between("none", "none", "nothing: values stay as decoded, also beyond [0, 1]", clamps=False, rounds=False),
    Between("clamp", "clamp", "values are clamped to [0, 1]", rounds=False),
    Between("8bit", "8bit", "values are clamped and rounded to 8 bits"),
    Between("png", "png", "the 8-bit picture is saved as PNG and read again, which loses nothing more", of_pixels=_png),
    Between(
        "jpeg",
        "jpeg:QUALITY",
        "the 8-bit picture is saved as JPEG (4:2:0) and read again",
        of_pixels=_jpeg,
        default="75",
    ),
    Between(
        "webp",
        "webp:QUALITY",
        "the 8-bit picture is saved as lossy WebP and read again",
        of_pixels=_webp,
        default="80",
    ),
    Between(
        "resize",
        "resize:FACTOR[:FILTER]",
        "the 8-bit picture is resized by a factor and back (Pillow; lanczos unless another filter is named)",
        of_pixels=_resize,
        default="0.5",
    ),
)
