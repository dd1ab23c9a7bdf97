"""Pictures read back from the addresses that the page gives them."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from probe.report.page.pictures import sheet, small, strip


def opened(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))


def pictures(n: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 3, height, width), dtype=np.uint8)


def test_a_sheet_has_every_picture_in_its_place():
    images = np.repeat(np.arange(7, dtype=np.uint8)[:, None] * 30, 3 * 10 * 12, 1).reshape(7, 3, 10, 12)
    made = sheet(images)
    assert (made.columns, made.rows) == (3, 3)
    whole = opened(made.address)
    for place, image in enumerate(images):
        row, column = divmod(place, 3)
        inner = whole[row * 10 + 3 : (row + 1) * 10 - 3, column * 12 + 3 : (column + 1) * 12 - 3]
        assert inner == pytest.approx(float(image[0, 0, 0]), abs=12)  # lossy
    assert sheet(images[:0]) is None


def test_one_strip_of_many_is_lossy_and_smaller():
    images = pictures(6, 32, 32)
    assert len(strip(images, one_of_many=True)) < len(strip(images)) / 2
    assert opened(strip(images, one_of_many=True)).shape == opened(strip(images)).shape


def test_a_figure_is_made_smaller():
    buffer = io.BytesIO()
    Image.fromarray(np.full((50, 100, 4), 200, np.uint8)).save(buffer, "png")
    assert opened(small(buffer.getvalue(), 0.5)).shape == (25, 50, 3)


def test_large_pictures_are_made_small():
    flat = np.full((2, 3, 256, 128), 100, np.uint8)
    assert opened(sheet(flat).address).shape == (64, 64, 3)  # two of 32 beside each other
    shown = opened(strip(flat))
    assert shown.shape == (96, 48 + 3 + 48, 3)
    assert shown[:, :40] == pytest.approx(100, abs=2)


def test_a_strip_shows_four_at_most():
    images = pictures(8, 16, 16)
    shown = opened(strip(images))
    assert shown.shape == (16, 4 * 17 - 1, 3)
    assert (shown[:, 17:33] == images[1].transpose(1, 2, 0)).all()
