"""Which pictures of a round trip are kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from probe.studies.inputs import as_pictures
from probe.studies.roundtrip.config import FilmConfig


@dataclass
class Film:
    """Pictures of the first images, and of those that have the lowest and the highest PSNR at the end.

    Which these are is known only at the end, so a batch is added whole, and what is no longer among them is dropped.

    Attributes:
        cycles: whose pictures are kept.
    """

    config: FilmConfig
    cycles: list[int]
    _kept: dict[int, Tensor] = field(default_factory=dict)
    _score: dict[int, float] = field(default_factory=dict)

    def pictures(self, x: Tensor) -> Tensor:
        """Pictures (n, 3, H, W), values in [0, 1], as they are kept: uint8, means over areas where they are reduced."""
        height, width = x.shape[-2:]
        if (side := max(height, width)) > self.config.side:
            size = [max(round(one * self.config.side / side), 1) for one in (height, width)]
            x = torch.nn.functional.interpolate(x.clamp(0, 1), size, mode="area")
        return as_pictures(x)

    def add(self, images: Sequence[int], score: Tensor, pictures: Tensor) -> None:
        """Add images by their positions, with their last PSNR (k,; NaN: none) and pictures uint8 (k, f, 3, H, W)."""
        self._score |= dict(zip(images, score.tolist(), strict=True))
        self._kept |= dict(zip(images, pictures, strict=True))
        chosen = self.images()
        self._kept = {image: self._kept[image].clone() for image in chosen}

    def images(self) -> list[int]:
        """The first images, then the worst, then the best of the others added so far."""
        first = [image for image in sorted(self._score) if image < self.config.images]
        quality = {image: -math.inf if math.isnan(score) else score for image, score in self._score.items()}
        worst = sorted(quality, key=lambda image: (quality[image], image))[: self.config.extremes]
        best = sorted(quality, key=lambda image: (-quality[image], image))[: self.config.extremes]
        return list(dict.fromkeys([*first, *worst, *best]))

    def tensors(self) -> dict[str, Tensor]:
        """``film_images``, ``film_cycles`` and ``film`` of ``layout.TRIP_TENSORS``."""
        images = self.images()
        return {
            "film_images": torch.tensor(images),
            "film_cycles": torch.tensor(self.cycles),
            "film": torch.stack([self._kept[image] for image in images]),
        }
