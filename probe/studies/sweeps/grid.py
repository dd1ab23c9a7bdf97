"""The models of a study: every data set with every k, size and seed; or every architecture."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probe.data import ImageSet, load_images
from probe.data.collect import overlap
from probe.errors import UserError
from probe.studies.sweeps.config import ContractionConfig, GridConfig, StudyConfig
from probe.studies.sweeps.contraction import known
from probe.studies.sweeps.datasets import StudyDataset
from probe.training import build, fitted
from probe.training.images import is_grey

log = logging.getLogger("probe")


@dataclass(frozen=True)
class Cell:
    """One model: its data set, bottleneck, number of training images, and seed."""

    dataset: str
    k: int
    size: int
    seed: int

    @property
    def name(self) -> str:
        """As a file name."""
        return f"{self.dataset}-k{self.k:04d}-n{self.size:06d}-s{self.seed}"


@dataclass(frozen=True)
class Backbone:
    """One architecture with random weights."""

    architecture: str

    @property
    def name(self) -> str:
        """As a file name."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.architecture)


@dataclass(frozen=True)
class Measured:
    """What a model's result file holds; the names are explained in ``probe.report.study.schema``.

    Attributes:
        values: numbers, and null where one does not exist.
        tensors: what the numbers are made of, and pictures.
    """

    values: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyData:
    """A data set as drawn: uint8 images (n, c, side, side), c = 1 where all are grey, else 3.

    facts: channels and side; of each set its source, size, checksum and what could not be read; for the manifest.
    """

    train: Tensor
    test: Tensor
    facts: dict[str, Any]


def draw(name: str, spec: StudyDataset) -> StudyData:
    """Draw a data set's images.

    Raises:
        UserError: as ``load_images``; or the images are too small for four strides, or only one set is grey.
    """
    fitted(spec.side, f"data set {name!r}")
    train, test, about = _both(name, spec)
    grey = is_grey(train.images)
    if grey and not is_grey(test):
        raise UserError(f"data set {name!r}: the training images are grey, the test images are not; check the sources.")
    facts = {"train": _facts(train), "test": about, "channels": 1 if grey else 3, "side": spec.side}
    channels = slice(0, 1 if grey else 3)
    return StudyData(train.images[:, channels].contiguous(), test[:, channels].contiguous(), facts)


def _both(name: str, spec: StudyDataset) -> tuple[ImageSet, Tensor, dict[str, Any]]:
    if not isinstance(spec.test, int):
        train = load_images(f"{name}/train", spec.train.dataset("train"), resolution=spec.side, classes=spec.classes)
        test = load_images(f"{name}/test", spec.test.dataset("test"), resolution=spec.side, classes=spec.classes)
        about = _facts(test)
        if shared := overlap(train.images, test.images):
            note = f"{shared} of {len(test.images)} test images are training images, too, pixel by pixel."
            log.warning(f"{name}/test: {note}")
            about |= {"shared_with_train": shared, "notes": [*about["notes"], note]}
        return train, test.images, about
    train = load_images(name, spec.train.dataset("train", spec.test), resolution=spec.side, classes=spec.classes)
    if not len(train.heldout):
        raise UserError(f"data set {name!r}: no image is left for tests; lower datasets.{name}.train.n.")
    return train, train.heldout, {"n_used": len(train.heldout), "source": train.source}


def _facts(images: ImageSet) -> dict[str, Any]:
    return {
        "sha256": images.sha256,
        "n_planned": images.n_planned,
        "n_used": len(images.images),
        "classes": len({label for label in images.labels if label is not None}),
        "unreadable": images.unreadable,
        "repeated": images.repeated,
        "notes": list(images.notes),
        "source": images.source,
    }


def shards(config: StudyConfig, data: Mapping[str, Mapping[str, int]]) -> Sequence[Cell | Backbone]:
    """All that a study has results for; see ``cells``.

    Raises:
        UserError: as ``cells``; or an architecture is unknown.
    """
    if isinstance(config, GridConfig):
        return cells(config, data)
    if isinstance(config, ContractionConfig):
        return [Backbone(name) for name in known(config.architectures)]
    raise TypeError(f"{type(config).__name__} has no grid")


def cells(config: GridConfig, data: Mapping[str, Mapping[str, int]]) -> list[Cell]:
    """All models, in the order of the configuration.

    Args:
        data: for each data set ``n_train``, ``channels`` and ``side`` as drawn.

    Raises:
        UserError: more training images are asked for than there are, or a k is larger than the network's features.
    """
    found = []
    for name, about in data.items():
        side = fitted(about["side"], f"data set {name!r}")
        for k in config.k:
            build(about["channels"], side, k, config.training, 0)
        for size in config.numbers(about["n_train"]):
            if size > about["n_train"]:
                raise UserError(
                    f"data set {name!r} has {about['n_train']} training images, and sizes asks for {size}; lower it, "
                    f"or raise datasets.{name}.train.n if the source has more."
                )
            found += [Cell(name, k, size, seed) for k in config.k for seed in config.seeds]
    return found


def training_images(train: Tensor, cell: Cell) -> Tensor:
    """The images that a model is trained on, chosen by its seed; a smaller size is the beginning of a larger one."""
    order = np.random.default_rng([cell.seed, 3]).permutation(len(train))
    return train[torch.from_numpy(order[: cell.size])]
