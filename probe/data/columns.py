"""Which column of a table holds the images, or their addresses."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from probe.errors import UserError

IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "pixels")
URL_NAMES = ("url", "image_url", "img_url", "image")
LABEL_NAMES = ("label", "fine_label", "labels", "class", "target")


def image_column(where: str, features: Mapping[str, Any], wanted: str | None) -> str:
    """The column of images: the wanted one, or the only one, or the one with a usual name.

    Args:
        where: names the table in messages.
        features: column name -> its ``datasets`` feature, or None where that is not known.

    Raises:
        UserError: the wanted column is absent or holds no images, or none is found; the columns are listed.
    """
    able = [name for name, feature in features.items() if _may_hold_images(feature)]
    if wanted is not None:
        if wanted in able:
            return wanted
        if wanted in features:
            raise UserError(
                f"{where}: column {wanted!r} holds {_kind(features[wanted])}, not images; "
                f"set column to one of {_listed(able or features)}."
            )
        raise _absent(where, features, wanted)
    declared = [name for name in able if type(features[name]).__name__ == "Image"]
    if len(declared) == 1:
        return declared[0]
    return _by_name(where, able, IMAGE_NAMES, features)


def label_column(features: Mapping[str, Any]) -> str | None:
    """The column of classes: the first with a usual name; None where there is none."""
    lowered = {name.lower(): name for name in features}
    return next((lowered[name] for name in LABEL_NAMES if name in lowered), None)


def label_of(feature: Any, value: Any) -> str | None:
    """The name of a class from a cell of its column: as a ClassLabel names it, else the value itself."""
    if value is None or value == -1:  # the hub's mark of a hidden label
        return None
    names = getattr(feature, "names", None)
    return str(names[value] if names else value)


def url_column(where: str, columns: Iterable[str], wanted: str | None) -> str:
    """The column of addresses: the wanted one, or the one with a usual name (URL, in either case, comes first)."""
    columns = list(columns)
    if wanted is None:
        return _by_name(where, columns, URL_NAMES, columns)
    if wanted not in columns:
        raise _absent(where, columns, wanted)
    return wanted


def _by_name(where: str, able: Iterable[str], usual: Iterable[str], columns: Iterable[str]) -> str:
    lowered = {name.lower(): name for name in able}
    found = next((lowered[name] for name in usual if name in lowered), None)
    if found is None:
        raise UserError(f"{where}: which column to use is not clear; set column to one of {_listed(columns)}.")
    return found


def _absent(where: str, columns: Iterable[str], wanted: str) -> UserError:
    near = difflib.get_close_matches(wanted, list(columns), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"{where} has no column {wanted!r}: {hint}set column to one of {_listed(columns)}.")


def _may_hold_images(feature: Any) -> bool:
    """An Image feature, plain bytes, or {bytes, path}; an unknown feature may."""
    if isinstance(feature, Mapping):
        return "bytes" in feature
    return (
        feature is None
        or type(feature).__name__ == "Image"
        or getattr(feature, "dtype", None) in ("binary", "large_binary")
    )


def _kind(feature: Any) -> str:
    return str(getattr(feature, "dtype", type(feature).__name__))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
