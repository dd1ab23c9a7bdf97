"""rFID in a round trip: Fréchet distance of the pictures after some of the cycles from the images themselves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from probe.dynamics.memory import Fitting
from probe.metrics.frechet import frechet
from probe.studies.inputs import as_pictures


@dataclass
class Features:
    """Features of images, and of their pictures after some of the cycles, added a batch after the other.

    Attributes:
        network: of uint8 images (n, 3, H, W): (n, D), as ``Inception``.
        cycles: after which pictures are compared.
    """

    network: Callable[[Tensor], Tensor]
    cycles: Sequence[int]
    _images: list[Tensor] = field(default_factory=list)
    _pictures: dict[int, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._fitting = Fitting(self.network)

    def start(self, images: Tensor) -> None:
        """Begin a batch with its images, uint8 (n, 3, H, W)."""
        self._images.append(self._fitting(images))

    def look(self, t: int, x: Tensor, lives: Tensor, *, stays: bool) -> None:
        """Look at the pictures after t cycles, values in [0, 1], if they are to be compared.

        Args:
            lives: which of them are finite (n,); the others are left out.
            stays: whether later pictures are the same.
        """
        due = [cycle for cycle in self.cycles if cycle == t or (stays and cycle > t)]
        if due:
            found = torch.where(lives.cpu()[:, None], self._fitting(as_pictures(x)), torch.nan)
            for cycle in due:
                self._pictures.setdefault(cycle, []).append(found)

    def distances(self) -> list[dict[str, Any]]:
        """``rfid`` of ``layout.TRIP_TENSORS``: what is finite against the same images, for at least two."""
        images, found, before = torch.cat(self._images), [], None
        for cycle in self.cycles:
            pictures = torch.cat(self._pictures[cycle])
            known = pictures.isfinite().all(1)
            if before is None or not torch.equal(pictures.nan_to_num(), before.nan_to_num()):
                several = int(known.sum()) > 1
                distance = frechet(images[known], pictures[known]).as_json() if several else {"mean": None}
            found.append({"cycle": cycle, "ci95": None, **distance, "n": int(known.sum())})
            before = pictures
        return found
