"""Where the files of a pretrained model are, locally or on the hub, and which of them may be opened."""

import codecs
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from probe.config import ModelConfig
from probe.errors import UserError
from probe.hub import be_patient, not_found, refused
from probe.reading import JSON_BYTES, Unreadable, read_object, read_text

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
"""Weights in these forms can run code when opened; ``probe convert`` makes safetensors of them."""
CONFIG = "config.json"


def is_local(source: str) -> bool:
    """Whether a source is a local path rather than a hub id."""
    return os.path.exists(local(source)) or source.startswith((".", "/", "~"))


def local(source: str) -> Path:
    """A source as a path; ~ stays if there is no such home."""
    return Path(os.path.expanduser(source))


def as_named(source: str) -> str:
    """A source as the libraries take it: a path without ~, or the hub id."""
    return str(local(source)) if is_local(source) else source


@contextmanager
def for_libraries(spec: ModelConfig, source: str) -> Iterator[tuple[str, str]]:
    """The source and subfolder for the libraries, in a place where they ask no hub: a folder, or what was fetched of a
    repository, unless it brings code. They cannot read a config.json with a byte order mark, so such a folder is
    replaced by one of links, with the file rewritten."""
    if not is_local(source) and spec.trust_remote_code:
        yield source, spec.subfolder or ""
        return
    folder = folder_of(spec, source)
    config = folder / CONFIG
    if not config.is_file() or not config.read_bytes().startswith(codecs.BOM_UTF8):
        yield str(folder), ""
        return
    with TemporaryDirectory(prefix="probe-") as copy:
        for entry in folder.iterdir():
            if entry.name != config.name:
                (Path(copy) / entry.name).symlink_to(entry.resolve())
        (Path(copy) / config.name).write_text(read_text(config, JSON_BYTES), encoding="utf-8")
        yield copy, ""


def folder_of(spec: ModelConfig, source: str) -> Path:
    """The folder of a model: its own, or that of its commit in the hub's cache."""
    if is_local(source):
        return local(source) / (spec.subfolder or "")
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(source, _path(spec, CONFIG), revision=spec.revision)
    return Path(cached).parent if isinstance(cached, str) else local(source) / (spec.subfolder or "")


def where(spec: ModelConfig, source: str) -> str:
    """The name of a model in messages."""
    return f"model {source}" + (f", subfolder {spec.subfolder}" if spec.subfolder else "")


def located(spec: ModelConfig, source: str) -> ModelConfig:
    """The specification with the subfolder vae, if a pipeline keeps its autoencoder there (no other is guessed), and
    with the commit, if it is on the hub.

    UserError if the hub does not give config.json. Where it fails to deliver one that may exist, none is guessed.
    """
    inside = spec.model_copy(update={"subfolder": "vae"})
    if is_local(source):
        guess = spec.subfolder is None and not optional_file(spec, source, CONFIG)
        return inside if guess and optional_file(inside, source, CONFIG) else spec
    found = _from_hub(spec, source, CONFIG)
    if spec.subfolder is None and isinstance(found, Exception | None):
        # Without the hub only the cache can tell.
        unknown = found is not None
        other = _from_hub(inside, source, CONFIG, local_files_only=unknown)
        if isinstance(other, Path):
            return _at_commit(inside, other)
    return _at_commit(spec, fetched_file(spec, source, CONFIG, found))


def pinned(spec: ModelConfig, source: str) -> ModelConfig:
    """The specification with the commit that its revision is now, so that all files are of one; as it is for a local
    source. UserError if the hub does not give config.json."""
    return spec if is_local(source) else _at_commit(spec, fetched_file(spec, source, CONFIG))


def _at_commit(spec: ModelConfig, file: Path) -> ModelConfig:
    return spec.model_copy(update={"revision": commit_of(file) or spec.revision})


def commit_of(file: Path) -> str | None:
    """The commit that a file in the hub's cache belongs to; None elsewhere."""
    found = re.search(r"/snapshots/([0-9a-f]{40})/", file.as_posix())
    return found[1] if found else None


def read_config(spec: ModelConfig, source: str) -> dict[str, Any]:
    """config.json; UserError if it is absent, unreadable or not an object, or its weights lie outside of the folder."""
    if is_local(source):
        path = folder_of(spec, source) / CONFIG
        if not path.is_file():
            inside = sorted(p.parent.name for p in local(source).glob(f"*/{CONFIG}"))
            hint = f"set model.subfolder to one of {', '.join(inside)}" if inside else "give a folder with config.json"
            raise UserError(f"{where(spec, source)}: there is no {path}; {hint}.")
        for index in path.parent.glob("*.safetensors*.index.json"):
            shards(index)
    else:
        path = fetched_file(spec, source, CONFIG)
    try:
        return read_object(path, nan=True)  # Mamba 2 has Infinity there; values are checked where they are used
    except Unreadable as error:
        raise UserError(f"{where(spec, source)}: {error} Is the file complete?") from None


def shards(index: Path) -> dict[str, str]:
    """The file of each tensor by an index; UserError unless it is an index of files in its own folder."""
    files = read_object(index).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise UserError(f"{index} is not an index of shards; is the file complete?")
    for file in sorted(set(files.values())):
        if PurePosixPath(file).name != file:
            raise UserError(f"{index} names {file}, which is not a file of its folder.")
    return files


