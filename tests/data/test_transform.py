import io
import struct

import numpy as np
import pytest
from PIL import Image

from probe.data.decode import image_to_tensor
from probe.data.source import UnreadableImage


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (5, 7), (64, 64), (33, 200)])
@pytest.mark.parametrize("resolution", [1, 8, 31])
def test_a_constant_image_stays_constant(size, resolution):
    out = image_to_tensor(encoded(Image.new("RGB", size, (10, 200, 33))), resolution)
    assert out.shape == (3, resolution, resolution)
    assert out.dtype.is_floating_point is False
    for channel, value in zip(out, (10, 200, 33), strict=True):
        assert channel.unique().tolist() == [value]


def test_the_size_asked_for_passes_pixel_exact():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(image_to_tensor(encoded(Image.fromarray(pixels)), 32).permute(1, 2, 0), pixels)


def test_the_crop_is_central():
    """Black and white halves of a wide picture meet in the middle of the square, also after shrinking."""
    pixels = np.zeros((40, 100, 3), dtype=np.uint8)
    pixels[:, 50:] = 255
    out = image_to_tensor(encoded(Image.fromarray(pixels)), 20)
    # Bicubic's footprint is 2 output pixels either side of the edge; beyond it the halves are pure.
    assert out[:, :, :8].max() == 0
    assert out[:, :, 12:].min() == 255


@pytest.mark.parametrize(("width", "first"), [(6, 1), (7, 1), (8, 2), (9, 2)])
def test_odd_remainders_are_cut_at_the_right(width, first):
    pixels = np.tile(np.arange(width, dtype=np.uint8)[None, :, None], (4, 1, 3))
    assert image_to_tensor(encoded(Image.fromarray(pixels)), 4)[0, 0].tolist() == list(range(first, first + 4))


def test_shrinking_is_antialiased():
    """A checkerboard of single pixels averages to grey; sampling single pixels would give black or white."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    inner = image_to_tensor(encoded(Image.fromarray(board)), 8)[:, 1:-1, 1:-1].float()
    assert (inner - 127.5).abs().max() <= 2


def test_grey_is_three_equal_channels():
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8)
    out = image_to_tensor(encoded(Image.fromarray(ramp)), 8)
    assert all(np.array_equal(channel, ramp) for channel in out)


def test_palette_and_bilevel():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert image_to_tensor(encoded(palette), 2)[:, 0, 0].tolist() == [9, 8, 7]
    assert image_to_tensor(encoded(Image.new("1", (4, 4), 1)), 2).unique().tolist() == [255]


def test_transparency_is_laid_on_white():
    assert image_to_tensor(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0))), 2).unique().tolist() == [255]
    half = image_to_tensor(encoded(Image.new("LA", (4, 4), (0, 128))), 2).unique().tolist()
    assert half == [127]  # 0 * 128/255 + 255 * 127/255
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert image_to_tensor(encoded(palette, transparency=1), 2).unique().tolist() == [255]


def test_sixteen_bits_become_eight():
    values = (np.array([[0, 1, 128, 255]], dtype=np.uint16) * 257).repeat(4, axis=0)
    assert image_to_tensor(encoded(Image.fromarray(values)), 4)[0, 0].tolist() == [0, 1, 128, 255]


def test_cmyk():
    out = image_to_tensor(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), 4)
    assert out.min() >= 254


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (8, 8), "black")
    image.paste("white", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    out = image_to_tensor(encoded(image, exif=exif), 8)
    assert out[:, :4].max() == 0
    assert out[:, 4:].min() == 255


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    out = image_to_tensor(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), 2)
    assert out[:, 0, 0].tolist() == [255, 0, 0]


def bomb() -> bytes:
    """A PNG whose header claims 30000 x 30000 pixels."""
    data = bytearray(encoded(Image.new("L", (4, 4))))
    data[16:24] = struct.pack(">II", 30000, 30000)
    data[29:33] = struct.pack(">I", __import__("zlib").crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>not found</html>",
        encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))[:3000],
        encoded(Image.new("RGB", (64, 64)), "JPEG")[:400],
        encoded(Image.new("F", (4, 4), 0.5), "TIFF"),
        bomb(),
    ],
    ids=["empty", "html", "truncated png", "truncated jpeg", "float tiff", "bomb"],
)
def test_unreadable(data):
    with pytest.raises(UnreadableImage):
        image_to_tensor(data, 8)


def test_a_large_picture_is_read_without_a_warning(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)  # warns above, raises from twice as many
    assert image_to_tensor(encoded(Image.new("RGB", (64, 64))), 8).shape == (3, 8, 8)
