"""A named data set becomes test images, and further images for the PCA oracle."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from probe.config import DatasetConfig
from probe.data.bundled import open_bundled
from probe.data.candidates import Candidate, Opened
from probe.data.collect import Collection, Prepare
from probe.data.folder import open_folder
from probe.data.hub import open_hub
from probe.data.parquet import open_parquet
from probe.data.presets import resolve
from probe.data.sources import recognised
from probe.data.urls import open_urls
from probe.errors import UserError
from probe.names import shortened

Opener = Callable[[str, DatasetConfig, str], Opened]
log = logging.getLogger("probe")

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
        ("exact", or how a stream was shuffled); packages (versions, for a bundled set); skipped (files of a folder
        that are no images, by suffix).
    repeated: how many images were left out because their pixels are those of another.
    notes: sentences on what is odd about the images.
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

    The source is put in a seeded order; the first n distinct pictures that can be read are the test images and those
    that follow are held out, so the test images depend on (source, seed, n) and not on ``holdout``. Where the source
    has fewer than n + ``holdout``, a quarter of what it has is held out at least (or ``holdout``, if that is less).
    A picture whose pixels, at the resolution, are those of an earlier one is left out. Decoding, cropping and
    resizing: see ``image_to_tensor``. What is odd is logged as a warning and noted in ``ImageSet.notes``.

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
    opened = _open(where, spec)
    found = Collection(resolution, prepare)
    with closing(opened.candidates) as candidates:
        seen: set[str | None] = set()
        wanted = _of_classes(candidates, classes, seen)
        found.read(wanted, spec.n, opened.tries)
        _must_not_be_empty(where, set(classes or ()) - set(found.labels), seen)
        if not found.ids:
            raise UserError(f"{where}: {_nothing(found)}; check the source.")
        found.read(wanted, spec.holdout, opened.tries)
    total = len(found.ids)
    used = total - _heldout(total, spec.n, spec.holdout)
    notes = [*opened.notes, *found.notes()]
    if used < min(spec.n, total):
        notes.append(f"{total - used} of {total} images were held out, which leaves {used} of the {spec.n} asked for.")
    for note in notes:
        log.warning(f"{name}: {note}")
    asked = {field: getattr(spec, field) for field in ("source", "config", "split", "column", "revision", "seed")}
    meaningful = KINDS[_kind(where, spec)][2] | {"source", "seed"}
    source = {field: value if field in meaningful else None for field, value in asked.items()} | opened.facts
    images, heldout, ids = found.stacked(slice(used)), found.stacked(slice(used, None)), found.ids[:used]
    return ImageSet(
        name=name,
        images=images,
        ids=ids,
        labels=found.labels[:used],
        heldout=heldout,
        n_planned=spec.n,
        unreadable=found.unreadable,
        sha256=_digest(images, heldout, ids),
        source=source,
        repeated=found.repeated,
        notes=notes,
    )


def _nothing(found: Collection) -> str:
    if not found.unreadable:
        return "it holds no images"
    example = f"for example {shortened(found.unreadable[0], 80)!r}"
    return f"none of the {len(found.unreadable)} images tried could be read, {example}; {found.commonest}"


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


def _heldout(total: int, n: int, holdout: int) -> int:
    """How many images are held out: those that the tests leave, but of a small source at least a quarter."""
    return min(holdout, max(total - n, total // 4))


def _digest(images: Tensor, heldout: Tensor, ids: list[str]) -> str:
    digest = hashlib.sha256()
    for part in (images.numpy().tobytes(), heldout.numpy().tobytes(), json.dumps(ids).encode()):
        digest.update(part)
    return digest.hexdigest()
