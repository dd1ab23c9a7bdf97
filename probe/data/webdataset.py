"""WebDataset shards: tar files whose members of one name, but for the suffix, are one sample. Nothing is unpacked."""

import json
import os
import re
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from probe.config import DatasetConfig
from probe.data.balance import drawn_order
from probe.data.columns import IMAGE_NAMES, absent, label_column, label_of
from probe.data.formats import named, suffixes
from probe.data.patterns import brief, matching_files
from probe.data.source import Candidate, Opened, UnreadableImage, check_size, first_line
from probe.errors import UserError
from probe.names import shown

CLASS = "cls"
_SAMPLE = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")  # as webdataset splits a name: at the first dot of the file


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file lies in a shard; its suffix is as written there."""

    shard: str
    suffix: str
    start: int
    size: int

    def read(self) -> bytes:
        """Its bytes; UnreadableImage if it is too large, or the shard no longer holds it."""
        check_size(self.size)
        try:
            with open(self.shard, "rb") as file:
                file.seek(self.start)
                data = file.read(self.size)
        except OSError as error:
            raise UnreadableImage(error.strerror or str(error)) from error
        if len(data) < self.size:
            raise UnreadableImage("the shard ends in the middle of it")
        return data


@dataclass(slots=True)
class Sample:
    """The files of one sample by suffix, such as ``jpg``, ``cls`` and ``json``; its key with the shard's name."""

    key: str
    files: dict[str, Member] = field(default_factory=dict)

    def fields(self) -> Mapping[str, Any]:
        """The classes that it may have: ``cls``, and what its JSON holds."""
        return self._json() | self._cls()

    def _json(self) -> dict[str, Any]:
        try:
            noted = json.loads(member.read()) if (member := self._beside("json")) else None
        except (UnreadableImage, ValueError, RecursionError):
            return {}  # an image without these classes
        return noted if isinstance(noted, dict) else {}

    def _cls(self) -> dict[str, Any]:
        try:
            return {CLASS: member.read().decode().strip()} if (member := self._beside(CLASS)) else {}
        except (UnreadableImage, ValueError):
            return {}

    def _beside(self, suffix: str) -> Member | None:
        """The file of this suffix; of names with further dots, such as ``1.5.jpg`` and ``1.5.cls``, it is the end."""
        ends = [name for name in self.files if f".{name}".endswith(f".{suffix}")]
        return self.files[suffix if suffix in ends else ends[0]] if suffix in ends or len(ends) == 1 else None


def open_webdataset(where: str, spec: DatasetConfig, place: str) -> Opened:
    """The images of shards: the files that ``place`` (see ``matching_files``) names.

    Shards are read through once for the places of their members; an image is read when it is needed. An id is the name
    of the shard with that of the member. The class is ``cls``, or a usual name in the sample's JSON, or ``balance``.
    UserError if a shard is absent or no tar file, or no sample has an image, or one has several without ``column``.
    """
    shards = sorted(map(os.path.abspath, matching_files(where, place, ".tar")))
    common = os.path.commonpath([os.path.dirname(shard) for shard in shards])
    samples: list[Sample] = []
    notes: list[str] = []
    for shard in shards:
        samples += _samples(where, shard, os.path.relpath(shard, common), notes)
    column = _column(where, samples, spec.column)
    samples, images = _with_images(samples, column, notes)
    if spec.balance and not any(spec.balance in sample.fields() for sample in samples):
        raise absent(
            where, dict.fromkeys(name for one in samples[:100] for name in one.fields()), spec.balance, "balance"
        )

    def label(sample: Sample) -> str | None:
        fields = sample.fields()
        name = spec.balance or (CLASS if CLASS in fields else label_column(dict.fromkeys(fields)))
        found = fields.get(name or "")
        return label_of(None, found) if isinstance(found, str | int | float) else None

    def candidate(index: int) -> Candidate:
        sample, member = samples[index], images[index]
        return Candidate(f"{sample.key}.{member.suffix}", lambda: _read(member), label(sample))

    order, classes = drawn_order(where, spec, map(label, samples) if spec.balance else len(samples))
    facts = {"column": column, "available": len(samples), "sample": "exact", "shards": len(shards)}
    return Opened((candidate(index) for index in order), facts, notes=notes, classes=classes)


def _read(member: Member) -> bytes | Image.Image:
    return named(member.read(), f"image.{member.suffix}")


