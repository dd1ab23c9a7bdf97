"""Every configuration key, read from the pydantic models: for ``probe config``, example files and the docs."""

import difflib
import math
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from probe.errors import UserError
from probe.reading import short

NAME = "NAME"
"""Stands for the name of a data set, or of a model, in a dotted key."""
OTHERS = ("run", "ood", "roundtrip")
"""Kinds of work that are no studies."""
WIDTH = 100
WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
"""How lines are wrapped: words stay whole."""
_OOD: dict[str, Any] = {
    "model": {"source": "facebook/vit-mae-base"},
    "inside": {
        "train": {"source": "folder:images/train", "n": 2000},
        "test": {"source": "folder:images/test", "n": 2000},
    },
    "outside": {"noise": {"source": "noise", "n": 2000}},
}
_ROUNDTRIP: dict[str, Any] = {
    "models": {"embedded": {"source": "embedded:cifar-attractors"}},
    "datasets": {"photographs": {"source": "bundled:photographs", "n": 64, "holdout": 0}},
}


@dataclass(frozen=True)
class Key:
    """One configuration key.

    Attributes:
        key: dotted, with ``NAME`` for the name of a data set.
        meaning: one or more sentences; empty if the field has no description.
        type: the type and the range of its values, in words.
        default: as YAML; None if the key must be set.
        alternatives: the values of an enumeration; empty otherwise.
        kinds: the kinds of work that have this key: ``run``, ``ood``, ``roundtrip`` or a kind of study.
    """

    key: str
    meaning: str
    type: str
    default: str | None
    alternatives: tuple[str, ...]
    kinds: tuple[str, ...] = ()


def models() -> dict[str, type[BaseModel]]:
    """The configuration class of every kind of work."""
    from probe.config import Config
    from probe.studies.ood.config import OodConfig
    from probe.studies.roundtrip.config import RoundtripConfig
    from probe.studies.sweeps.kinds import STUDIES

    studies = {study.name: study.configuration for study in STUDIES}
    return {"run": Config, **studies, "ood": OodConfig, "roundtrip": RoundtripConfig}


def examples() -> dict[str, dict[str, Any]]:
    """What the example of each kind of work sets, because it has no default; everything else in it is a default."""
    from probe.studies.sweeps.kinds import STUDIES

    studies = {one.name: {"study": one.name, **_given(one.configuration), **one.example} for one in STUDIES}
    return {"run": {}, **studies, "ood": _OOD, "roundtrip": _ROUNDTRIP}


def _given(model: type[BaseModel]) -> dict[str, Any]:
    return {name: field.examples[0] for name, field in model.model_fields.items() if field.examples}


def keys(name: str | None = None) -> list[Key]:
    """All keys in the order of the models, equal ones of several kinds once.

    Args:
        name: one dotted key or its last part, a section, or a kind of work; all keys if None.

    Raises:
        UserError: there is no such key; the nearest one is named.
    """
    merged: dict[Key, list[str]] = {}
    for kind, model in models().items():
        for found in _keys(model, ""):
            merged.setdefault(found, []).append(kind)
    known = [replace(found, kinds=tuple(kinds)) for found, kinds in merged.items()]
    if name is None:
        return known
    if name in models():
        return [one for one in known if name in one.kinds]
    parts = name.split(".")
    chosen = [one for one in known if _matches(one.key.split("."), parts)]
    chosen = chosen or [one for one in known if one.key.split(".")[-1] == name]
    if not chosen:
        names = {one.key for one in known}
        last = {one.split(".")[-1]: one for one in sorted(names, reverse=True)}
        near = difflib.get_close_matches(name[:100], names, n=1)
        near = near or [last[part] for part in difflib.get_close_matches(name.split(".")[-1][:100], last, n=1)]
        hint = f"did you mean {near[0]!r}?" if near else "`probe config` lists all keys."
        raise UserError(f"config key {short(name)} is unknown: {hint}")
    return chosen


def _matches(key: list[str], wanted: list[str]) -> bool:
    """Whether a key is the wanted one or lies below it; ``NAME`` is any name."""
    return len(key) >= len(wanted) and all(a in (b, NAME) for a, b in zip(key, wanted, strict=False))


