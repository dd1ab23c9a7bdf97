"""Pictures of unusual modes against values known beforehand, colour profiles, and limits."""

import contextlib
import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from probe.data.decode import BROKEN_PROFILE, DIM, decoded, opened
from probe.data.source import UnreadableImage


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(values: np.ndarray | bytes, bits: int, sample: int = 1, photometric: int = 1, order: str = "<") -> bytes:
    """A grey TIFF of one strip, written by hand; (height, width) from the array, 2 x 2 for bytes."""
    data, (height, width) = (values, (2, 2)) if isinstance(values, bytes) else (values.tobytes(), values.shape)
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags |= {279: len(data), 339: sample}
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    start = b"II*\0" if order == "<" else b"MM\0*"
    return (
        start
        + struct.pack(order + "I", 8 + len(data))
        + data
        + struct.pack(order + "H", len(tags))
        + entries
        + bytes(4)
    )


def first(data: bytes | Image.Image) -> list[int]:
    return list(np.asarray(decoded(data))[0, 0])


def test_tiffs_of_known_range():
    wide = np.array([[0, 257 * 100], [257 * 7, 65535]])
    expected = [[0, 100], [7, 255]]
    for data in (
        tiff(wide.astype("<u2"), 16),
        tiff(wide.astype(">u2"), 16, order=">"),
        tiff((65535 - wide).astype("<u2"), 16, photometric=0),
        tiff(np.array(expected, dtype=np.uint8), 8),
        tiff(255 - np.array(expected, dtype=np.uint8), 8, photometric=0),
    ):
        assert np.asarray(decoded(data))[..., 0].tolist() == expected


def test_twelve_bits_that_are_packed():
    # Two values in three bytes: 4095 0 | 2048 4095
    oddities = []
    out = decoded(tiff(bytes.fromhex("fff000800fff"), 12), oddities)
    assert np.asarray(out)[..., 0].tolist() == [[255, 0], [128, 255]]
    assert oddities == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(np.full((2, 2), 255, "<u4"), 32), "32-bit integers have no fixed range"),
        (tiff(np.full((2, 2), 255, "<i4"), 32, sample=2), "signed"),
        (tiff(np.full((2, 2), 255, "<i2"), 16, sample=2), "signed"),
        (tiff(np.full((2, 2), 25, "i1"), 8, sample=2), "signed"),
        (tiff(np.full((2, 2), 0.5, "<f4"), 32, sample=3), "signed integers or floats"),
        (Image.fromarray(np.full((2, 2), 255, np.int32)), "32-bit integers"),
        (Image.new("F", (2, 2), 0.5), "mode F"),
    ],
)
def test_values_without_a_range_are_refused(data, reason):
    with pytest.raises(UnreadableImage, match=reason):
        decoded(data)


def png(width: int, height: int, depth: int, kind: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_pngs_of_sixteen_bits():
    wide = struct.pack(">HHH", 257 * 9, 257 * 80, 65535)
    assert first(png(1, 1, 16, 2, b"\0" + wide)) == [9, 80, 255]
    half = struct.pack(">HH", 0, 128 * 257)
    assert first(png(1, 1, 16, 4, b"\0" + half)) == [127] * 3
    clear = png(2, 1, 16, 0, b"\0" + struct.pack(">HH", 257, 257 * 60), (b"tRNS", struct.pack(">H", 257)))
    assert np.asarray(decoded(clear))[0, :, 0].tolist() == [255, 60]


def test_other_modes():
    assert first(b"P5 1 1 65535\n" + struct.pack(">H", 257 * 40)) == [40] * 3
    assert first(b"P5 1 1 15\n\x05") == [85] * 3
    clear = png(2, 1, 1, 0, b"\0\x40", (b"tRNS", b"\0\0"))
    assert np.asarray(decoded(clear))[0, :, 0].tolist() == [255, 255]
    assert first(saved(Image.new("CMYK", (1, 1), (0, 255, 0, 0)), "TIFF")) == [255, 0, 255]
    ink = np.asarray(decoded(saved(Image.new("CMYK", (8, 8), (0, 255, 0, 0)), "JPEG", quality=100)), int)  # as Adobe's
    assert np.abs(ink - [255, 0, 255]).max() <= 3
    luma = np.asarray(decoded(saved(Image.new("YCbCr", (8, 8), (76, 85, 255)), "TIFF")), int)
    assert np.abs(luma - [255, 0, 0]).max() <= 3
    # CIE L*a*b* (D50) of sRGB red is about (54.3, 80.8, 69.9); Pillow's LAB holds L * 2.55 and a and b from 128.
    red = np.asarray(decoded(saved(Image.new("LAB", (2, 2), (138, 128 + 81, 128 + 70)), "TIFF")), int)
    assert np.abs(red - [255, 0, 0]).max() <= 6  # Lab in 8 bits is coarse


def test_sixteen_bits_that_hold_twelve_are_told():
    for most, expected in ((4095, [DIM]), (4096, []), (65535, [])):
        oddities: list[str] = []
        decoded(saved(Image.fromarray(np.array([[0, most]], np.uint16)), "PNG"), oddities)
        assert oddities == expected


def profile(gamma: float, primaries: tuple[tuple[float, float], ...] | None) -> bytes:
    """An ICC profile (version 2) with one gamma; of grey without primaries."""

    def curve() -> bytes:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)

    def xyz(values) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))

    white = np.array([0.9642, 1.0, 0.8249])
    tags = {b"wtpt": xyz(white)}
    if primaries is None:
        tags[b"kTRC"] = curve()
    else:
        columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
        columns = columns * np.linalg.solve(columns, white)
        tags |= {name: xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)}
        tags |= {name: curve() for name in (b"rTRC", b"gTRC", b"bTRC")}
    offset, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    space = b"GRAY" if primaries is None else b"RGB "
    head = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x02100000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *(round(v * 65536) for v in white)) + bytes(48)
    return head + table + body


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LINEAR = profile(1.0, ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)))