def _samples(where: str, shard: str, name: str, notes: list[str]) -> list[Sample]:
    """The samples of a shard. Their members need not follow each other; a name that occurs again begins another."""
    samples: list[Sample] = []
    latest: dict[str, Sample] = {}
    repeated = 0
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # it would keep them all
                found = _SAMPLE.fullmatch(member.name)
                if not member.isreg() or member.issparse() or found is None:
                    continue
                key, written = found[1], sys.intern(found[2])
                suffix = sys.intern(written.lower())
                repeated += (again := key in latest and suffix in latest[key].files)
                if again or key not in latest:
                    latest[key] = Sample(f"{name}/{key}")
                    samples.append(latest[key])
                latest[key].files[suffix] = Member(shard, written, member.offset_data, member.size)
            damage = _damage(shard, tar.offset)
    except (tarfile.TarError, OSError, ValueError) as error:
        damage = shown(first_line(error))
        if not samples:
            do = "give WebDataset shards, as .tar (unpack .tar.gz with gunzip)"
            raise UserError(f"{where}: {brief(shard)} cannot be read as a tar file ({damage}); {do}.") from error
    if damage:
        notes.append(
            f"shard {brief(name)!r} is damaged ({damage}); the images behind the damage are missing; write it again."
        )
    if repeated:
        notes.append(f"{_have(repeated)} the key of another in shard {brief(name)!r}; all of them are taken.")
    return samples


def _damage(shard: str, end: int) -> str:
    """What is wrong where tarfile found no further member, since it takes any damage for the end; "" for an end."""
    with open(shard, "rb") as file:
        file.seek(end)
        block, rest = file.read(tarfile.BLOCKSIZE), file.read(2**20)
    if not block:
        return "it ends without a mark of its end"
    if block.strip(b"\0"):
        return "a header is broken"
    return "it goes on behind its end, as archives put together with cat do" if rest.strip(b"\0") else ""


def _with_images(samples: list[Sample], column: str | None, notes: list[str]) -> tuple[list[Sample], list[Member]]:
    """The samples that have an image, in the order of their images, and these."""
    found = []
    for sample in samples:
        suffix = column if column in sample.files else None if column else next(filter(_is_image, sample.files), None)
        if suffix is not None:
            found.append((sample, sample.files[suffix]))
    found.sort(key=lambda one: (one[1].shard, one[1].start))
    if column and (lacking := sum(any(map(_is_image, one.files)) for one in samples if column not in one.files)):
        are = "is" if lacking == 1 else "are"
        notes.append(f"{_have(lacking)} images, but none named {shown(column)!r}, and {are} left out.")
    return [sample for sample, _ in found], [image for _, image in found]


def _have(samples: int) -> str:
    return "1 sample has" if samples == 1 else f"{samples} samples have"


def _column(where: str, samples: list[Sample], wanted: str | None) -> str | None:
    """The suffix of the images; None where each sample has one image, of whatever suffix."""
    seen = dict.fromkeys(suffix for sample in samples for suffix in sample.files)
    if wanted is not None:
        if wanted not in seen:
            raise absent(where, seen, wanted)
        return wanted
    images = [suffix for suffix in seen if _is_image(suffix)]
    if not images:
        there = ", ".join(f".{shown(one)}" for one in list(seen)[:5]) or "nothing"
        raise UserError(
            f"{where}: no shard holds image files (they hold {there}); looked for {', '.join(sorted(suffixes()))}."
        )
    if all(sum(map(_is_image, sample.files)) <= 1 for sample in samples):
        return images[0] if len(images) == 1 else None
    if usual := next((name for name in IMAGE_NAMES if name in images), None):
        return usual
    key, names = next((one.key, list(one.files)) for one in samples if sum(map(_is_image, one.files)) > 1)
    dots = " (a key ends at the first dot: rename files such as cat.0.jpg and cat.1.jpg)"
    several = f"sample {brief(key)!r} has several images{dots if all(map(_numbered, names)) else ''}"
    raise UserError(f"{where}: {several}; set column to one of {', '.join(map(repr, images[:5]))}.")


def _is_image(suffix: str) -> bool:
    return f".{suffix.rpartition('.')[2]}" in suffixes()


def _numbered(suffix: str) -> bool:
    return suffix.partition(".")[0].isdecimal() and _is_image(suffix)
