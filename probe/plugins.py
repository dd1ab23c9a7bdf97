"""Methods, metrics and image sources from other packages, found through one entry-point group.

In the other package's pyproject.toml::

    [project.entry-points."probe.plugins"]
    toy = "their_package.module:TOY"  # a Method or Metric of probe.methods, or a Source of probe.data
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from probe.errors import Failure, UserError

GROUP = "probe.plugins"
KINDS = ("Method", "Metric", "Source")
T = TypeVar("T")
R = TypeVar("R")


@cache
def loaded() -> tuple[Any, ...]:
    """Every object that an installed package names, in the order of the entry points' names.

    A plug-in that cannot be loaded, or is none of ``KINDS``, is left out with one warning.
    """
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            one = entry.load()
        except Exception as error:  # anything may go wrong in code of others
            _warn(f"plug-in {entry.name!r} ({entry.value}) is ignored: it cannot be loaded ({_reason(error)}).")
            continue
        if {kind.__name__ for kind in type(one).__mro__}.isdisjoint(KINDS):
            _warn(f"plug-in {entry.name!r} ({entry.value}) is ignored: it is none of {', '.join(KINDS)}.")
            continue
        found.append(one)
    return tuple(found)


def with_plugins(table: Sequence[T], kind: type[T], key: str = "name") -> dict[str, T]:
    """The entries of a table and after them the plug-ins of that kind, by ``key``; a taken name is left out."""
    found = {getattr(one, key): one for one in table}
    for one in loaded():
        if isinstance(one, kind) and found.setdefault(getattr(one, key), one) is not one:
            _warn(f"{kind.__name__} {getattr(one, key)!r} of a plug-in is ignored: the name is taken.")
    return found


def call(entry: Any, function: Callable[..., R], *arguments: Any) -> R:
    """Call a function of a table's entry.

    Raises:
        Failure: the entry is a plug-in and its function raised an exception.
    """
    if entry not in loaded():
        return function(*arguments)
    try:
        return function(*arguments)
    except (UserError, Failure):
        raise
    except Exception as error:
        name = getattr(entry, "name", None) or getattr(entry, "prefix", "")
        raise Failure(f"{type(entry).__name__} {name!r} of a plug-in failed: {_reason(error)}.") from error


@cache
def _warn(sentence: str) -> None:
    """Each sentence once."""
    logging.getLogger("probe").warning(f"warning: {sentence}")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(".: ")
