"""One sentence about a mistake in a configuration: the key, the nearest valid name, what to write instead."""

import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from probe.errors import UserError
from probe.names import did_you_mean, shortened
from probe.reading import short

Where = tuple[int | str, ...]
LONGEST = 480  # characters of a sentence


class Mistaken(UserError):
    """A configuration that is wrong; the sentence is that of the first mistake.

    Attributes:
        found: the path of keys and the sentence of every mistake.
    """

    def __init__(self, sentence: str, found: list[tuple[Where, str]]):
        super().__init__(sentence)
        self.found = found


def mistaken(error: ValidationError, model: type[BaseModel]) -> Mistaken:
    """What is wrong in a mapping that ``model`` refused: the first mistake and how many more there are, and all.

    An unknown key comes before a missing one, since it is often the missing key misspelt.
    """
    found = [(*_place(model, one["loc"]), one) for one in error.errors(include_url=False, include_context=False)]
    found = [one for one in found if not _other_branch(one, found)]
    found.sort(key=lambda one: one[2]["type"] != "extra_forbidden")
    by_key: dict[Where, str] = {}
    for path, beside, first in found:
        if path not in by_key:
            same = [one for key, _, one in found if key == path]
            by_key[path] = shortened(_told(".".join(map(str, path)), beside, first, same), LONGEST)
    many = len(by_key) - 1
    more = f" ({many} more mistake{'s follow' if many > 1 else ' follows'}.)" if many else ""
    return Mistaken(shortened(next(iter(by_key.values())), LONGEST - len(more)) + more, list(by_key.items()))


def _told(key: str, beside: list[str], first: Any, same: list[Any]) -> str:
    key = shortened(key, 100)
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        hint = did_you_mean(name, beside) or f"valid keys are {', '.join(sorted(beside))}."
        return f"config key {key!r} is unknown: {hint}"
    if first["type"] == "missing":
        return f"config key {key!r} is missing: set it in the file or with --set."
    told = list(dict.fromkeys(_message(one) for one in same))
    message = shortened(" or ".join(told), 250)
    if not key:  # about several keys, which the message names
        return f"config: {message}."
    if any(one["type"] == "tuple_type" for one in same) and isinstance(first["input"], str | int | float):
        value = shortened(str(first["input"]), 60)
        return f"config key {key!r} is a list: write {key}=[{value}] or, in a file, [a, b]."
    return f"config key {key!r}: {message} (got {short(first['input'])})."


def _message(error: Any) -> str:
    """pydantic's message in terms of YAML rather than Python."""
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return "Input should be keys with values"
    if error["type"] == "tuple_type":
        return "Input should be a list"
    if error["type"] == "float_parsing" and str(error["input"]).lower().lstrip("+-") in (".inf", ".nan"):
        return "Input should be a finite number"
    return error["msg"].removeprefix("Value error, ").partition(", unable to ")[0]


def _other_branch(one: tuple[Where, Any, Any], found: list[tuple[Where, Any, Any]]) -> bool:
    """Whether the mistake is only that a value belongs to another branch of a union, which has mistakes of its own."""
    path, _, error = one
    return isinstance(error["input"], dict | list) and any(
        len(key) > len(path) and key[: len(path)] == path for key, *_ in found
    )


def _place(model: type[BaseModel], loc: Where) -> tuple[Where, list[str]]:
    """The keys that lead to a mistake, and the valid names there, from pydantic's ``loc``, which also holds the name of
    a union's branch."""
    path: list[int | str] = []
    types_here: list[Any] = [model]
    for number, part in enumerate(loc):
        if len(types_here) > 1:  # ``part`` names the branch
            named = [kind for kind in types_here if getattr(kind, "__name__", None) == part]
            types_here = named or [kind for kind in types_here if not _is_model(kind)]
            continue
        path.append(part)
        if number == len(loc) - 1:
            break
        types_here = _branches(_below(types_here[0] if types_here else Any, part))
    names = [name for kind in types_here if _is_model(kind) for name in kind.model_fields]
    return tuple(one for one in path if one != "[key]"), names


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _below(kind: Any, part: int | str) -> Any:
    """The type of an item of a value of type ``kind``, under a key or at an index."""
    if _is_model(kind):
        field = kind.model_fields.get(str(part))
        return field.annotation if field else Any
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return arguments[1]
    return arguments[0] if origin is tuple else Any


def _branches(kind: Any) -> list[Any]:
    """The types of a union without None; a type that is no union alone."""
    if typing.get_origin(kind) is typing.Annotated:
        return _branches(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [branch for one in typing.get_args(kind) for branch in _branches(one) if branch is not type(None)]
    return [kind]