def optional_file(spec: ModelConfig, source: str, name: str) -> Path | None:
    """A file of a model, downloaded if it is on the hub; None if there is none (offline: if it is not in the cache).

    UserError for a pipe or the like, which would block whoever opens it, or if the hub does not tell.
    """
    if is_local(source):
        path = folder_of(spec, source) / name
        if path.exists() and not path.is_file():
            raise UserError(f"{where(spec, source)}: {name} is not a regular file; replace it by an intact copy.")
        return path if path.is_file() else None
    found = _from_hub(spec, source, name)
    if isinstance(found, Exception) and not offline():
        raise UserError(f"{where(spec, source)} {_why(found, spec, source, name)}") from found
    return found if isinstance(found, Path) else None


def first_file(spec: ModelConfig, source: str, names: Sequence[str]) -> Path | None:
    """The first of several files that a model has. UserError if none can be had and the hub does not tell of one."""
    unknown: Exception | None = None
    for name in names:
        found = _from_hub(spec, source, name) if not is_local(source) else optional_file(spec, source, name)
        if isinstance(found, Path):
            return found
        unknown = unknown or found
    if unknown:
        raise UserError(f"{where(spec, source)} {_why(unknown, spec, source, names[0])}") from unknown
    return None


def names_of(spec: ModelConfig, source: str) -> list[str]:
    """The names of the files in a model's folder, sorted; none if the folder is absent or the hub does not tell."""
    if is_local(source):
        folder = folder_of(spec, source)
        return sorted(file.name for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
    import huggingface_hub

    be_patient()
    try:
        paths = map(PurePosixPath, huggingface_hub.HfApi().list_repo_files(source, revision=spec.revision))
    except Exception as error:  # of the client or of its library for HTTP
        if refused(error, source) is None:
            raise
        return []
    return sorted(path.name for path in paths if path.parent == PurePosixPath(spec.subfolder or ""))


def fetched_file(spec: ModelConfig, source: str, name: str, found: Path | Exception | None = None) -> Path:
    """A file of the hub that must be there; UserError if it is unavailable. found: the answer, if it is known."""
    found = found or _from_hub(spec, source, name)
    if isinstance(found, Path):
        return found
    if found is None:
        raise UserError(f"{where(spec, source)} {_no_such_file(name)}")
    raise UserError(f"{where(spec, source)} {_why(found, spec, source, name)}") from found


def _from_hub(spec: ModelConfig, source: str, name: str, local_files_only: bool = False) -> Path | Exception | None:
    """A file of the hub; None if the repository has none of that name; else why it is unavailable.

    What the cache knows of a commit is not asked again.
    """
    from huggingface_hub import errors, hf_hub_download, try_to_load_from_cache

    path = _path(spec, name)
    try:
        if re.fullmatch("[0-9a-f]{40}", spec.revision or ""):
            known = try_to_load_from_cache(source, path, revision=spec.revision)
            if known is not None:
                return Path(known) if isinstance(known, str) else None
        be_patient()
        return Path(hf_hub_download(source, path, revision=spec.revision, local_files_only=local_files_only))
    except errors.LocalEntryNotFoundError as error:  # it is an EntryNotFoundError, and says nothing about the hub
        return error
    except errors.EntryNotFoundError:
        return None
    except Exception as error:  # of the client or of its library for HTTP; OSError, ValueError for an impossible id
        if refused(error, source) is None and not isinstance(error, errors.HFValidationError):
            raise
        return error


def _path(spec: ModelConfig, name: str) -> str:
    return f"{spec.subfolder}/{name}" if spec.subfolder else name


def offline() -> bool:
    """Whether the user has forbidden the network (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def fetched(download: Any, spec: ModelConfig, source: str, *args: Any, **options: Any) -> Path:
    """What a function of huggingface_hub downloads, or finds in the local cache; UserError if it is unavailable."""
    be_patient()
    try:
        return Path(download(source, *args, revision=spec.revision, **options))
    except Exception as error:  # of the client or of its library for HTTP
        if (why := _why(error, spec, source, args[0] if args else "file")) is None:
            raise
        raise UserError(f"{where(spec, source)} {why}") from error


def _why(error: Exception, spec: ModelConfig, source: str, name: str) -> str | None:
    """Why a file cannot be had, and what to do, as a predicate; None for an error that is not of the hub."""
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return "is neither a local folder nor a hub id (owner/name), and has no embedded: or python: prefix."
    if absent := not_found(error):
        return absent
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return _no_such_file(name)
    return refused(error, source, spec.revision)


def _no_such_file(name: str) -> str:
    return f"has no {name} there; if it is a pipeline, set model.subfolder (usually vae)."


def what_it_is(file: Path) -> str | None:
    """What a file is instead of weights, by its first bytes, as a predicate; None if it may be weights."""
    if file.exists() and not file.is_file():  # opening a pipe would block
        return "is not a regular file; replace it by the weights"
    with file.open("rb") as opened:
        head = opened.read(512)
    if not head:
        return "is empty; download it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer, not the weights; run `git lfs pull` in its folder, or download it again"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not weights; download it again (the page may say why not)"
    if head[8:9] == b"{" and file.suffix in PICKLES:
        return "is in safetensors already; rename it to .safetensors"
    return None
