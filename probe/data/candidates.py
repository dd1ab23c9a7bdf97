"""What every source of images gives: candidates in a seeded order, each read only when it is needed."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from probe.names import shown


class UnreadableImage(Exception):
    """One image that cannot be had (damaged, not an image, not downloaded): it is counted, and never fatal."""


@dataclass(frozen=True)
class Candidate:
    """An image that has a stable ``id`` in its source; ``read`` gives it encoded or decoded, or UnreadableImage.

    ``label`` names its class, where the source has classes. Both are made safe to write and to show, as
    ``probe.names.shown`` does it: file names may hold anything.
    """

    id: str
    read: Callable[[], bytes | Image.Image]
    label: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", shown(self.id))
        object.__setattr__(self, "label", None if self.label is None else shown(self.label))


@dataclass(frozen=True)
class Opened:
    """An opened source.

    candidates: in an order that depends on the source and the seed alone, never on how many are wanted.
    facts: what the report should know of the source (column, revision, ...).
    tries: how many candidates may be tried for each image that is wanted; None for as many as there are.
    notes: sentences on what is odd about the source; they become warnings.
    """

    candidates: Generator[Candidate, None, None]
    facts: dict[str, Any] = field(default_factory=dict)
    tries: int | None = None
    notes: list[str] = field(default_factory=list)


def seeded_order(count: int, seed: int) -> list[int]:
    """A permutation of 0..count-1 that depends on (count, seed) alone."""
    return np.random.default_rng(seed).permutation(count).tolist()
