"""Which files a place names: a path, a folder, or a pattern (``shard-{000..003}.tar``, ``{train,test}-*.parquet``)."""

import glob
import os
import re
from collections.abc import Iterator

from probe.errors import UserError
from probe.names import given_path, shortened, shown

MOST = 100_000  # names that a pattern may stand for
_BRACES = re.compile(r"\{([^{}]*)\}")
_FILES = re.compile(r"[\w*?\[][\w*?\[\]!.+=@ ,{}-]*(/[\w*?\[][\w*?\[\]!.+=@ ,{}-]*)*")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expanded(pattern: str) -> list[str]:
    """All names of a pattern, each once, in its order; the pattern itself if it has no braces.

    ``{a,b}`` stands for a and b, and ``{08..11}`` for the numbers from 08 to 11, with zeros in front as in the first.
    Braces may stand in braces. Others, such as ``{a}``, stay as they are.

    Raises:
        ValueError: there are more than ``MOST`` names.
    """
    done: list[str] = []
    todo = [pattern]
    while todo:
        name = todo.pop()
        found = next((one for one in _BRACES.finditer(name) if _choices(one[1])), None)
        if found is None:
            done.append(name)
        else:
            todo += [name[: found.start()] + one + name[found.end() :] for one in reversed(_choices(found[1]))]
        if len(done) + len(todo) > MOST:
            raise ValueError(f"its braces stand for more than {MOST:,} names")
    return list(dict.fromkeys(done))


def _choices(inside: str) -> list[str]:
    if numbers := _RANGE.fullmatch(inside):
        first, last = map(int, numbers.groups())
        if abs(last - first) >= MOST:
            raise ValueError(f"its braces stand for more than {MOST:,} names")
        step = 1 if first <= last else -1
        return [f"{number:0{len(numbers[1])}}" for number in range(first, last + step, step)]
    return inside.split(",") if "," in inside else []


def matching_files(where: str, place: str, suffix: str) -> list[str]:
    """The files of a path, of a folder (those with this suffix, in any case), or of a pattern with ``*`` and braces.

    They are sorted by path. A file that links lead to as well is named once. UserError if a path or one of the names
    that braces stand for has no file, or what lies there is no regular file.
    """
    pattern = str(given_path(place))
    try:
        names = [pattern] if os.path.exists(pattern) else expanded(pattern)
    except ValueError as error:
        raise UserError(f"{where}: {error}; name fewer files.") from error
    found: list[str] = []
    for name in names:
        files = [path for path in _paths(name, suffix) if os.path.exists(path) and not os.path.isdir(path)]
        if not files:
            ways = f"the path of a file or folder, or a pattern such as DIR/*{suffix} or DIR/a-{{000..003}}{suffix}"
            raise UserError(f"{where}: no file matches {brief(name)!r}; give {ways}.")
        found += files
    if odd := next((path for path in found if not os.path.isfile(path)), None):
        raise UserError(f"{where}: {brief(odd)} is not a regular file; give {suffix} files.")
    once: dict[tuple[int, int] | None, str] = {}
    for path in sorted(found):
        once.setdefault(_identity(path), path)
    return list(once.values())


def _paths(name: str, suffix: str) -> list[str]:
    if os.path.isdir(name):  # os.path returns False for an impossible path, where Path raises
        found = (os.path.join(place, file) for place, files in visible(name) for file in files)
        return [path for path in found if path.lower().endswith(suffix)]
    return [name] if os.path.exists(name) else glob.glob(name, recursive=True)


def visible(root: str | os.PathLike[str]) -> Iterator[tuple[str, list[str]]]:
    """Each folder from ``root`` on, once, and its files by name, without hidden ones; links are followed."""
    seen: set[tuple[int, int] | None] = {None}
    for place, folders, names in os.walk(root, followlinks=True):
        one = _identity(place)
        folders[:] = [] if one in seen else sorted(name for name in folders if not name.startswith("."))
        if one not in seen:
            yield place, sorted(name for name in names if not name.startswith("."))
        seen.add(one)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:  # it has gone by now
        return None
    return status.st_dev, status.st_ino


def brief(path: str) -> str:
    """A path for a message."""
    return shown(shortened(path, 100))


def hub_parts(place: str) -> tuple[str, str]:
    """Of ``OWNER/NAME/FILES``, the id and the pattern of files; "" where none are named."""
    owner, name, *files = place.split("/", 2) if place.count("/") > 1 else (place, "")
    return (f"{owner}/{name}", files[0]) if owner and name else (place, "")


def are_files(pattern: str) -> bool:
    """Whether a pattern can name files of a repository only: no part is empty, begins with a dot or has a colon."""
    try:
        return all(map(_FILES.fullmatch, expanded(pattern)))
    except ValueError:
        return False


def split_names(split: str) -> list[str]:
    """The splits of ``train+test``."""
    return [name.strip() for name in split.split("+")]
