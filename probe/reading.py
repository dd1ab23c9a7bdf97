"""YAML and JSON files, read whole or refused in one sentence, and quickly whatever the file holds.

Both readers accept only regular files in UTF-8, and limit size, depth and number of values before they build anything.
"""

import copy
import json
import math
import os
import reprlib
import stat
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from probe.errors import UserError
from probe.names import shortened

DEPTH = 64  # levels of nested lists and mappings
TOO_DEEP = f"lists and mappings in it are nested more than {DEPTH} deep"
YAML_BYTES, YAML_VALUES = 1 << 20, 20_000
JSON_BYTES, JSON_VALUES = 64 << 20, 4_000_000
CACHED = 1 << 14  # characters of YAML whose value is kept
DIGITS = 40  # of an integer in JSON
_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 2, 60, 60
_short.maxlist = _short.maxtuple = _short.maxset = _short.maxdict = 4


class Unreadable(UserError):
    """A file that cannot be read; ``reason`` says why, without the file's name."""

    def __init__(self, name: object, reason: str):
        self.reason = shortened(" ".join(reason.split()).rstrip("."), 200)
        super().__init__(f"{shortened(str(name), 200)} cannot be read: {self.reason}.")


def short(value: object) -> str:
    """``repr`` of a value in at most 200 characters, for a message."""
    try:
        return shortened(_short.repr(value), 200)
    except ValueError:  # an integer of more digits than Python prints
        return f"a {type(value).__name__} of many digits"


def read_text(path: Path, limit: int) -> str:
    """The UTF-8 text of a regular file (no pipe, device or folder) of at most ``limit`` bytes, without its mark."""
    try:
        _must_be_regular(path, os.stat(path))
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _must_be_regular(path, os.fstat(file.fileno()))
            data = file.read(limit + 1)
    except OSError as error:
        raise Unreadable(path, error.strerror or str(error)) from None
    except ValueError as error:  # a path with a NUL
        raise Unreadable(short(str(path)), str(error)) from None
    if len(data) > limit:
        raise Unreadable(path, f"it is larger than {limit >> 20} MiB")
    for mark, encoding in _ENCODINGS.items():
        if data.startswith(mark):
            raise Unreadable(path, f"it is in {encoding}; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(path, f"byte {error.start} is not UTF-8; save the file as UTF-8") from None


def _must_be_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable(path, "it is a folder; give a file")
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable(path, "it is a pipe or a device; give a regular file")


def read_object(path: Path, *, nan: bool = False) -> dict[str, Any]:
    """The value of a JSON file, which must be an object. Raises ``Unreadable``: see ``read_text``, ``parse_json``."""
    value = parse_json(read_text(path, JSON_BYTES), path, nan=nan)
    if not isinstance(value, dict):
        raise Unreadable(path, f"it must hold a JSON object, not {short(value)}")
    return value


def parse_json(text: str, name: object, *, nan: bool = False) -> Any:
    """The value of a JSON text, called ``name`` in messages.

    Args:
        nan: accept NaN and Infinity, which Python's json writes although they are not JSON.

    Raises:
        Unreadable: it is not JSON, an object has a key twice, a number is not finite or has more than ``DIGITS``
            digits, a string is not Unicode, or there are too many values or levels.
    """
    if text.count(",") + text.count("[") + text.count("{") > JSON_VALUES:
        raise Unreadable(name, f"it has more than {JSON_VALUES:,} values")
    hooks: dict[str, Any] = {} if nan else {"parse_constant": _finite, "parse_float": _finite}
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_int=_integer, **hooks)
        _check(value, 0)
    except json.JSONDecodeError as error:
        raise Unreadable(name, f"it is not JSON ({error.msg}, line {error.lineno}, column {error.colno})") from None
    except UnicodeEncodeError:
        raise Unreadable(name, "a string in it is not Unicode text") from None
    except RecursionError:
        raise Unreadable(name, TOO_DEEP) from None
    except ValueError as error:
        raise Unreadable(name, str(error)) from None
    return value


