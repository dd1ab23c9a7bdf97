"""Where the files of a pretrained model are, locally or on the hub, and which of them may be opened."""

import codecs
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from probe.caches import cache_sentence
from probe.config import ModelConfig
from probe.errors import UserError, reason_of
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
    """The source and subfolder for the libraries. They cannot read a config.json with a byte order mark, so such a
    folder is replaced by one of links, with the file rewritten."""
    folder = folder_of(spec, source)
    config = folder / CONFIG
    if not is_local(source) or not config.is_file() or not config.read_bytes().startswith(codecs.BOM_UTF8):
        yield as_named(source), spec.subfolder or ""
        return
    with TemporaryDirectory(prefix="probe-") as copy:
        for entry in folder.iterdir():
            if entry.name != config.name:
                (Path(copy) / entry.name).symlink_to(entry.resolve())
        (Path(copy) / config.name).write_text(read_text(config, JSON_BYTES), encoding="utf-8")
        yield copy, ""


def folder_of(spec: ModelConfig, source: str) -> Path:
    """The local folder of a model."""
    return local(source) / (spec.subfolder or "")


def where(spec: ModelConfig, source: str) -> str:
    """The name of a model in messages."""
    return f"model {source}" + (f", subfolder {spec.subfolder}" if spec.subfolder else "")


def located(spec: ModelConfig, source: str) -> ModelConfig:
    """The specification with the subfolder vae, if a pipeline keeps its autoencoder there; no other is guessed."""
    inside = spec.model_copy(update={"subfolder": "vae"})
    guess = spec.subfolder is None and _absent(spec, source, CONFIG) and optional_file(inside, source, CONFIG)
    return inside if guess else spec


def _absent(spec: ModelConfig, source: str, name: str) -> bool:
    """Whether there is no such file. One that the hub fails to deliver may exist: reading it reports the problem."""
    if is_local(source):
        return optional_file(spec, source, name) is None
    from huggingface_hub.errors import EntryNotFoundError

    return isinstance(_from_hub(spec, source, name), EntryNotFoundError)  # offline: not in the cache


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
        from huggingface_hub import hf_hub_download

        path = fetched(hf_hub_download, spec, source, CONFIG, subfolder=spec.subfolder)
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
    """A file of a model, downloaded if it is on the hub; None if there is none, or it is unavailable.

    UserError for a pipe or the like, which would block whoever opens it.
    """
    if is_local(source):
        path = folder_of(spec, source) / name
        if path.exists() and not path.is_file():
            raise UserError(f"{where(spec, source)}: {name} is not a regular file; replace it by an intact copy.")
        return path if path.is_file() else None
    found = _from_hub(spec, source, name)
    return found if isinstance(found, Path) else None


def _from_hub(spec: ModelConfig, source: str, name: str) -> Path | Exception:
    """A file of the hub, or why it is unavailable."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    try:
        return Path(hf_hub_download(source, name, subfolder=spec.subfolder, revision=spec.revision))
    except (EntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        return error


def fetched(download: Any, spec: ModelConfig, source: str, *args: Any, **options: Any) -> Path:
    """What a function of huggingface_hub downloads, or finds in the local cache; UserError if it is unavailable."""
    from huggingface_hub import errors

    try:
        return Path(download(source, *args, revision=spec.revision, **options))
    except errors.GatedRepoError:
        message = "is gated: accept its terms on the hub, then log in with `hf auth login` or set HF_TOKEN."
    except errors.RepositoryNotFoundError:
        message = "is neither a local folder nor a repository of the hub that you may read; check the name, or log in."
    except errors.RevisionNotFoundError:
        message = f"has no revision {spec.revision!r}."
    except errors.LocalEntryNotFoundError:
        message = "is not in the local cache and the hub cannot be reached; check the network, or give a local folder."
    except errors.EntryNotFoundError:
        message = f"has no {args[0] if args else 'file'} there; if it is a pipeline, set model.subfolder (usually vae)."
    except errors.HFValidationError:
        message = "is neither a local folder nor a hub id (owner/name), and has no embedded: or python: prefix."
    except (errors.HfHubHTTPError, OSError) as error:
        message = f"cannot be fetched from the hub: {cache_sentence(error) or reason_of(error)}"
    raise UserError(f"{where(spec, source)} {message}")


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
