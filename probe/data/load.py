"""A named data set becomes test images, and further images for the PCA oracle; everything odd is counted."""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from probe.config import DatasetConfig
from probe.data.balance import Balance
from probe.data.decode import BROKEN_PROFILE, DIM, image_to_tensor
from probe.data.presets import resolve
from probe.data.source import Candidate, OutOfRange, UnreadableImage
from probe.data.sources import recognised
from probe.errors import UserError
from probe.names import shortened, shown
from probe.plugins import call

Prepare = Callable[[bytes | Image.Image], bytes | Image.Image]
DARK = 64  # a set with no value (of 255) above this causes a warning
log = logging.getLogger("probe")


@dataclass(frozen=True)
class ImageSet:
    """What was drawn from a data set.

    name: the name in the configuration.
    images: uint8 (n, 3, R, R), the test images; 1 <= n <= n_planned.
    ids: n stable ids in the source (a row's number, a file's name, an address, a hash of the content).
    labels: the n classes of the test images; None for an image without one.
    heldout: uint8 (m, 3, R, R), other rows of the source, for the PCA oracle only; m may be 0.
    n_planned: the number of test images asked for.
    unreadable: ids of the images that were tried and could not be read; others were drawn in their place.
    sha256: of the bytes of images and heldout and the ids, in hexadecimal.
    source: source, config, split, column, revision, seed; available (rows in the source, None where unknown); sample
        ("exact", or how a stream was shuffled); packages (versions, for a bundled set); skipped (files of a folder
        that are not images, by suffix).
    repeated: how many images were left out because their pixels equal those of another.
    notes: sentences on anything odd about the images.
    """

    name: str
    images: Tensor
    ids: list[str]
    labels: list[str | None]
    heldout: Tensor
    n_planned: int
    unreadable: list[str]
    sha256: str
    source: dict[str, Any]
    repeated: int = 0
    notes: Sequence[str] = ()


