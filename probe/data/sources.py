"""What a user meant by a source: plain paths are taken for what lies there, and what cannot be read says what to do."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from probe.data.folder import SUFFIXES
from probe.errors import UserError
from probe.names import given_path, shortened

ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".7z", ".rar")
LOOKED_AT = 20_000  # files, before a folder is left to its reader


def recognised(where: str, source: str, kinds: frozenset[str]) -> str:
    """``source`` as KIND:PLACE; a path without a kind gets that of what lies there.

    Args:
        kinds: all that there are.

    Raises:
        UserError: what lies there is no folder of images and no parquet, with what to do.
    """
    kind, colon, place = source.partition(":")
    if colon and kind in kinds:
        if place and kind in ("folder", "parquet"):
            _check(where, kind, given_path(place))
        return source
    path = given_path(source)
    if not source or not os.path.exists(path):  # false for a null byte too
        if re.fullmatch(r"[\w.-]+/[\w.-]+", source) and not source.startswith(("./", "../")):
            raise UserError(
                f"{where}: the source is of no known kind; write one of hub:ID, parquet:PATH, folder:PATH, "
                f"bundled:NAME, urls:ID-or-PATH (hub:{shortened(source, 60)} for a data set of the hub)."
            )
        if path.suffix.lower() == ".parquet":  # a pattern, or a file that its reader will miss
            return f"parquet:{source}"
        if source.startswith(("/", "./", "../", "~")):
            raise UserError(f"{where}: there is no {shortened(str(path), 160)}; check the path.")
        return source
    kind = "parquet" if _is_table(path) else "folder"
    _check(where, kind, path)
    return f"{kind}:{source}"


def _is_table(path: Path) -> bool:
    if not path.is_dir():
        return path.suffix.lower() == ".parquet"
    found = Counter(Path(name).suffix.lower() for name in _names(path))
    return bool(found[".parquet"]) and not any(found[suffix] for suffix in SUFFIXES)


def _check(where: str, kind: str, path: Path) -> None:
    """UserError where there is something that this kind of source cannot be."""
    if not os.path.exists(path):
        return  # the reader says so, and takes patterns
    if not path.is_dir():
        if kind == "folder" or path.suffix.lower() != ".parquet":
            _refuse_file(where, kind, path)
        return
    if (path / "dataset_dict.json").is_file() or ((path / "state.json").is_file() and any(path.glob("*.arrow"))):
        raise UserError(f"{where}: {_saved(path)}")
    found = Counter(_suffix(name) for name in _names(path))
    wanted = SUFFIXES if kind == "folder" else {".parquet"}
    if any(found[suffix] for suffix in wanted) or found.total() >= LOOKED_AT:
        return
    if said := _nothing(kind, path, found):
        raise UserError(f"{where}: {said}")


def _refuse_file(where: str, kind: str, path: Path) -> None:
    suffix, name = _suffix(path.name), shortened(str(path), 80)
    if not path.is_file():
        what = f"{name} is not a regular file; give a folder of images or parquet files"
    elif suffix == ".parquet":
        what = f"{name} is a parquet file; write parquet:{name}"
    elif suffix in ARCHIVES:
        what = f"{name} is an archive; unpack it, and give the folder: {_unpack(suffix, name)}"
    elif suffix in (".csv", ".tsv"):
        what = f"{name} is a table of text; write urls:{name} if a column holds image addresses, else give the images"
    elif suffix in SUFFIXES:
        what = f"{name} is one image; give the folder that it lies in"
    elif kind == "parquet":
        return  # a parquet file may have any name
    else:
        what = f"{name} is a file; give a folder of images, or parquet files"
    raise UserError(f"{where}: {what}.")


def _nothing(kind: str, path: Path, found: Counter[str]) -> str | None:
    """Why a folder is no source of this kind, and what to do; None where its reader knows no less."""
    name = shortened(str(path), 80)
    there = ", ".join(f"{count} {shortened(suffix, 12) or 'without suffix'}" for suffix, count in found.most_common(5))
    held = f"it holds {there}" if there else "it is empty"
    nothing = "holds no image files" if kind == "folder" else "holds no parquet files"
    archive = next((suffix for suffix in found if suffix in ARCHIVES), None)
    if kind == "folder" and found[".parquet"]:
        do = f"write parquet:{name}"
    elif kind == "parquet" and any(found[suffix] for suffix in SUFFIXES):
        do = f"write folder:{name}"
    elif archive:
        do = f"unpack the archives (webdataset shards too): {_unpack(archive, f'FILE{archive}')}"
    elif found[".arrow"]:
        do = "write the table as parquet with datasets' to_parquet"
    elif kind == "folder":
        return None
    else:
        do = "give a folder of .parquet files"
    return f"the folder {nothing} ({held}); {do}."


def _saved(path: Path) -> str:
    """How a folder of save_to_disk becomes parquet."""
    splits = (path / "dataset_dict.json").is_file()
    place, made = (str(path), f"{path}.parquet") if len(str(path)) < 60 else ("DIR", "DIR.parquet")
    load = f"load_from_disk({place!r})" + ("['SPLIT']" if splits else "")
    return (
        "the folder was written by save_to_disk; make parquet of it with "
        f'python -c "from datasets import load_from_disk; {load}.to_parquet({made!r})" and write parquet:{made}.'
    )


def _unpack(suffix: str, name: str) -> str:
    command = f"unzip {name} -d DIR" if suffix == ".zip" else f"mkdir DIR && tar -xf {name} -C DIR"
    return command if suffix not in (".7z", ".rar") else f"with the program that made {name}"


def _suffix(name: str) -> str:
    lowered = name.lower()
    return next((suffix for suffix in ARCHIVES if lowered.endswith(suffix)), Path(lowered).suffix)


def _names(root: Path) -> Iterator[str]:
    """Names of the files below a folder, at most ``LOOKED_AT``; linked folders once."""
    left, seen, given = [root], {os.path.realpath(root)}, 0
    while left:
        try:
            entries = sorted(os.scandir(left.pop()), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if (real := os.path.realpath(entry.path)) not in seen:
                    seen.add(real)
                    left.append(Path(entry.path))
                continue
            yield entry.name
            given += 1
            if given >= LOOKED_AT:
                return
