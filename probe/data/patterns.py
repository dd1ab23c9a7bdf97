"""Names with braces, as people write the shards of a data set: ``shard-{000..003}.tar``, ``{train,test}-*.parquet``."""

import re

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
