"""What may not be asked for over HTTP unless the operator allows it by name: code, files of this machine, addresses.

Every text in a configuration stands in ``TEXTS`` with the rule for it. A text that does not is refused, and a test
fails, so that a new key cannot become a way in unseen.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from probe.config import Tracked
from probe.data.patterns import are_files, expanded, hub_parts
from probe.data.presets import presets
from probe.errors import UserError
from probe.reading import short

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True)
class Allowance:
    """What the operator allows.

    Attributes:
        python: models that are code, ``python:``.
        remote_code: ``trust_remote_code``.
        urls: ``urls:`` sources, whose addresses this machine fetches.
        trackers: Weights & Biases and trackio, which send numbers elsewhere.
        folders: real paths below which configurations may name files.
        runs: the real path below which a round trip may name a run directory; the server's root.
    """

    python: bool = False
    remote_code: bool = False
    urls: bool = False
    trackers: bool = False
    folders: tuple[Path, ...] = ()
    runs: Path | None = None

    def holds(self, path: str, *more: Path) -> bool:
        """Whether a path lies below an allowed folder, or one of ``more``, once links are followed.

        Relative paths are of the working directory, which the workers share. A pattern with .. is never inside, and
        nothing with a scheme, which a plug-in may take as it likes.
        """
        if _SCHEME.match(path) or (("*" in path or "?" in path or "[" in path) and ".." in Path(path).parts):
            return False
        try:
            real = Path(os.path.realpath(os.path.expanduser(path)))
        except (ValueError, OSError):  # a null byte, a loop of links
            return False
        return any(real.is_relative_to(folder) for folder in (*self.folders, *more))


class Refused(UserError):
    """The operator has not allowed this (HTTP 403)."""


def refuse(config: Tracked, allow: Allowance) -> None:
    """Refuse a configuration that asks for what is not allowed.

    Raises:
        Refused: with the key and the option that allows it.
    """
    for place in texts(config):
        rule = TEXTS.get(place.field, _unknown)
        if rule is not None:
            rule(place, allow)
    for key, section in sections(config):
        if getattr(section, "trust_remote_code", False) and not allow.remote_code:
            raise Refused(f"{key}.trust_remote_code is not allowed over HTTP: the server needs --allow remote-code.")
        if {*getattr(section, "log_with", ())} - {"tensorboard"} and not allow.trackers:
            raise Refused(f"{key}.log_with is not allowed over HTTP: the server needs --allow trackers.")


@dataclass(frozen=True)
class Place:
    """A text in a configuration: its key, its entry in ``TEXTS``, its value, and the name of the section it is in."""

    key: str
    field: str
    value: Any
    name: str


def sections(config: BaseModel, key: str = "") -> Iterator[tuple[str, BaseModel]]:
    """A configuration and all sections in it, with their keys."""
    yield key, config
    for name in type(config).model_fields:
        yield from _inside(getattr(config, name), f"{key}.{name}".lstrip("."))


def _inside(value: Any, key: str) -> Iterator[tuple[str, BaseModel]]:
    if isinstance(value, BaseModel):
        yield from sections(value, key)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _inside(one, f"{key}.{name}")
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _inside(one, key)


def texts(config: BaseModel) -> Iterator[Place]:
    """Every key that may hold a text or a path."""
    for key, section in sections(config):
        for name in text_fields(type(section)):
            where = f"{key}.{name}".lstrip(".")
            yield Place(where, field_of(type(section), name), getattr(section, name), key.rpartition(".")[2])


@cache
def text_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a section whose values may be text or paths, as they are or in a list or mapping."""
    return tuple(name for name, field in model.model_fields.items() if _may_be_text(field.annotation))


def _may_be_text(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, str | bytes | os.PathLike):
        return True
    return kind is Any or kind is object or any(map(_may_be_text, get_args(kind)))


def field_of(model: type[BaseModel], name: str) -> str:
    """``Class.key`` of the class that first declares a key: subclasses inherit its rule."""
    declares = [one for one in model.__mro__ if name in getattr(one, "model_fields", {})]
    return f"{declares[-1].__name__}.{name}"


NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
HUB = re.compile(r"(https://huggingface\.co/)?[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.+=@ -]*)*")
"""An id on the hub, or a file in its repository; no part is empty or begins with a dot."""


def _refused(place: Place, option: str) -> Refused:
    return Refused(f"{place.key} {short(place.value)} is not allowed over HTTP: the server needs {option}.")


def _unknown(place: Place, allow: Allowance) -> None:
    if place.value:
        raise Refused(f"{place.key} is not known to the service, so it is not allowed over HTTP.")


def _path(place: Place, allow: Allowance) -> None:
    if place.value is not None and not allow.holds(place.value):
        raise _refused(place, "--allow-folder FOLDER with this path in it")


def _run(place: Place, allow: Allowance) -> None:
    if place.value is not None and not allow.holds(place.value, *([allow.runs] if allow.runs else [])):
        raise Refused(f"{place.key} {short(place.value)} is not allowed over HTTP: name a run in the server's root.")


