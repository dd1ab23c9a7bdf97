"""Weights in pickle form converted to safetensors, without running code that a pickle might hold."""

import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders.repository import PICKLES, fetched, is_local, local, shards, what_it_is
from probe.config import ModelConfig
from probe.errors import Failure, UserError, reason_of
from probe.reading import read_object

NO_WEIGHTS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states")
"""How the names of other files begin that trainers write beside weights."""
ROOM = 2**30
"""Bytes by which the tensors of a file may exceed the file (views that repeat stored values)."""

CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "params", "weights")
"""Entries under which training frameworks keep the weights; the first one found counts."""
ASIDE = ("optim", "sched", "callbacks", "loops", "rng", "random", "scaler")
"""Parts of the names of entries that are not weights."""
DEEPEST = 64
MOST = 1_000_000
SHOWN = 6


def convert(
    source: str, out: Path, revision: str | None = None, on_note: Callable[[str], None] = lambda note: None
) -> list[Path]:
    """Write the weights of ``source`` as safetensors; a folder's JSON files, subfolders included, go with them.

    Nested entries, such as ``{"encoder": {...}, "decoder": {...}}``, get names joined by dots. Other entries (the state
    of an optimizer, an epoch) are left out. Everything is written, or nothing.

    Args:
        source: a file in pickle form, a folder with such files, or a hub id.
        out: the new file (.safetensors), or the new folder.
        revision: of the hub id.
        on_note: called with a sentence on what was left out, for each file.

    Returns:
        The files of weights that were written.

    Raises:
        UserError: nothing to convert, a pickle that holds more than tensors, tensors that safetensors cannot hold, or
            an existing ``out``.
        Failure: ``out`` cannot be written.
    """
    path = local(source)
    others: list[Path] = []
    if os.path.isfile(path) or path.suffix.lower() in PICKLES:
        if out.suffix != ".safetensors":
            raise UserError(f"the new file must end in .safetensors, not {out.name}.")
        new, home = {path: Path(out.name)}, out.parent
    else:
        if not is_local(source):
            from huggingface_hub import snapshot_download

            wanted = ["*.json", *(f"*{suffix}" for suffix in PICKLES)]
            spec = ModelConfig(source=source, revision=revision)
            path = fetched(snapshot_download, spec, source, allow_patterns=wanted)
        new, home = _new_names(path, source, on_note), out
        others = [file for file in sorted(path.rglob("*.json")) if file.is_file()]
    written = [home / name for name in new.values()]
    for place in written:
        _check_free(place)
    with _folder_beside(out) as folder:
        for file, name in new.items():
            _convert_file(file, folder / name, on_note)
        for file in others:
            place = folder / file.relative_to(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.name.endswith(".index.json"):
                _convert_index(file, place)
            else:
                shutil.copyfile(file, place)
        _move(folder, home)
    return written


def _new_names(path: Path, source: str, on_note: Callable[[str], None]) -> dict[Path, Path]:
    """The files of weights in a folder, and their new names."""
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in PICKLES and file.is_file())
    aside = [file for file in found if file.name.startswith(NO_WEIGHTS)]
    files = [file for file in found if file not in aside]
    if not files:
        why = "there is no such folder" if not path.is_dir() else f"it has no {', '.join(PICKLES)}"
        raise UserError(f"{source}: nothing to convert: {why}.")
    if aside:
        names = ", ".join(file.name for file in aside[:6])
        on_note(f"{source}: left out: {names} ({len(aside)} files without weights)")
    new: dict[Path, Path] = {}
    for file in files:
        name = _renamed(file.relative_to(path))
        if name in new.values():
            raise UserError(f"{source}: two files would become {name}; convert the files one by one.")
        new[file] = name
    return new


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """A temporary folder; UserError if there can be none, and Failure if writing fails later."""
    from safetensors import SafetensorError

    there = next(folder for folder in (out.parent, *out.parents) if folder.exists())
    try:
        temporary = TemporaryDirectory(prefix=".convert-", dir=there, ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(f"{there} cannot be written: {error.strerror}; choose another place.") from None
    with temporary as place:
        try:
            yield Path(place)
        except (OSError, SafetensorError) as error:
            raise Failure(f"{out.parent} cannot be written: {getattr(error, 'strerror', None) or error}.") from error


def _move(place: Path, out: Path) -> None:
    """Move the files of one folder to another; UserError if one is there already, unless it is the same JSON file."""
    files = sorted(file.relative_to(place) for file in place.rglob("*") if file.is_file())
    same = [file for file in files if file.suffix == ".json" and (out / file).is_file()]
    same = [file for file in same if (out / file).read_bytes() == (place / file).read_bytes()]
    new = [file for file in files if file not in same]
    for file in new:
        _check_free(out / file)
    for file in new:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(place / file, out / file)


def _check_free(place: Path) -> None:
    if os.path.lexists(place):
        raise UserError(f"{place} exists; choose another place.")


def _renamed(file: Path) -> Path:
    """The name that the libraries look for: pytorch_model-00001-of-00002.bin becomes model-00001-of-00002."""
    return file.with_name(re.sub("^pytorch_model", "model", file.name)).with_suffix(".safetensors")


def _convert_index(file: Path, place: Path) -> None:
    names = {name: _renamed(Path(shard)).name for name, shard in shards(file).items()}
    stem = _renamed(Path(file.name.removesuffix(".index.json"))).name
    place.with_name(f"{stem}.index.json").write_text(json.dumps(read_object(file) | {"weight_map": names}, indent=1))


def _convert_file(file: Path, place: Path, on_note: Callable[[str], None]) -> None:
    from safetensors.torch import save_file

    found, note = state_dict_of(_content(file), file)
    _check_plain(found, file)
    place.parent.mkdir(parents=True, exist_ok=True)
    # Copies, since safetensors refuses tensors that share memory.
    tensors = {
        name: value.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
        for name, value in found.items()
    }
    save_file(tensors, place, {"format": "pt"})
    if note:
        on_note(f"{file}: {note}")


def _check_plain(tensors: dict[str, Tensor], file: Path) -> None:
    """Refuse tensors that safetensors cannot hold."""
    from safetensors.torch import _TYPES

    for name, value in tensors.items():
        kinds = {
            "on the meta device, without values": value.is_meta,
            "quantised": value.is_quantized,
            f"sparse ({value.layout})": value.layout != torch.strided,
            f"of type {value.dtype}": value.dtype not in _TYPES.values(),
        }
        if kind := next((kind for kind, found in kinds.items() if found), None):
            raise UserError(f"{file}: {name} is {kind}, which safetensors cannot hold; save it as a dense tensor.")
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    if size > file.stat().st_size + ROOM:
        raise UserError(f"{file}: its tensors repeat stored values ({size:,} bytes); save them with .contiguous().")


def _content(file: Path) -> Any:
    """The content of a checkpoint; no code in it is run."""
    if not file.is_file():
        raise UserError(f"{file}: there is no such file.")
    if known := what_it_is(file):
        raise UserError(f"{file} {known}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a TorchScript archive, which is refused below
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # any type, from the unpickler, zip files or torch
        reason = "it is a TorchScript archive, with code" if "TorchScript" in str(error) else reason_of(error)
        raise UserError(
            f"{file} holds more than tensors, such as a whole model, or is damaged, and is not opened: {reason}; if "
            "you trust it, load it yourself (torch.load, torch.jit.load) and save model.state_dict() with torch.save."
        ) from error


def state_dict_of(content: Any, file: object) -> tuple[dict[str, Tensor], str]:
    """The weights in what ``torch.load`` returned, names of nested entries joined by dots, and a note on what was left
    out, empty if nothing was; UserError (naming ``file``) without any, or for ambiguous names."""
    if not isinstance(content, Mapping):
        kind = "one tensor" if isinstance(content, Tensor) else f"a {type(content).__name__}"
        raise UserError(f"{file} holds {kind}, not a state dict; save model.state_dict().")
    taken: list[str] = []
    left_out: list[str] = []
    tensors: dict[str, Tensor] = {}
    while (key := _container(content)) is not None:
        left_out += [_told(name, value) for name, value in content.items() if name != key]
        taken.append(key)
        content = content[key]
    nested = any(_count(value) for value in content.values() if not isinstance(value, Tensor))
    for name, value in content.items():
        scalar = isinstance(value, Tensor) and value.ndim == 0
        if (nested and scalar) or _is_aside(name, value) or not _count(value):  # a number beside modules counts steps
            left_out.append(_told(name, value))
            continue
        for path, one in _leaves(value, (name,)):
            if not isinstance(one, Tensor):
                left_out.append(".".join(map(str, path)))
                continue
            joined = _joined(path, file)
            if joined in tensors:
                raise UserError(f"{file} has two tensors named {joined!r}; rename one of them.")
            tensors[joined] = one
    if not tensors:
        raise UserError(f"{file} holds no state dict: it has no named tensor.")
    whose = f" of {'.'.join(taken)!r}" if taken else ""
    more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
    note = f"{len(tensors)} tensors{whose} written; left out: {', '.join(left_out[:SHOWN])}{more}"
    return tensors, note if left_out else ""


def _container(content: Mapping[Any, Any]) -> str | None:
    """The entry with the weights: one of the usual names that holds named tensors."""
    if any(isinstance(value, Tensor) and value.ndim for value in content.values()):
        return None
    return next((key for key in CONTAINERS if isinstance(content.get(key), Mapping) and _count(content[key])), None)


def _is_aside(name: Any, value: Any) -> bool:
    """Whether an entry is no tensor, and is by its name or content the state of an optimizer or the like."""
    if isinstance(value, Tensor) or not isinstance(name, str):
        return False
    words = name.lower().replace("-", "_")
    by_name = any(part in words for part in ASIDE) or "ema" in words.split("_")
    return by_name or (isinstance(value, Mapping) and {"state", "param_groups"} <= set(value))


def _told(name: Any, value: Any) -> str:
    count = 0 if isinstance(value, Tensor) else _count(value)
    return f"{name!s:.60}" + (f" ({count} tensors)" if count else "")


def _count(value: Any) -> int:
    return sum(isinstance(one, Tensor) for _, one in _leaves(value))


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """All values in nested mappings and lists, in order, with their paths of keys."""
    stack, visited = [(path, value)], 0
    while stack:
        path, value = stack.pop()
        visited += 1
        if visited > MOST or len(path) > DEEPEST:
            raise UserError("the checkpoint is nested too deeply, or contains itself; save model.state_dict() alone.")
        if isinstance(value, Mapping):
            stack += reversed([((*path, key), one) for key, one in value.items()])
        elif isinstance(value, list | tuple):
            stack += reversed([((*path, key), one) for key, one in enumerate(value)])
        else:
            yield path, value


def _joined(path: tuple[Any, ...], file: object) -> str:
    for key in path:
        if isinstance(key, bool) or not isinstance(key, str | int) or key == "":
            raise UserError(f"{file}: {key!r:.60} is not a name of a tensor; names are text.")
    name = ".".join(map(str, path))
    if name == "__metadata__" or not name.isprintable():
        raise UserError(f"{file}: {name!a:.60} cannot be a name of a tensor in safetensors; rename it.")
    return name