def test_a_profile_that_is_srgb_changes_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    data = saved(Image.fromarray(pixels), "PNG", icc_profile=SRGB)
    assert np.array_equal(np.asarray(decoded(data)), pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
@pytest.mark.parametrize("kind", ["colour", "grey"])
def test_linear_values_become_srgb(mode, kind):
    """By the definition of sRGB, 55 of 255 in linear light is 128; grey stays grey, the clear stays white."""
    icc = LINEAR if kind == "colour" else profile(1.0, None)
    image = Image.new("L", (4, 4), 55).convert(mode)
    linear = 55 / 255
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    out = np.asarray(decoded(saved(image, "PNG", icc_profile=icc)), int)
    assert np.abs(out - expected).max() <= 1.5
    assert len(np.unique(out)) == 1
    if mode.endswith("A"):
        image.putalpha(0)
        assert np.unique(np.asarray(decoded(saved(image, "PNG", icc_profile=icc)))).tolist() == [255]


SRGB_TO_XYZ = np.array(  # of the standard, adapted to D50 as profiles are (Bradford)
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_colours_of_another_space_become_srgb(kind):
    """Against the matrices and curves of both spaces: gamma 1.8 and primaries inside those of sRGB."""
    primaries, gamma = ((0.60, 0.35), (0.32, 0.54), (0.18, 0.14)), 1.796875  # a multiple of 1/256, as it is stored
    given = np.array([[200, 120, 60], [60, 160, 90], [90, 80, 170], [128, 128, 128], [255, 255, 255]], np.uint8)
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    columns = columns * np.linalg.solve(columns, [0.9642, 1.0, 0.8249])
    linear = np.clip(np.linalg.solve(SRGB_TO_XYZ, columns @ (given.T / 255) ** gamma), 0, 1).T
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(expected - given).max() > 10  # the profile matters
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    for colour, wanted in zip(given, expected, strict=True):
        image = Image.new("RGB", (8, 8), tuple(map(int, colour)))
        out = first(saved(image, kind, icc_profile=profile(gamma, primaries), **options))
        # Rounding, of 8 bits and of littlecms' tables; JPEG's own colours are off by one more.
        assert np.abs(out - wanted).max() <= (3 if kind == "JPEG" else 2)


@pytest.mark.parametrize(
    "icc", [b"no profile", LINEAR[:200], ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()]
)
def test_broken_profiles_are_ignored_and_told(icc):
    oddities: list[str] = []
    out = decoded(saved(Image.new("RGB", (2, 2), (1, 2, 3)), "PNG", icc_profile=icc), oddities)
    assert list(np.asarray(out)[0, 0]) == [1, 2, 3]
    assert oddities == [BROKEN_PROFILE]


def test_limits_are_those_of_the_header():
    for data in (
        png(13000, 13000, 8, 2, b""),
        png(2**26 + 1, 1, 1, 0, b""),
        b"P6 9000 9000 255\n",
        tiff(np.zeros((1, 1), np.uint8), 8).replace(
            struct.pack("<HHII", 256, 4, 1, 1), struct.pack("<HHII", 256, 4, 1, 2**26 + 1)
        ),
    ):
        with pytest.raises(UnreadableImage, match="pixels"):
            decoded(data)
    assert opened(png(8192, 8192, 1, 0, b"")).size == (8192, 8192)


def test_formats_are_named_ones():
    for data in (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        saved(Image.new("L", (4, 4)), "TGA"),
    ):
        with pytest.raises(UnreadableImage, match="not an image of a known format"):
            decoded(data)


def test_reasons_hold_no_addresses():
    texts = set()
    for size in (60, 150, 200):
        noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        with pytest.raises(UnreadableImage) as caught:
            decoded(saved(Image.fromarray(noise), "PNG")[:size])
        texts.add(str(caught.value))
    assert not any(re.search("0x[0-9a-f]", text) for text in texts)


def test_of_a_thousand_frames_one_is_read(monkeypatch):
    frames = [Image.new("L", (2, 2), index % 256) for index in range(300)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    from PIL import GifImagePlugin

    sought = []
    seek = GifImagePlugin.GifImageFile.seek
    monkeypatch.setattr(
        GifImagePlugin.GifImageFile, "seek", lambda self, frame: (sought.append(frame), seek(self, frame))
    )
    assert first(data) == [0, 0, 0]
    assert max(sought, default=0) == 0


def test_a_tiff_of_many_tags_is_read_or_refused():
    data = tiff(np.zeros((1, 1), np.uint8), 8)
    count = 60000
    at = struct.unpack("<I", data[4:8])[0]
    extra = b"".join(struct.pack("<HHII", 1000 + index % 60000, 1, 2**31, 8) for index in range(count))
    own = data[at + 2 : -4]
    bomb = data[:at] + struct.pack("<H", count + len(own) // 12) + own + extra + bytes(4)
    with contextlib.suppress(UnreadableImage):
        assert decoded(bomb).size == (1, 1)
