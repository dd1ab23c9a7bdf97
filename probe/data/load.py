"""A named data set becomes test images, and further images for the PCA oracle."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from probe.config import DatasetConfig
from probe.data.bundled import open_bundled
from probe.data.candidates import Candidate, Opened, UnreadableImage
from probe.data.folder import open_folder
from probe.data.hub import open_hub
from probe.data.parquet import open_parquet
from probe.data.presets import resolve
from probe.data.sources import recognised
from probe.data.transform import image_to_tensor
from probe.data.urls import open_urls
from probe.errors import UserError
from probe.names import shortened

Opener = Callable[[str, DatasetConfig, str], Opened]
Prepare = Callable[[bytes | Image.Image], bytes | Image.Image]

# kind -> (opener, how it is written, the fields of DatasetConfig that mean something to it)
KINDS: dict[str, tuple[Opener, str, frozenset[str]]] = {
    "hub": (open_hub, "hub:ID", frozenset({"config", "split", "column", "revision"})),
    "parquet": (open_parquet, "parquet:PATH", frozenset({"column"})),
    "folder": (open_folder, "folder:PATH", frozenset()),
    "bundled": (open_bundled, "bundled:NAME", frozenset()),
    "urls": (open_urls, "urls:ID-or-PATH", frozenset({"config", "split", "column", "revision"})),
}


@dataclass(frozen=True)
class ImageSet:
    """What was drawn from a data set.

    name: the name in the configuration.
    images: uint8 (n, 3, R, R), the test images; 1 <= n <= n_planned.
    ids: n stable ids in the source (a row's number, a file's name, an address, a hash of the content).
    labels: the n class names of the test images; None for one without.
    heldout: uint8 (m, 3, R, R), other rows of the source, for the PCA oracle only; m may be 0.
    n_planned: the number of test images that was asked for.
    unreadable: ids of the images that were tried and could not be had; others were drawn in their place.
    sha256: of the bytes of images and heldout and the ids, in hexadecimal.
    source: source, config, split, column, revision, seed; available (rows in the source, None where unknown); sample
        ("exact", or how a stream was shuffled); packages (versions, for a bundled set).
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


def load_images(
    name: str,
    spec: DatasetConfig,
    *,
    resolution: int,
    classes: Sequence[str] | None = None,
    prepare: Prepare | None = None,
) -> ImageSet:
    """Draw ``spec.n`` test images and ``spec.holdout`` further ones with ``spec.seed``, at resolution x resolution.

    The source is put in a seeded order; the first n that can be read are the test images and those that follow are
    held out, so the test images depend on (source, seed, n) and not on ``holdout``, and come first where the source
    is small. Decoding, cropping and resizing: see ``image_to_tensor``.

    Args:
        classes: draw images of these classes only.
        prepare: what is done to each picture (encoded, or decoded if its source gives it so) before all else.

    Raises:
        UserError: the source is absent, gated, out of reach, of an unknown kind, or no image of it can be read; one of
            the classes has no image among those drawn.
    """
    spec = resolve(name, spec)
    where = f"data set {name!r} ({shortened(spec.source or '', 100)})"
    spec = spec.model_copy(update={"source": recognised(where, spec.source or "", frozenset(KINDS))})
    unreadable: list[str] = []
    opened = _open(where, spec)
    with closing(opened.candidates) as candidates:
        seen: set[str | None] = set()
        wanted = _of_classes(candidates, classes, seen)
        ids, labels, images = _collect(wanted, spec.n, opened.tries, resolution, unreadable, prepare)
        _must_not_be_empty(where, set(classes or ()) - set(labels), seen)
        if not ids:
            example = f", for example {unreadable[0]!r}" if unreadable else ""
            raise UserError(
                f"{where}: none of the {len(unreadable)} images tried could be read{example}; check the source."
            )
        _, _, heldout = _collect(wanted, spec.holdout, opened.tries, resolution, unreadable, prepare)
    asked = {field: getattr(spec, field) for field in ("source", "config", "split", "column", "revision", "seed")}
    meaningful = KINDS[_kind(where, spec)][2] | {"source", "seed"}
    source = {field: value if field in meaningful else None for field, value in asked.items()} | opened.facts
    return ImageSet(name, images, ids, labels, heldout, spec.n, unreadable, _digest(images, heldout, ids), source)


def _of_classes(
    candidates: Iterator[Candidate], classes: Sequence[str] | None, seen: set[str | None]
) -> Iterator[Candidate]:
    for candidate in candidates:
        seen.add(candidate.label)
        if classes is None or candidate.label in classes:
            yield candidate


def _must_not_be_empty(where: str, empty: set[str], seen: set[str | None]) -> None:
    if empty:
        found = ", ".join(repr(label) for label in sorted(label for label in seen if label is not None))
        raise UserError(
            f"{where}: no image drawn is of class {min(empty)!r}; "
            f"{f'the classes there are {found}' if found else 'it has no classes'}."
        )


def _kind(where: str, spec: DatasetConfig) -> str:
    kind, colon, place = (spec.source or "").partition(":")
    if kind not in KINDS or not colon or not place:
        ways = ", ".join(written for _, written, _ in KINDS.values())
        raise UserError(f"{where}: the source is of no known kind; write one of {ways}.")
    return kind


def _open(where: str, spec: DatasetConfig) -> Opened:
    kind = _kind(where, spec)
    opener, written, meaningful = KINDS[kind]
    for field in ("config", "split", "column", "revision"):
        # Compared with the default, since a configuration that was written out in full sets every field.
        if field not in meaningful and getattr(spec, field) != DatasetConfig.model_fields[field].default:
            raise UserError(f"{where}: {field} means nothing to a {written} source; remove {field}.")
    return opener(where, spec, (spec.source or "").partition(":")[2])


def _collect(
    candidates: Iterator[Candidate],
    wanted: int,
    tries: int | None,
    resolution: int,
    unreadable: list[str],
    prepare: Prepare | None,
) -> tuple[list[str], list[str | None], Tensor]:
    """Read candidates until ``wanted`` are got, or ``tries`` for each were made; the unreadable are noted."""
    ids: list[str] = []
    labels: list[str | None] = []
    images: list[Tensor] = []
    allowed = islice(candidates, None if tries is None else tries * wanted)
    while len(ids) < wanted and (candidate := next(allowed, None)) is not None:  # takes none too many from the stream
        try:
            data = candidate.read()
            images.append(image_to_tensor(prepare(data) if prepare else data, resolution))
            ids.append(candidate.id)
            labels.append(candidate.label)
        except UnreadableImage:
            unreadable.append(candidate.id)
    none = torch.empty((0, 3, resolution, resolution), dtype=torch.uint8)
    return ids, labels, torch.stack(images) if images else none


def _digest(images: Tensor, heldout: Tensor, ids: list[str]) -> str:
    digest = hashlib.sha256()
    for part in (images.numpy().tobytes(), heldout.numpy().tobytes(), json.dumps(ids).encode()):
        digest.update(part)
    return digest.hexdigest()
