"""WebDataset shards: tar files whose members of one name, but for the suffix, are one sample. Nothing is unpacked."""

import glob
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from probe.config import DatasetConfig
from probe.data.balance import drawn_order
from probe.data.columns import IMAGE_NAMES, absent, label_column, label_of
from probe.data.formats import named, suffixes
from probe.data.patterns import expanded
from probe.data.source import Candidate, Opened, UnreadableImage, check_size, first_line
from probe.errors import UserError
from probe.names import given_path, shortened, shown

CLASS = "cls"
_SAMPLE = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")  # as webdataset splits a name: at the first dot of the file


@dataclass(frozen=True)
class Member:
    """Where a file lies in a shard."""

    shard: str
    name: str
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


@dataclass
class Sample:
    """The files of one sample by suffix, such as ``jpg``, ``cls`` and ``json``; its key with the shard's name."""

    key: str
    files: dict[str, Member] = field(default_factory=dict)

    def fields(self) -> Mapping[str, Any]:
        """The classes that it may have: ``cls``, and what its JSON holds."""
        found: dict[str, Any] = {}
        try:
            if "json" in self.files and isinstance(noted := json.loads(self.files["json"].read()), dict):
                found |= noted
            if CLASS in self.files:
                found[CLASS] = self.files[CLASS].read().decode().strip()
        except (UnreadableImage, ValueError, RecursionError):
            pass  # an image without a class
        return found


def open_webdataset(where: str, spec: DatasetConfig, place: str) -> Opened:
    """The images of shards: of a file, a folder of .tar files, or a pattern with ``*`` and ``{000..003}``.

    Shards are read through once for the places of their members; an image is read when it is needed. An id is the name
    of the shard with that of the member. The class is ``cls``, or a usual name in the sample's JSON, or ``balance``.
    UserError if a shard is absent or no tar file, or no sample has an image, or one has several without ``column``.
    """
    shards = _shards(where, place)
    common = os.path.commonpath([os.path.dirname(shard) for shard in shards])
    samples: list[Sample] = []
    notes: list[str] = []
    for shard in shards:
        samples += _samples(where, shard, os.path.relpath(shard, common), notes)
    column = _column(where, samples, spec.column)
    samples = [one for one in samples if (column in one.files if column else any(map(_is_image, one.files)))]
    images = [sample.files[column or _image_of(sample)] for sample in samples]
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
        return Candidate(f"{sample.key}.{_suffix(member)}", lambda: _read(member), label(sample))

    order, classes = drawn_order(where, spec, map(label, samples) if spec.balance else len(samples))
    facts = {"column": column, "available": len(samples), "sample": "exact", "shards": len(shards)}
    return Opened((candidate(index) for index in order), facts, notes=notes, classes=classes)


def _read(member: Member) -> bytes | Image.Image:
    return named(member.read(), member.name)


def _shards(where: str, place: str) -> list[str]:
    """The paths of the shards, sorted; UserError if one is absent."""
    found: list[str] = []
    try:
        patterns = expanded(str(given_path(place)))
    except ValueError as error:
        raise UserError(f"{where}: {error}; name fewer shards.") from error
    for pattern in patterns:
        if os.path.isdir(pattern):
            pattern = os.path.join(glob.escape(pattern), "**", "*.tar")
        paths = [pattern] if os.path.exists(pattern) else glob.glob(pattern, recursive=True)
        if not paths:
            raise UserError(
                f"{where}: there is no shard {_short(pattern)!r}; give DIR/*.tar or DIR/a-{{000..003}}.tar."
            )
        found += paths
    if odd := next((path for path in found if not os.path.isfile(path)), None):
        raise UserError(f"{where}: {_short(odd)} is not a regular file; give .tar files.")
    return sorted(set(map(os.path.abspath, found)))


def _samples(where: str, shard: str, name: str, notes: list[str]) -> Iterator[Sample]:
    """The samples of a shard; members of one sample follow each other."""
    sample: Sample | None = None
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                found = _SAMPLE.fullmatch(member.name)
                if not member.isreg() or member.issparse() or found is None:
                    continue
                key, suffix = f"{name}/{found[1]}", found[2].lower()
                if sample is None or sample.key != key or suffix in sample.files:
                    if sample is not None:
                        yield sample
                    sample = Sample(key)
                sample.files[suffix] = Member(shard, member.name, member.offset_data, member.size)
    except (tarfile.TarError, OSError, ValueError) as error:
        reason = shown(first_line(error))
        if sample is None:
            do = "give WebDataset shards, as .tar (unpack .tar.gz with gunzip)"
            raise UserError(f"{where}: {_short(shard)} cannot be read as a tar file ({reason}); {do}.") from error
        notes.append(f"shard {_short(name)!r} is damaged ({reason}); the images behind the damage are missing.")
    if sample is not None:
        yield sample


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
        raise UserError(f"{where}: no shard holds image files (they hold {there}); looked for {', '.join(suffixes())}.")
    if all(sum(map(_is_image, sample.files)) <= 1 for sample in samples):
        return images[0] if len(images) == 1 else None
    if usual := next((name for name in IMAGE_NAMES if name in images), None):
        return usual
    raise UserError(f"{where}: a sample has several images; set column to one of {', '.join(map(repr, images[:5]))}.")


def _image_of(sample: Sample) -> str:
    return next(filter(_is_image, sample.files))


def _suffix(member: Member) -> str:
    return os.path.basename(member.name).partition(".")[2]


def _is_image(suffix: str) -> bool:
    return f".{suffix.rpartition('.')[2]}" in suffixes()


def _short(path: str) -> str:
    return shown(shortened(path, 100))