def _check(value: Any, level: int) -> None:
    """ValueError for a value with too many levels, or with half a surrogate pair, which is no character."""
    if level > DEPTH:
        raise ValueError(TOO_DEEP)
    if isinstance(value, str) and not value.isascii():
        value.encode()
    inside = (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
    for inner in inside:
        _check(inner, level + 1)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"key {short(twice)} appears twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"it holds an integer of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    if math.isfinite(value := float(text)):
        return value
    if text.endswith(("NaN", "Infinity")):
        raise ValueError(f"it holds {text}, which is not JSON")
    raise ValueError(f"the number {shortened(text, 40)} is too large")


def parse_yaml(text: str, name: object) -> Any:
    """The value of one YAML document as mappings (keys are text), lists, texts and None.

    A scalar stays the text in the file, so that the reader decides its type: ``010`` is ten as a number, and ``010`` as
    a git revision. Only an empty value, ``null`` and ``~`` are None. Anchors, aliases and merge keys (``<<``) are
    resolved, and count as if they were written out.

    Raises:
        Unreadable: the text, called ``name`` there, is not YAML, has several documents, a tag, a key twice or a key
            that is not text, or too many values or levels.
    """
    try:
        return copy.deepcopy(_value(text)) if len(text) <= CACHED else _Document(text).value
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = f"it is not YAML ({shortened(error.problem or error.context or 'syntax', 120)}{place})"
    except yaml.YAMLError as error:  # a character that YAML does not allow
        reason = f"it is not YAML ({str(error).splitlines()[0]})"
    except (ValueError, OverflowError) as error:
        reason = str(error)
    raise Unreadable(name, reason)


@lru_cache(64)
def _value(text: str) -> Any:
    """Kept, since a service reads the same few configurations again and again."""
    return _Document(text).value


class _Document:
    """Builds the value of a document from the events of PyYAML's parser."""

    def __init__(self, text: str):
        self.events = yaml.parse(text, yaml.SafeLoader)
        self.anchors: dict[str, tuple[Any, int]] = {}  # the value and how many values it holds
        self.values = 0
        self.value: Any = None
        documents = 0
        for event in self.events:
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise ValueError("it holds several documents; remove the line '---' between them")
            if isinstance(event, yaml.NodeEvent):
                self.value = self.build(event, 0)

    def build(self, event: Any, level: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise ValueError(f"*{shortened(str(event.anchor), 60)} names no anchor before it")
            value, size = self.anchors[event.anchor]
            self.count(size)
            _check(value, level)
            return copy.deepcopy(value)
        if event.tag is not None:
            tag = short(event.tag.replace("tag:yaml.org,2002:", "!!"))
            raise ValueError(f"tag {tag} in line {event.start_mark.line + 1} is not supported; remove it")
        if level > DEPTH:
            raise ValueError(TOO_DEEP)
        before = self.values
        self.count(1)
        if isinstance(event, yaml.SequenceStartEvent):
            value = [self.build(item, level + 1) for item in self.until(yaml.SequenceEndEvent)]
        elif isinstance(event, yaml.MappingStartEvent):
            value = self.mapping(level + 1)
        elif event.style is None and event.value in ("", "~", "null", "Null", "NULL"):
            value = None
        else:
            value = _characters(event.value)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, self.values - before)
        return value

    def count(self, more: int) -> None:
        self.values += more
        if self.values > YAML_VALUES:
            raise ValueError(f"it has more than {YAML_VALUES:,} values")

    def until(self, end: type[yaml.Event]) -> Iterator[Any]:
        while not isinstance(event := next(self.events), end):
            yield event

    def mapping(self, level: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for event in self.until(yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise ValueError(f"a key in line {line} is not plain text")
            self.count(1)
            key, value = _characters(event.value), self.build(next(self.events), level)
            if event.anchor is not None:
                self.anchors[event.anchor] = (key, 1)
            if key == "<<" and event.style is None:
                for one in value if isinstance(value, list) else [value]:  # what was merged earlier wins
                    if not isinstance(one, dict):
                        raise ValueError(f"<< in line {line} must be a mapping or a list of mappings")
                    merged = {**one, **merged}
            elif key in found:
                raise ValueError(f"key {short(key)} appears twice (line {line})")
            else:
                found[key] = value
        return {**merged, **found}


def _characters(text: str) -> str:
    """The text with surrogate pairs, which json.dumps writes for characters beyond 16 bits, as these characters."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError(f"{shortened(text, 60)!a} is not Unicode text") from None