def _keys(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        kind: Any = field.rebuild_annotation()
        default = None if field.is_required() else value_text(field.get_default(call_default_factory=True))
        yield Key(f"{prefix}{name}", _meaning(field), describe(kind), default, tuple(_alternatives(kind)))
        inside, section = _section(kind)
        if section:
            yield from _keys(section, f"{prefix}{name}.{NAME}." if inside == "mapping" else f"{prefix}{name}.")


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _section(kind: Any) -> tuple[str, type[BaseModel] | None]:
    """The model that a type holds, and whether directly (``section``), by name (``mapping``), or not at all."""
    for branch in _branches(kind):
        if isinstance(branch, type) and issubclass(branch, BaseModel):
            return "section", branch
        if typing.get_origin(branch) is dict:
            return "mapping", _section(typing.get_args(branch)[1])[1]
    return "", None


def _branches(kind: Any) -> list[Any]:
    """The types of a union without their annotations; the type itself if it is none."""
    if typing.get_origin(kind) is typing.Annotated:
        return _branches(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [branch for one in typing.get_args(kind) for branch in _branches(one)]
    return [kind]


def _alternatives(kind: Any) -> list[str]:
    """The values of an enumeration, also where a list holds them."""
    found: list[str] = []
    for branch in _branches(kind):
        if typing.get_origin(branch) is tuple:
            found += _alternatives(typing.get_args(branch)[0])
        elif typing.get_origin(branch) is typing.Literal:
            found += map(str, typing.get_args(branch))
    return found


def describe(kind: Any, limits: tuple[Any, ...] = ()) -> str:
    """A type and its range in words: ``integer from 1 to 1,000``, ``one of raw, scaled``, ``list of text``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return describe(arguments[0], (*limits, *arguments[1:]))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(one, limits) for one in arguments))
    if origin is typing.Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(map(str, arguments))
    if origin is tuple:
        return f"list of {describe(arguments[0]).removeprefix('one of ')}"
    if origin is dict:
        return f"sections by {NAME}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "section"
    names = {bool: "true or false", int: "integer", float: "number", str: "text", type(None): "null"}
    return names.get(kind, "value") + (_range(limits) if kind in (int, float) else "")


def _range(limits: tuple[Any, ...]) -> str:
    """The bounds of a number, wherever pydantic keeps them."""
    found: dict[str, float] = {}
    for one in limits:
        for holder in (one, *getattr(one, "metadata", ())):
            found |= {name: getattr(holder, name) for name in ("ge", "gt", "le", "lt") if hasattr(holder, name)}
    words = {"ge": "from", "gt": "above", "le": "to" if "ge" in found else "up to", "lt": "below"}
    return "".join(f" {words[name]} {_number(found[name])}" for name in words if name in found)


def _number(value: float) -> str:
    if value == 2**63 - 1:
        return "2^63 - 1"
    power = round(math.log10(value)) if value >= 10_000 else 0
    return f"10^{power}" if power and value == 10**power else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def value_text(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, BaseModel):
        return "{}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {value_text(one)}" for name, one in value.items()) + "}"
    return yaml.safe_dump(str(value), default_flow_style=True, width=math.inf).removesuffix("...\n").strip()


def example(kind: str) -> str:
    """A commented configuration file of a kind of work (``study`` is ``bottleneck``) that sets every key to its
    default, and those without one (``examples``) to a value to be changed.

    Raises:
        UserError: there is no such kind.
    """
    chosen, given = "bottleneck" if kind == "study" else kind, examples()
    if chosen not in given:
        raise UserError(f"there is no example {short(kind)}; choose one of {', '.join(('study', *given))}.")
    lines = [f"# Configuration of `probe {chosen if chosen in OTHERS else 'study'}`. Keys have their defaults.",
             "# `probe config KEY` explains a key."]  # fmt: skip
    return "\n".join([*lines, *_lines(models()[chosen], given[chosen], 0)]) + "\n"


def _lines(model: type[BaseModel], given: Mapping[str, Any], level: int) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind, indent = field.rebuild_annotation(), "  " * level
        if level == 0:
            yield ""
        told = " ".join([_meaning(field), *([f"({describe(kind)})"] if describe(kind) != "section" else [])])
        for line in textwrap.wrap(told, WIDTH - 4 - len(indent), **WHOLE):
            yield f"{indent}# {line}"
        where, section = _section(kind)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        value = given.get(name, default)
        if section and where == "mapping" and value:
            yield f"{indent}{name}:"
            for key, inside in value.items():
                yield f"{indent}  {key}:"
                yield from _lines(section, inside, level + 2)
        elif section and isinstance(value, Mapping | BaseModel) and where == "section":
            yield f"{indent}{name}:"
            yield from _lines(section, value if isinstance(value, Mapping) else {}, level + 1)
        elif section and value in (None, {}):
            rest = [f"{name}:", *([f"  {NAME}:"] if where == "mapping" else [])]
            rest += [f"  {line}" for line in _lines(section, {}, 2 if where == "mapping" else 1) if line]
            yield from (f"{indent}# {line.removeprefix('  ') if line.startswith('    ') else line}" for line in rest)
        elif field.is_required() and name not in given:
            yield f"{indent}{name}: # set this"
        else:
            yield from textwrap.wrap(
                f"{indent}{name}: {value_text(value)}", WIDTH, subsequent_indent=f"{indent}  ", **WHOLE
            )
