"""Which files are images: the formats that are read, and what files of them are called and begin with."""

import io
from functools import cache
from pathlib import PurePosixPath

from PIL import Image, features

from probe.data.source import UnreadableImage

# Pillow knows dozens of formats; some start other programs (EPS) or have no signature (TGA, see ``named``).
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_SUFFIXES = dict.fromkeys((".jpeg", ".jpg", ".jpe", ".jfif"), "JPEG") | dict.fromkeys((".heic", ".heif"), "HEIF")
_SUFFIXES |= dict.fromkeys((".ppm", ".pgm"), "PPM") | dict.fromkeys((".tif", ".tiff"), "TIFF")
_SUFFIXES |= {".avif": "AVIF", ".bmp": "BMP", ".gif": "GIF", ".jp2": "JPEG2000", ".png": "PNG", ".tga": "TGA"}
_SUFFIXES |= {".webp": "WEBP"}
_OPTIONAL = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # what a Pillow may be built without
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6", b"\xff\x4f\xff\x51")
HEIF_SUFFIXES = frozenset(suffix for suffix, name in _SUFFIXES.items() if name == "HEIF")
HEIF_ADVICE = "install pillow-heif to read .heic and .heif files (pip install pillow-heif)"


@cache
def known_formats() -> tuple[str, ...]:
    """Of ``FORMATS``, those that this Pillow opens; HEIF if pillow-heif is installed."""
    Image.init()
    try:
        import pillow_heif  # type: ignore[import-not-found]

        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    lacking = {name for name, feature in _OPTIONAL.items() if not features.check(feature)}
    return tuple(name for name in FORMATS if name in Image.OPEN and name not in lacking)


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of files that are taken for images, in lower case."""
    return frozenset(suffix for suffix, name in _SUFFIXES.items() if name in (*known_formats(), "TGA"))


def named(data: bytes, name: str) -> bytes | Image.Image:
    """An encoded image from a file of this name. A .tga comes opened, since nothing but its name tells what it is."""
    if PurePosixPath(name).suffix.lower() != ".tga":
        return data
    try:
        return Image.open(io.BytesIO(data), formats=["TGA"])
    except Exception as error:  # as in ``probe.data.decode.readable``
        raise UnreadableImage("it is damaged or not a TGA image") from error


def looks_encoded(data: bytes) -> bool:
    """Whether bytes begin as files of ``FORMATS`` do."""
    box = data[4:8] in (b"ftyp", b"jP  ")  # AVIF and HEIC; JPEG 2000
    return data.startswith(_BEGINNINGS) or box or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
