"""The sources of images: the kinds, one entry each, and what a configuration means.

To add a kind, write its opener and list it in ``SOURCES``.
"""

import logging
import os
import re
from collections import Counter
from itertools import islice
from pathlib import Path

from probe.config import DatasetConfig
from probe.data.bundled import open_bundled
from probe.data.folder import open_folder
from probe.data.formats import suffixes
from probe.data.hub import open_hub
from probe.data.metadata import FILES as METADATA
from probe.data.parquet import open_parquet
from probe.data.patterns import visible
from probe.data.saved import is_saved, open_saved
from probe.data.source import Source
from probe.data.urls import open_urls
from probe.data.webdataset import open_webdataset
from probe.errors import UserError
from probe.names import given_path, shortened, shown
from probe.plugins import with_plugins

ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".7z", ".rar")
CHECKED = ("folder", "parquet", "webdataset")
"""Kinds for which what lies at a path is looked at here; another one looks by itself."""
TABLES = {"parquet": ".parquet", "webdataset": ".tar"}
LOOKED_AT = 20_000  # files, before a folder is left to its reader
log = logging.getLogger("probe")
_OF_A_HUB_TABLE = frozenset({"config", "split", "column", "revision"})
FIELDS = ("config", "split", "column", "revision", "balance")

SOURCES: tuple[Source, ...] = (
    Source(
        "hub",
        "ID",
        open_hub,
        "a data set of the Hugging Face hub, streamed, or some of its files: hub:ID/FILES",
        _OF_A_HUB_TABLE | {"balance"},
        remote=True,
    ),
    Source(
        "parquet",
        "PATH",
        open_parquet,
        "parquet files with a column of encoded images: a file, a folder or a pattern",
        frozenset({"column", "balance"}),
    ),
    Source(
        "folder",
        "PATH",
        open_folder,
        "a folder of image files, also with metadata; its first subfolders are the classes",
        frozenset({"balance"}),
    ),
    Source(
        "saved",
        "PATH",
        open_saved,
        "a folder that save_to_disk of datasets wrote",
        frozenset({"split", "column", "balance"}),
    ),
    Source(
        "webdataset",
        "PATH",
        open_webdataset,
        "WebDataset shards: a .tar file, a folder of them, or a pattern with * and {000..003}",
        frozenset({"column", "balance"}),
    ),
    Source(
        "bundled",
        "NAME",
        open_bundled,
        "a small set inside scikit-image or scikit-learn; needs no network",
        frozenset({"balance"}),
    ),
    Source(
        "urls",
        "ID-or-PATH",
        open_urls,
        "a table of image addresses, on the hub or a .parquet or .csv file; the images are downloaded",
        _OF_A_HUB_TABLE,
        remote=True,
    ),
)


def known_sources() -> dict[str, Source]:
    """Every kind of source by prefix, those of plug-ins included (``probe.plugins``)."""
    return with_plugins(SOURCES, Source, "prefix")


def is_remote(source: str | None) -> bool:
    """Whether a source takes long to read again, or may give other images."""
    prefix, _, place = (source or "").partition(":")
    return bool(place) and prefix in known_sources() and known_sources()[prefix].remote


def recognised(where: str, spec: DatasetConfig) -> tuple[Source, str]:
    """The kind of source in a configuration, and what it opens; a path without a kind is a folder or parquet files.

    UserError if the kind is unknown or has no use for a field that is set, or if another thing lies there.
    """
    kind, place = _kind_of(where, spec.source or "")
    for field in FIELDS:
        # Compared with the default, since a configuration that was written out in full sets every field.
        if field not in kind.fields and getattr(spec, field) != DatasetConfig.model_fields[field].default:
            raise UserError(f"{where}: a {kind.written} source has no {field}; remove it.")
    return kind, place


def _kind_of(where: str, source: str) -> tuple[Source, str]:
    kinds = known_sources()
    prefix, _, place = source.partition(":")
    if place and prefix in kinds:
        if prefix in CHECKED:
            _check(where, prefix, given_path(place))
        return kinds[prefix], place
    path = given_path(source)
    if source and os.path.exists(path):  # false for a null byte too
        prefix = _guessed(where, path)
        if prefix in CHECKED:
            _check(where, prefix, path)
        return kinds[prefix], source
    unknown = f"{where}: unknown kind of source; write one of {', '.join(kind.written for kind in kinds.values())}"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", source) and not source.startswith(("./", "../")):
        raise UserError(f"{unknown} (hub:{shortened(source, 60)} for a data set of the hub).")
    for suffix, prefix in ((".parquet", "parquet"), (".tar", "webdataset")):
        if path.suffix.lower() == suffix:  # a pattern, or a missing file, which its reader reports
            return kinds[prefix], source
    if source.startswith(("/", "./", "../", "~")):
        raise UserError(f"{where}: there is no {shortened(str(path), 160)}; check the path.")
    if source and ":" not in source:
        missing = f"there is no file or folder '{shown(shortened(source, 60))}' here; check the path, or write one of"
        raise UserError(f"{where}: {missing} {', '.join(kind.written for kind in kinds.values())}.")
    raise UserError(f"{unknown}.")


