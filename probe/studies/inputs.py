"""Images for a model with any number of channels and any input side, and what manifests record about them."""

import logging
import os
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.config import DatasetConfig
from probe.data.load import ImageSet, load_images, overlap
from probe.data.presets import preset_names
from probe.errors import UserError
from probe.names import given_path
from probe.training.images import crop, is_grey, pad

TOGETHER = 256
"""Images encoded at once."""
log = logging.getLogger("probe")


def drawn(model: Autoencoder, source: str, n: int, side: int) -> ImageSet:
    """n images of a preset, or of a source such as ``parquet:PATH`` or a path, with the channels that the model takes.

    UserError as ``load_images``, or if the model takes grey images and these are in colour.
    """
    is_source = ":" in source or "/" in source or os.path.exists(given_path(source))
    spec = DatasetConfig(source=source if is_source and source not in preset_names() else None, n=n, holdout=0)
    images = load_images("data" if spec.source else source, spec, resolution=side)
    if model.channels != 1:
        return images
    if not is_grey(images.images):
        raise UserError(f"{model.source} takes grey images, but those of {source} are in colour; use grey images.")
    return replace(images, images=images.images[:, :1].contiguous())


def inputs(model: Autoencoder, images: Tensor, side: int | None = None) -> Tensor:
    """uint8 images (n, c, s, s) as inputs (n, c, side, side) in the model's range, dtype and device, padded with black.

    c is 3, or 1 for a model of grey images; ``side`` is by default the only one that the model takes, else s. UserError
    if s > ``side``, or the model takes no images.
    """
    side = side or model.side or images.shape[-1]
    if images.shape[-1] > side:
        raise UserError(f"images of side {images.shape[-1]} do not fit {model.source}, which takes {side}.")
    images = pad(images, side)
    if model.kind != "image" or model.channels != 1:
        return model.from_pixels(images)
    low, high = model.image_range
    return images.to(model.device, model.dtype) / 255 * (high - low) + low


@torch.no_grad()
def encode(model: Autoencoder, images: Tensor, side: int | None = None, together: int = TOGETHER) -> Tensor:
    """Latents of uint8 images (see ``inputs``), ``together`` of them at a time."""
    return torch.cat([model.encode(inputs(model, part, side)) for part in images.split(together)])


@torch.no_grad()
def decode(model: Autoencoder, z: Tensor, side: int, together: int = 2 * TOGETHER) -> Tensor:
    """D(z) of latents (m, ...), cropped to the images' own side: float32 (m, c, side, side) on the CPU."""
    parts = [crop(model.decode(part.to(model.device)), side) for part in z.split(together)]
    return torch.cat(parts).cpu()


def squared_error(rebuilt: Tensor, images: Tensor) -> Tensor:
    """Of each uint8 image (n, c, s, s): mean over its own pixels and channels, in [0, 1]; (n,)."""
    return (rebuilt - images.float() / 255).square().flatten(1).mean(1)


def as_pictures(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def image_facts(images: ImageSet) -> dict[str, Any]:
    """What a manifest records of every set: source, planned and used counts, and anything odd about the files."""
    return {
        "n_planned": images.n_planned,
        "n_used": len(images.images),
        "unreadable": images.unreadable,
        "repeated": images.repeated,
        "notes": list(images.notes),
        "source": images.source,
    }


def note_overlap(name: str, train: Tensor, images: Tensor, facts: dict[str, Any], what: str = "images") -> None:
    """Add ``shared_with_train`` and a note to a set's facts if some of its images are also training images."""
    if shared := overlap(train, images):
        note = f"{shared} of {len(images)} {what} are also training images (all pixels are equal)."
        log.warning(f"{name}: {note}")
        facts |= {"shared_with_train": shared, "notes": [*facts.get("notes", []), note]}
