"""Colour profiles inside pictures (ICC): conversion to sRGB, which is what autoencoders are trained on."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

SAME = 2
"""Largest difference, of 255, at which a profile counts as sRGB, so that pictures keep their values."""
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


class BrokenProfile(Exception):
    """A profile that is damaged, or for another colour mode than its picture's."""


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A picture of mode L, RGB or CMYK in sRGB, of mode RGB; grey stays grey. One with an sRGB profile is unchanged.

    BrokenProfile if the profile is unusable.
    """
    mode, transform = _transform(profile)
    grey = image.mode == "L"
    if grey and mode == "RGB":
        image = image.convert("RGB")
    if not grey and mode == "L" and _is_grey(image):  # an RGB file of a grey picture
        grey, image = True, image.getchannel(0)
    if image.mode != mode:
        raise BrokenProfile(f"a profile of {mode} in a picture of {image.mode}")
    if transform is None:
        return image
    converted = _apply(image, transform)
    # Rounding may separate the channels of a grey picture by one level.
    return converted.getchannel("G") if grey else converted


def _is_grey(image: Image.Image) -> bool:
    return image.mode == "RGB" and len({band.tobytes() for band in image.split()}) == 1


@lru_cache(maxsize=32)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode of pictures with this profile, and the transform to sRGB; None if they are in sRGB already."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES[source.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except Exception as error:  # littlecms' wrapper raises several classes
        raise BrokenProfile(str(error)) from error
    if mode == "CMYK":
        return mode, transform
    levels = np.linspace(0, 255, 256 if mode == "L" else 9).round().astype(np.uint8)
    grid = levels[None] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    asked = Image.fromarray(grid)
    change = np.abs(np.asarray(_apply(asked, transform), int) - np.asarray(asked.convert("RGB"), int)).max()
    return mode, None if change <= SAME else transform


def _apply(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        raise BrokenProfile("the conversion returned no picture")
    return converted
