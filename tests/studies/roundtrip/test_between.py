"""What happens between cycles, against Pillow and by its own definition."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from probe.errors import UserError
from probe.studies.roundtrip.between import BETWEEN, step

from .models import pictures, settings

EACH = ["none", "clamp", "8bit", "png", "jpeg:75", "webp:80", "resize:0.5", "resize:0.5:bilinear"]


def values(n: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, 16, 16, generator=generator) * 0.5 + 0.5


def test_float_pictures_are_left_or_clamped():
    x = values()
    assert torch.equal(step("none")(x), x)
    assert torch.equal(step("clamp")(x), x.clamp(0, 1))
    assert not step("none").kind.rounds
    assert not step("clamp").kind.rounds


def test_8_bits_and_png_round_and_nothing_more():
    x = values()
    expected = (x.clamp(0, 1) * 255).round() / 255
    for name in ("8bit", "png"):
        assert torch.equal(step(name)(x), expected)
        assert torch.equal(step(name)(expected), expected)
        assert step(name).kind.rounds


@pytest.mark.parametrize(("name", "form", "options"), [
    ("jpeg:40", "JPEG", {"quality": 40, "subsampling": 2}),
    ("webp:60", "WEBP", {"quality": 60}),
])  # fmt: skip
def test_codecs_are_pillows(name, form, options):
    images = pictures(2)
    for image, found in zip(images, step(name)(images / 255), strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, form, **options)
        expected = np.asarray(Image.open(buffer).convert("RGB"))
        assert np.array_equal((found.permute(1, 2, 0) * 255).round().numpy(), expected)


def test_resizing_keeps_the_size_and_what_is_smooth():
    ramp = torch.linspace(0.2, 0.8, 16).expand(1, 3, 16, 16)
    for name in ("resize:0.5", "resize:0.3", "resize:2", "resize:0.5:bilinear"):
        found = step(name)(ramp)
        assert found.shape == ramp.shape
        assert float((found - ramp)[..., 3:-3].abs().max()) < 0.03, name
    board = ((torch.arange(16)[:, None] + torch.arange(16)) % 2).float().expand(1, 3, 16, 16)
    assert float((step("resize:0.5")(board) - 0.5).abs()[..., 3:-3, 3:-3].max()) < 0.1  # what is fine is gone


@pytest.mark.parametrize("name", EACH)
def test_each_picture_by_itself(name):
    x = values(4)
    whole = step(name)(x)
    assert whole.dtype == x.dtype
    for row in range(4):
        assert torch.equal(whole[row : row + 1], step(name)(x[row : row + 1]))
    assert step(name)(x[:0]).shape == (0, 3, 16, 16)


def test_names_are_complete_and_become_files():
    assert [step(name).name for name in ("jpeg", "webp", "resize")] == ["jpeg:75", "webp:80", "resize:0.5"]
    assert step("resize:0.5:bilinear").file == "resize-0.5-bilinear"
    assert {step(name).kind for name in EACH} == set(BETWEEN)
    assert settings(between=["jpeg", "none"]).between == ("jpeg:75", "none")


@pytest.mark.parametrize(("name", "told"), [
    ("gif", "'gif' is unknown; choose among none, clamp"),
    ("none:3", "none takes nothing after a colon"),
    ("8bit:", "8bit takes nothing"),
    ("jpeg:0", "an integer from 1 to 100, not '0'"),
    ("jpeg:7.5", "not '7.5'"),
    ("webp:101", "not '101'"),
    ("jpeg:075", "not '075'"),
    ("resize:nan", "not 'nan'"),
    ("resize:0", "a number from 1/64 to 8"),
    ("resize:0.5:box", "no filter 'box'; choose one of lanczos"),
])  # fmt: skip
def test_mistakes_are_named(name, told):
    with pytest.raises(ValueError, match=told.replace("(", r"\(")):
        step(name)
    with pytest.raises(UserError, match="between"):
        settings(between=[name])
