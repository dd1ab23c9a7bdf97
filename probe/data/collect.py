"""Reading candidates until there are enough pictures, each taken once; everything odd is counted."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import torch
from PIL import Image
from torch import Tensor

from probe.data.decode import BROKEN_PROFILE, DIM, image_to_tensor
from probe.data.source import Candidate, UnreadableImage
from probe.names import shortened, shown

Prepare = Callable[[bytes | Image.Image], bytes | Image.Image]

DARK = 64
"""A set with no value (of 255) above this causes a warning."""
LONGEST = 160


def picture_hash(image: Tensor) -> bytes:
    """Of the pixels: pictures with equal hashes are the same to a model."""
    return hashlib.sha256(image.numpy().tobytes()).digest()


def overlap(one: Tensor, other: Tensor) -> int:
    """How many images of ``other``, uint8 (n, c, R, R), are also in ``one``."""
    known = {picture_hash(image) for image in one}
    return sum(picture_hash(image) in known for image in other)


@dataclass
class Collection:
    """The pictures of one set.

    Attributes:
        ids, labels, images: of those taken, in the order of the source.
        unreadable: ids of those that could not be read.
        repeated: how many were left out because their pixels, at the resolution, equal those of an earlier one.
    """

    resolution: int
    prepare: Prepare | None = None
    ids: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    repeated: int = 0
    _seen: set[bytes] = field(default_factory=set)
    _oddities: Counter[str] = field(default_factory=Counter)
    _reasons: dict[str, list[str]] = field(default_factory=dict)

    def read(self, candidates: Iterator[Candidate], wanted: int, tries: int | None) -> None:
        """Take ``wanted`` more pictures, or all there are; ``tries`` limits the candidates tried for each."""
        enough = len(self.ids) + wanted
        allowed = islice(candidates, None if tries is None else tries * wanted)
        while len(self.ids) < enough and (candidate := next(allowed, None)) is not None:  # never takes one too many
            try:
                self._take(candidate)
            except UnreadableImage as error:
                self.unreadable.append(candidate.id)
                # A fault has one reason, whatever the names and numbers in the sentence.
                self._reasons.setdefault(re.sub(r"\d+|'[^']*'", "", str(error)), []).append(str(error))

    def _take(self, candidate: Candidate) -> None:
        oddities: list[str] = []
        data = candidate.read()
        image = image_to_tensor(data, self.resolution, oddities)
        # Of the pixels that the model sees, since files of one picture may differ; and before ``prepare``, so that
        # another preparation leaves the choice of pictures as it is.
        known = picture_hash(image)
        if known in self._seen:
            self.repeated += 1
            return
        prepared = self.prepare(data) if self.prepare else data
        if prepared is not data:
            image = image_to_tensor(prepared, self.resolution)
        self._seen.add(known)
        self._oddities.update(oddities)
        self.ids.append(candidate.id)
        self.labels.append(candidate.label)
        self.images.append(image)

    def stacked(self, rows: slice) -> Tensor:
        """uint8 (n, 3, R, R)."""
        if images := self.images[rows]:
            return torch.stack(images)
        return torch.empty((0, 3, self.resolution, self.resolution), dtype=torch.uint8)

    @property
    def commonest(self) -> str:
        """The most frequent reason why pictures could not be read, with its count; empty if all could."""
        if not self._reasons:
            return ""
        alike = max(self._reasons.values(), key=len)
        return f"the reason for {len(alike)} of them: {shortened(shown(alike[0]), LONGEST)}"

    def notes(self) -> list[str]:
        """Sentences on anything odd about the pictures."""
        found = []
        if self.repeated:
            were, them = ("image was", "it repeats") if self.repeated == 1 else ("images were", "they repeat")
            found.append(f"{self.repeated} {were} left out because {them} others of this set pixel by pixel.")
        if dim := self._oddities[DIM]:
            found.append(
                f"{dim} 16-bit {'picture uses' if dim == 1 else 'pictures use'} fewer than 12 bits; "
                f"12-bit data in 16 bits come out dark: scale them to 16 bits."
            )
        if broken := self._oddities[BROKEN_PROFILE]:
            found.append(
                f"{broken} {'image has' if broken == 1 else 'images have'} a broken colour profile; taken as sRGB."
            )
        if self.images and (brightest := max(int(image.max()) for image in self.images)) < DARK:
            found.append(f"the brightest value of all images is {brightest} of 255; check the range of the files.")
        return found
