"""Which column of a table holds the images, or their addresses."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from probe.errors import UserError
from probe.names import shortened, shown

IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "pixels")
PATH_NAMES = (*IMAGE_NAMES, "file_name", "filename", "path", "image_path", "file")
URL_NAMES = ("url", "image_url", "img_url", "image")
LABEL_NAMES = ("label", "fine_label", "labels", "class", "target", "cls")
SHOWN = 5  # columns that a message lists
_NO_IMAGES = (
    "store each image as a PNG or JPEG file's bytes, or set column to one with paths, base64 or arrays of 0..255"
)
_ALONE = ("image", "bytes")  # what holds images for certain; other columns are taken by their name
_FLOATS = "floats have no fixed range: store whole numbers 0..255, or a PNG file's bytes"
_FLAT = "a flat list of numbers has no rows: nest the pixels as rows, or store a PNG file's bytes"
_FLOAT_TYPES = ("float", "halffloat", "double")  # what their names begin with


@dataclass(frozen=True)
class Column:
    """A column of a local table, with the attributes of a ``datasets`` feature.

    holds: "image" (declared as images), "bytes", "path" (or base64), "list" (of bytes) or "array" (of pixels); None for
        types that cannot hold images.
    names: of the classes, where the column holds their numbers.
    nesting: how deep its lists are, and the type of what is in them.
    """

    dtype: str
    holds: str | None = None
    names: tuple[str, ...] | None = None
    nesting: tuple[int, str] = (0, "")


def image_column(where: str, features: Mapping[str, Any], wanted: str | None) -> str:
    """The column of images: the wanted one, or the only one, or the one with a usual name.

    features: column name -> its ``datasets`` feature or ``Column``, or None where that is not known.
    UserError if the wanted column is absent or holds no images, or none is found; the columns are listed.
    """
    held = {name: holds(feature) for name, feature in features.items()}
    able = [name for name, what in held.items() if what in _ALONE]
    if wanted is not None:
        if wanted not in features:
            raise absent(where, features, wanted)
        if held[wanted] is None:
            others = f"set column to one of {_list(map(_name, able))}" if able else _NO_IMAGES
            raise _no_images(where, wanted, features[wanted], others)
        return wanted
    declared = [name for name in able if held[name] == "image"]
    if len(declared) == 1:
        return declared[0]
    able = able or [name for name, what in held.items() if what and name.lower() in PATH_NAMES]
    if not able:
        for name, feature in features.items():
            if name.lower() in IMAGE_NAMES and _numbers(feature):
                raise _no_images(where, name, feature, _NO_IMAGES)
        columns = _list(f"{_name(name)} ({kind(feature)})" for name, feature in features.items())
        raise UserError(f"{where}: no column holds images: {columns or 'it has no columns'}; {_NO_IMAGES}.")
    return _by_name(where, able, PATH_NAMES)


def label_column(features: Mapping[str, Any]) -> str | None:
    """The column of classes: the first with a usual name that holds no images; None if absent."""
    lowered = {name.lower(): name for name, one in features.items() if one is None or holds(one) in (None, "path")}
    return next((lowered[name] for name in LABEL_NAMES if name in lowered), None)


def class_column(where: str, features: Mapping[str, Any], balance: str | None, images: str) -> str | None:
    """The column to balance, else that of ``label_column``; never that of the ``images``.

    UserError if the column to balance is absent or holds images.
    """
    if balance is None:
        return label_column({name: feature for name, feature in features.items() if name != images})
    if balance not in features:
        raise absent(where, features, balance, "balance")
    if balance == images or (features[balance] is not None and holds(features[balance]) not in (None, "path")):
        said = f"column {_name(balance)} holds images ({kind(features[balance])}), not classes"
        raise UserError(f"{where}: {said}; set balance to a column of names or numbers.")
    return balance


def label_of(feature: Any, value: Any) -> str | None:
    """The name that a ClassLabel gives a cell, else the value itself; None if empty, hidden, or without a name."""
    if value is None or value in ("", -1) or value != value:  # -1: hidden, on the hub; nan equals nothing
        return None
    names = getattr(feature, "names", None)
    if not names:
        return str(value)
    return str(names[value]) if isinstance(value, int) and 0 <= value < len(names) else None


def url_column(where: str, columns: Iterable[str], wanted: str | None) -> str:
    """The column of addresses: the wanted one, the only one, or the one with a usual name (URL comes first)."""
    columns = list(columns)
    if wanted is None:
        return _by_name(where, columns, URL_NAMES)
    if wanted not in columns:
        raise absent(where, columns, wanted)
    return wanted


def kind(feature: Any) -> str:
    """The type of a column, in a few words; of a long one only the outermost type."""
    words = _type(feature)
    outer, inner, _ = words.partition("<")
    return words if len(words) <= 60 else shortened(outer, 40) + ("<...>" if inner else "")


def held_by_array(depth: int, dtype: str) -> str | None:
    """See ``Column.holds``, for lists in lists (``depth``) of numbers of a type such as ``uint8``."""
    if depth == 1:
        return "list" if dtype == "uint8" else None
    return "array" if depth in (2, 3) and dtype.lstrip("u").startswith("int") else None


def _type(feature: Any) -> str:
    depth, dtype = _nesting(feature)
    lists = depth and not isinstance(feature, Column)  # whose type is in words already
    return "list<" * depth + dtype + ">" * depth if lists else str(getattr(feature, "dtype", type(feature).__name__))


def _numbers(feature: Any) -> str | None:
    """Why a column of numbers holds no images, and what to do; None for other columns."""
    depth, dtype = _nesting(feature)
    if not depth or holds(feature) is not None:
        return None
    flat = depth == 1 and dtype.lstrip("u").startswith("int")
    return _FLOATS if dtype.startswith(_FLOAT_TYPES) else _FLAT if flat else None


def _no_images(where: str, name: str, feature: Any, others: str) -> UserError:
    said = f"column {_name(name)} holds {kind(feature)}, not images; {_numbers(feature) or others}"
    return UserError(f"{where}: {said}.")


def _nesting(feature: Any) -> tuple[int, str]:
    """How deep the lists of a column are, and the type of what is in them."""
    if isinstance(feature, Column):
        return feature.nesting
    depth = 0
    while True:
        if type(feature).__name__ in ("Array2D", "Array3D"):
            return depth + len(feature.shape), str(feature.dtype)
        inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
        if inner is None:
            return depth, str(getattr(feature, "dtype", type(feature).__name__))
        feature, depth = inner, depth + 1


def _by_name(where: str, able: list[str], usual: Iterable[str]) -> str:
    lowered = {name.lower(): name for name in able}
    found = able[0] if len(able) == 1 else next((lowered[name] for name in usual if name in lowered), None)
    if found is None:
        raise UserError(f"{where}: which column to use is not clear; set column to one of {_list(map(_name, able))}.")
    return found


def absent(where: str, columns: Iterable[str], wanted: str, key: str = "column") -> UserError:
    """The error for a column that is not there, with those that are; ``key`` is what names it in a configuration."""
    columns = list(dict.fromkeys(columns))
    near = difflib.get_close_matches(wanted, columns, n=1)
    hint = f"did you mean {_name(near[0])}? " if near else ""
    return UserError(f"{where} has no column {_name(wanted)}: {hint}set {key} to one of {_list(map(_name, columns))}.")


def holds(feature: Any) -> str | None:
    """See ``Column.holds``; an unknown feature may hold bytes."""
    if isinstance(feature, Column):
        return feature.holds
    if isinstance(feature, Mapping):
        return "bytes" if "bytes" in feature else None
    if type(feature).__name__ == "Image":
        return "image"
    depth, dtype = _nesting(feature)
    if depth:
        return held_by_array(depth, dtype)
    return "bytes" if feature is None or getattr(feature, "dtype", None) in ("binary", "large_binary") else None


def _list(words: Iterable[str]) -> str:
    words = list(words)
    text = ", ".join(words[:SHOWN])
    return f"{text} and {len(words) - SHOWN} more" if len(words) > SHOWN else text


def _name(name: str) -> str:
    return f"'{shortened(shown(name), 30)}'"