def load_images(
    name: str,
    spec: DatasetConfig,
    *,
    resolution: int,
    classes: Sequence[str] | None = None,
    prepare: Prepare | None = None,
) -> ImageSet:
    """Draw ``spec.n`` test images and ``spec.holdout`` further ones with ``spec.seed``, at resolution x resolution.

    The source is put in a seeded order. The first n distinct readable images are the test images and those that follow
    are held out, so the test images depend on (source, seed, n) and not on ``holdout``. Where the source has fewer than
    n + ``holdout``, at least a quarter of what it has is held out (or ``holdout``, if that is less). An image whose
    pixels, at the resolution, equal those of an earlier one is left out. Decoding, cropping and resizing: see
    ``image_to_tensor``. Anything odd is logged as a warning and noted in ``ImageSet.notes``.

    Args:
        classes: draw images of these classes only.
        prepare: applied to each image (encoded, or decoded if its source gives it so) before all else.

    Raises:
        UserError: the source is absent, gated, unreachable or of an unknown kind, or no image of it can be read; or
            none of the images drawn is of one of the classes.
        Failure: a source of a plug-in fails.
    """
    spec = resolve(name, spec)
    where = f"data set {name!r} ({shown(shortened(spec.source or '', 100))})"
    kind, place = recognised(where, spec)
    spec = spec.model_copy(update={"source": f"{kind.prefix}:{place}"})
    opened = call(kind, kind.open, where, spec, place)
    found = _Collection(where, resolution, prepare, classes)
    with closing(opened.candidates) as all_candidates:
        candidates: Iterator[Candidate] = found.of_classes(all_candidates)
        if opened.classes is not None:
            found.classes_seen.update(opened.classes)
            found.balance = _balance(candidates, opened.classes, spec, classes)
            candidates = iter(found.balance)
        call(kind, found.read, candidates, spec.n, opened.tries)
        if absent := set(classes or ()) - set(found.labels):
            seen = ", ".join(map(repr, sorted(found.classes_seen)))
            there = f"the classes are {seen}" if seen else "the source has no classes"
            raise UserError(f"{where}: no image drawn is of class {min(absent)!r}; {there}.")
        if not found.ids:
            raise UserError(f"{where}: {found.why_empty()}; check the source.")
        call(kind, found.read, candidates, spec.holdout, opened.tries)
    total = len(found.ids)
    # Held out: what the tests leave, but at least a quarter of a small source.
    used = total - min(spec.holdout, max(total - spec.n, total // 4))
    notes = [*opened.notes, *found.notes(total - used)]
    if used < min(spec.n, total):
        notes.append(f"{total - used} of {total} images were held out, which leaves {used} of the {spec.n} asked for.")
    if found.balance and (classes_known := len(found.balance.taken)) > spec.n:
        few = f"{classes_known:,} classes are more than {spec.n:,} test images, so some classes have none among these"
        notes.append(f"{few}; set n to {classes_known:,} or more, or balance a column with fewer classes.")
    for note in notes:
        log.warning(f"{name}: {note}")
    asked = ["source", "config", "split", "column", "revision", "seed", *(["balance"] if spec.balance else [])]
    meaningful = kind.fields | {"source", "seed"}
    images, heldout, ids = found.stacked(slice(used)), found.stacked(slice(used, None)), found.ids[:used]
    digest = hashlib.sha256(images.numpy().data)
    digest.update(heldout.numpy().data)
    digest.update(json.dumps(ids).encode())
    return ImageSet(
        name=name,
        images=images,
        ids=ids,
        labels=found.labels[:used],
        heldout=heldout,
        n_planned=spec.n,
        unreadable=found.unreadable,
        sha256=digest.hexdigest(),
        source={field: getattr(spec, field) if field in meaningful else None for field in asked} | opened.facts,
        repeated=found.repeated,
        notes=notes,
    )


def _balance(
    candidates: Iterator[Candidate], known: dict[str, int | None], spec: DatasetConfig, classes: Sequence[str] | None
) -> Balance:
    known = {name: count for name, count in known.items() if classes is None or name in classes}
    return Balance(candidates, known, (spec.n + spec.holdout) // max(1, len(known)) + 1)


@dataclass
class _Collection:
    """The pictures taken, in the order of the source, and what happened to the others."""

    where: str
    resolution: int
    prepare: Prepare | None
    classes: Sequence[str] | None
    ids: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    repeated: int = 0
    balance: Balance | None = None
    classes_seen: set[str] = field(default_factory=set)
    _hashes: set[bytes] = field(default_factory=set)
    _oddities: Counter[str] = field(default_factory=Counter)
    _reasons: dict[str, list[str]] = field(default_factory=dict)

    def read(self, candidates: Iterator[Candidate], wanted: int, tries: int | None) -> None:
        """Take ``wanted`` more pictures, or all there are; ``tries`` limits the candidates tried for each."""
        enough = len(self.ids) + wanted
        allowed = islice(candidates, None if tries is None else tries * wanted)
        while len(self.ids) < enough and (candidate := next(allowed, None)) is not None:  # never takes one too many
            try:
                self._take(candidate)
            except OutOfRange as error:
                raise UserError(
                    f"{self.where}: image {shortened(candidate.id, 60)!r} does not hold 8 bits, and those that seem to "
                    f"may not either: {error}."
                ) from error
            except UnreadableImage as error:
                self.unreadable.append(candidate.id)
                # A fault has one reason, whatever the names and numbers in the sentence.
                self._reasons.setdefault(re.sub(r"\d+|'[^']*'", "", str(error)), []).append(str(error))

    def of_classes(self, candidates: Iterator[Candidate]) -> Iterator[Candidate]:
        """Those of the classes asked for."""
        for candidate in candidates:
            if candidate.label is not None:
                self.classes_seen.add(candidate.label)
            if self.classes is None or candidate.label in self.classes:
                yield candidate

    def _take(self, candidate: Candidate) -> None:
        oddities: list[str] = []
        data = candidate.read()
        image = image_to_tensor(data, self.resolution, oddities)
        # Of the pixels that the model sees, since files of one picture may differ; and before ``prepare``, so that
        # another preparation leaves the choice of pictures as it is.
        known = _hash(image)
        if known in self._hashes:
            self.repeated += 1
            return
        if self.prepare and (prepared := self.prepare(data)) is not data:
            image = image_to_tensor(prepared, self.resolution)
        self._hashes.add(known)
        self._oddities.update(oddities)
        self.ids.append(candidate.id)
        self.labels.append(candidate.label)
        if self.balance and candidate.label is not None:
            self.balance.taken[candidate.label] += 1
        self.images.append(image)

    def stacked(self, rows: slice) -> Tensor:
        """uint8 (n, 3, R, R)."""
        empty = torch.empty((0, 3, self.resolution, self.resolution), dtype=torch.uint8)
        return torch.stack(self.images[rows]) if self.images[rows] else empty

    def why_empty(self) -> str:
        """Why no picture was taken, with the most frequent reason and its count."""
        if not self.unreadable:
            return "it holds no images"
        alike = max(self._reasons.values(), key=len)
        example = shortened(self.unreadable[0], 80)
        reason = f"the reason for {len(alike)} of them: {shortened(shown(alike[0]), 160)}"
        return f"none of the {len(self.unreadable)} images tried could be read, for example {example!r}; {reason}"

    def notes(self, held_out: int) -> list[str]:
        """Sentences on anything odd about the pictures, of which the last ``held_out`` are held out."""
        found = []
        if self.repeated:
            were, them = ("image was", "it repeats") if self.repeated == 1 else ("images were", "they repeat")
            found.append(f"{self.repeated} {were} left out because {them} others of this set pixel by pixel.")
        if self.balance and (unbalanced := self.balance.note(held_out)):
            found.append(unbalanced)
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


def overlap(one: Tensor, other: Tensor) -> int:
    """How many images of ``other``, uint8 (n, c, R, R), are also in ``one``."""
    known = {_hash(image) for image in one}
    return sum(_hash(image) in known for image in other)


def _hash(image: Tensor) -> bytes:
    return hashlib.sha256(image.numpy().tobytes()).digest()