def _guessed(where: str, path: Path) -> str:
    """The kind of source that a path is, as far as names tell."""
    if path.is_dir() and is_saved(path):
        return "saved"
    found = _suffixes(path) if path.is_dir() else {_suffix(path.name)}
    if not suffixes().isdisjoint(found):
        if other := next((kind for kind, suffix in TABLES.items() if suffix in found and _beside(path, suffix)), None):
            name = shortened(str(path), 80)
            log.warning(f"{where}: its images are taken, and its {TABLES[other]} files are not; write {other}:{name}.")
        return "folder"
    return "parquet" if ".parquet" in found else "webdataset" if ".tar" in found else "folder"


def _beside(path: Path, suffix: str) -> bool:
    """Whether a folder of images holds tables or shards as well, other than metadata."""
    names = (name.lower() for _, files in visible(path) for name in files)
    return any(name.endswith(suffix) and name not in METADATA for name in islice(names, LOOKED_AT))


def _check(where: str, kind: str, path: Path) -> None:
    """UserError where what lies there cannot be a source of this kind; readers report a missing one and patterns."""
    if os.path.exists(path) and (problem := (_of_folder if path.is_dir() else _of_file)(kind, path)):
        raise UserError(f"{where}: {problem}.")


def _of_file(kind: str, path: Path) -> str | None:
    suffix, name = _suffix(path.name), shortened(str(path), 80)
    if not path.is_file():
        return f"{name} is not a regular file; give a folder of images or parquet files"
    if suffix == ".parquet":
        return None if kind == "parquet" else f"{name} is a parquet file; write parquet:{name}"
    if suffix == ".tar":
        return None if kind == "webdataset" else f"{name} is a tar file; write webdataset:{name}"
    if suffix in ARCHIVES:
        return f"{name} is an archive; unpack it and give the folder: {_unpack(suffix, name)}"
    if is_saved(path.parent):
        return f"{name} is in a folder that save_to_disk wrote; write saved:{shortened(str(path.parent), 300)}"
    if suffix in (".csv", ".tsv"):
        return f"{name} is a table of text; write urls:{name} if a column holds image addresses, else give the images"
    if suffix in suffixes():
        return f"{name} is a single image; give the folder it is in"
    # A parquet or tar file may have any name.
    return None if kind != "folder" else f"{name} is a file; give a folder of images or parquet files"


def _of_folder(kind: str, path: Path) -> str | None:
    """Why a folder is not a source of this kind, and what to do; None where its reader may find out more."""
    name = shortened(str(path), 80)
    if is_saved(path):
        return f"the folder was written by save_to_disk; write saved:{name}"
    found = _suffixes(path)
    images = suffixes() & found.keys()
    wanted = {"folder": "image", "parquet": "parquet", "webdataset": ".tar"}[kind]
    held_of = {"folder": images, "parquet": found[".parquet"], "webdataset": found[".tar"]}
    if held_of[kind] or found.total() >= LOOKED_AT:
        return None
    there = ", ".join(f"{count} {shortened(suffix, 12) or 'without suffix'}" for suffix, count in found.most_common(5))
    held = f"it holds {there}" if there else "it is empty"
    archive = next((suffix for suffix in found if suffix in ARCHIVES), None)
    if kind != "folder" and images:
        do = f"write folder:{name}"
    elif found[".parquet"]:
        do = f"write parquet:{name}"
    elif found[".tar"]:
        do = f"write webdataset:{name}"
    elif archive:
        do = f"unpack the archives: {_unpack(archive, f'FILE{archive}')}"
    elif found[".arrow"] and (saved := next((place for place, _ in visible(path) if is_saved(Path(place))), None)):
        do = f"write saved:{shortened(saved, 300)}"
    elif found[".arrow"]:
        do = "write the table as parquet with datasets' to_parquet"
    elif kind == "folder":
        return None
    else:
        do = f"give a folder of {'.parquet' if kind == 'parquet' else '.tar'} files"
    return f"the folder holds no {wanted} files ({held}); {do}"


def _unpack(suffix: str, name: str) -> str:
    command = f"unzip {name} -d DIR" if suffix == ".zip" else f"mkdir DIR && tar -xf {name} -C DIR"
    return command if suffix not in (".7z", ".rar") else f"with the program that made {name}"


def _suffix(name: str) -> str:
    lowered = name.lower()
    return next((suffix for suffix in ARCHIVES if lowered.endswith(suffix)), Path(lowered).suffix)


def _suffixes(root: Path) -> Counter[str]:
    """Suffixes of the files below a folder, without hidden ones; it ends soon after ``LOOKED_AT``."""
    found: Counter[str] = Counter()
    for _, names in visible(root):
        found.update(_suffix(name) for name in names[:LOOKED_AT])
        if found.total() >= LOOKED_AT:
            break
    return found