def _plain(place: Place, allow: Allowance) -> None:
    """Part of a path or of an address, which must not lead elsewhere."""
    parts = str(place.value or "").replace("\\", "/").split("/")
    if place.value and ({"", ".", ".."} & {*parts} or "~" in parts[0] or not place.value.isprintable()):
        raise Refused(f"{place.key} {short(place.value)} is not allowed over HTTP: it leads to another folder.")


def _variant(place: Place, allow: Allowance) -> None:
    if place.value and not NAME.fullmatch(place.value):
        raise Refused(f"{place.key} {short(place.value)} is not allowed over HTTP: it is no name of a variant.")


def _model(place: Place, allow: Allowance) -> None:
    kind, colon, rest = (place.value or "").partition(":")
    if colon and kind.lower() == "python":
        if not allow.python:
            raise _refused(place, "--allow python")
    elif not (kind == "embedded" and NAME.fullmatch(rest)):
        _on_hub_or_allowed(place, allow)


def _on_hub_or_allowed(place: Place, allow: Allowance) -> None:
    """An id on the hub; a local path, which the libraries prefer where it exists, must be allowed."""
    if place.value is not None and not (HUB.fullmatch(place.value) and not os.path.lexists(place.value)):
        _path(place, allow)


LOCAL = ("folder", "parquet", "saved", "webdataset")
"""Kinds of sources that are paths of this machine."""


def _images(place: Place, allow: Allowance) -> None:
    """A source of images. A preset without a source has that of the preset."""
    source = place.value if place.value is not None else presets().get(place.name, {}).get("source", "")
    kind, _, rest = source.partition(":")
    if kind == "urls" and not allow.urls:
        raise _refused(Place(place.key, place.field, source, place.name), "--allow urls")
    if kind == "hub":
        repo, files = hub_parts(rest)
        local = os.path.lexists(repo) or os.path.lexists(rest)
        if local or not HUB.fullmatch(repo) or (files and not are_files(files)):
            _path(Place(place.key, place.field, rest, place.name), allow)
    elif kind == "urls":
        table = Path(rest).suffix.lower() in (".parquet", ".csv")
        if table or not HUB.fullmatch(rest) or os.path.lexists(rest):
            for one in _without_braces(place, rest):
                _path(Place(place.key, place.field, one, place.name), allow)
    elif source not in ("", "noise") and not (kind == "bundled" and NAME.fullmatch(rest)):
        for one in _without_braces(place, rest if kind in LOCAL else source):
            _path(Place(place.key, place.field, one, place.name), allow)


def _without_braces(place: Place, pattern: str) -> list[str]:
    """Every path or name that a pattern stands for: one of them may lead elsewhere."""
    try:
        return expanded(pattern)
    except ValueError as error:
        raise Refused(f"{place.key} {short(place.value)} is not allowed over HTTP: {error}.") from error


def _clip(place: Place, allow: Allowance) -> None:
    scheme, colon, rest = place.value.rpartition("local-dir:")
    if colon:
        _path(Place(place.key, place.field, rest, place.name), allow)
        if scheme:
            raise _refused(place, "another name")
    else:
        named = place.value.removeprefix("hf-hub:")
        _on_hub_or_allowed(Place(place.key, place.field, named, place.name), allow)


def _words(place: Place, allow: Allowance) -> None:
    if isinstance(place.value, str):
        _path(place, allow)


TEXTS: dict[str, Callable[[Place, Allowance], None] | None] = {
    "ModelConfig.source": _model,
    "ModelConfig.config": _on_hub_or_allowed,
    "ModelConfig.subfolder": _plain,
    "ModelConfig.revision": _plain,
    "ModelConfig.variant": _variant,
    "ModelConfig.device": None,  # torch knows the names
    "DatasetConfig.source": _images,
    "DatasetConfig.config": _plain,
    "DatasetConfig.revision": _plain,
    "DatasetConfig.split": None,  # names in a table
    "DatasetConfig.column": None,
    "DatasetConfig.balance": None,
    "StudyImages.source": _images,
    "StudyImages.config": _plain,
    "StudyImages.revision": _plain,
    "StudyImages.split": None,
    "StudyImages.column": None,
    "StudyImages.balance": None,
    "StudyDataset.classes": None,  # names of classes, compared
    "RunDictionaryConfig.source": _on_hub_or_allowed,
    "RunDictionaryConfig.revision": _plain,
    "ClipConfig.model": _clip,
    "ClipConfig.pretrained": _on_hub_or_allowed,
    "ClipConfig.labels": _words,
    "PerceptualConfig.lpips": _path,
    "PerceptualConfig.inception": _path,
    "TrackersConfig.project": None,  # TensorBoard writes into the run's folder whatever they are
    "TrackersConfig.name": None,
    "RoundtripConfig.run": _run,
    "RoundtripConfig.between": None,  # parsed into known steps
    # Names by which results are filed; probe.config.file_names checks them.
    "Config.datasets": None,
    "OodConfig.outside": None,
    "RoundtripConfig.models": None,
    "RoundtripConfig.datasets": None,
    "GridConfig.datasets": None,
    # Names in tables of our own, or of plug-ins that the operator installed.
    "SparseConfig.controls": None,
    "OodConfig.scores": None,
    "StudyConfig.study": None,
    "ContractionConfig.architectures": None,
}
"""The rule for every text; None: it names no file, no address and no code."""
