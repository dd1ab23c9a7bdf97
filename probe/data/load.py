"""A named data set becomes test images, and further images for the PCA oracle."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from probe.config import DatasetConfig
from probe.data.collect import Collection, Prepare
from probe.data.paths import recognised
from probe.data.source import Candidate
from probe.data.sources import checked, resolve
from probe.errors import UserError
from probe.names import shortened
from probe.plugins import call

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
    where = f"data set {name!r} ({shortened(spec.source or '', 100)})"
    spec = spec.model_copy(update={"source": recognised(where, spec.source or "")})
    kind, place = checked(where, spec)
    opened = call(kind, kind.open, where, spec, place)
    found = Collection(resolution, prepare)
    with closing(opened.candidates) as candidates:
        seen: set[str | None] = set()
        wanted = _of_classes(candidates, classes, seen)
        call(kind, found.read, wanted, spec.n, opened.tries)
        _check_classes(where, set(classes or ()) - set(found.labels), seen)
        if not found.ids:
            raise UserError(f"{where}: {_why_empty(found)}; check the source.")
        call(kind, found.read, wanted, spec.holdout, opened.tries)
    total = len(found.ids)
    # Held out: what the tests leave, but at least a quarter of a small source.
    used = total - min(spec.holdout, max(total - spec.n, total // 4))
    notes = [*opened.notes, *found.notes()]
    if used < min(spec.n, total):
        notes.append(f"{total - used} of {total} images were held out, which leaves {used} of the {spec.n} asked for.")
    for note in notes:
        log.warning(f"{name}: {note}")
    asked = ("source", "config", "split", "column", "revision", "seed")
    meaningful = kind.fields | {"source", "seed"}
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
        source={field: getattr(spec, field) if field in meaningful else None for field in asked} | opened.facts,
        repeated=found.repeated,
        notes=notes,
    )


def _why_empty(found: Collection) -> str:
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


def _check_classes(where: str, empty: set[str], seen: set[str | None]) -> None:
    if empty:
        found = ", ".join(repr(label) for label in sorted(label for label in seen if label is not None))
        raise UserError(
            f"{where}: no image drawn is of class {min(empty)!r}; "
            f"{f'the classes are {found}' if found else 'the source has no classes'}."
        )


def _digest(images: Tensor, heldout: Tensor, ids: list[str]) -> str:
    digest = hashlib.sha256()
    for part in (images.numpy().tobytes(), heldout.numpy().tobytes(), json.dumps(ids).encode()):
        digest.update(part)
    return digest.hexdigest()
