"""Encodings read from files, and pictures encoded like others, against Pillow's own saving."""

import io

import numpy as np
import pytest
from PIL import Image

from probe.config import DatasetConfig
from probe.data.decode import Collecting, Encoding, encoding_of, reencode, reencoding
from probe.data.load import load_images
from probe.data.source import UnreadableImage


def picture(side: int = 48, height: int | None = None, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height or side, side, 3), dtype=np.uint8))


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("quality", "subsampling"), [(30, 0), (75, 2), (95, 1)])
def test_a_jpeg_of_the_same_quality_gives_the_same_pixels(quality, subsampling):
    """A file encoded by its own encoding is what Pillow makes of it at that quality."""
    other = encoding_of(saved(picture(seed=1), "JPEG", quality=quality, subsampling=subsampling))
    assert (other.format, other.side, other.subsampling) == ("JPEG", 48, subsampling)
    mine = picture()
    expected = Image.open(io.BytesIO(saved(mine, "JPEG", quality=quality, subsampling=subsampling)))
    assert np.array_equal(np.array(reencode(mine, other)), np.array(expected))


def test_a_lossless_file_of_the_same_size_changes_nothing():
    other = encoding_of(saved(picture(seed=1), "PNG"))
    assert other == Encoding("PNG", 48)
    assert np.array_equal(np.array(reencode(saved(picture(), "PNG"), other)), np.array(picture()))


def test_crop_and_resize():
    """The central square at the other's shorter edge; grey pictures stay grey, also as JPEG."""
    wide = picture(60, height=48)
    other = Encoding("PNG", 20)
    expected = wide.crop((6, 0, 54, 48)).resize((20, 20), Image.Resampling.BICUBIC)
    assert np.array_equal(np.array(reencode(wide, other)), np.array(expected))
    grey = picture().convert("L")
    again = reencode(grey, encoding_of(saved(picture(seed=1), "JPEG", quality=40)))
    assert again.mode == "L"
    again.load()
    colour = reencode(picture(), encoding_of(saved(grey, "JPEG", quality=40)))
    assert (colour.mode, colour.size) == ("RGB", (48, 48))


def test_what_is_no_image():
    with pytest.raises(UnreadableImage):
        encoding_of(b"no image")
    with pytest.raises(UnreadableImage):
        reencode(b"no image", Encoding("PNG", 20))


def test_a_folder_of_files(tmp_path):
    """Collected in the order of the images; each image like the next file, from the first again at the end."""
    for quality in (20, 60):
        (tmp_path / f"{quality}.jpg").write_bytes(saved(picture(seed=quality), "JPEG", quality=quality))
    collecting = Collecting()
    spec = DatasetConfig(source=f"folder:{tmp_path}", n=2, holdout=0)
    plain = load_images("files", spec, resolution=48, prepare=collecting)
    known = {f"{quality}.jpg": encoding_of((tmp_path / f"{quality}.jpg").read_bytes()) for quality in (20, 60)}
    assert collecting.found == [known[name] for name in plain.ids]
    assert "JPEG 48, mean of the luminance table" in collecting.found[0].label
    again = load_images("files", spec, resolution=48, prepare=reencoding(collecting.found[:1]))
    assert again.ids == plain.ids
    # The second image was put through the first one's tables as well, the others having come to their end.
    expected = reencode((tmp_path / plain.ids[1]).read_bytes(), collecting.found[0])
    assert np.array_equal(again.images[1].permute(1, 2, 0).numpy(), np.array(expected.convert("RGB")))
