"""Weights in pickle form made into safetensors, without running any code that a pickle might hold."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders.repository import PICKLES, fetched, is_local
from probe.config import ModelConfig
from probe.errors import UserError
from probe.reading import read_object

NAMES = {"pytorch_model": "model", "diffusion_pytorch_model": "diffusion_pytorch_model"}
"""Stems by which transformers and diffusers look for weights: of pickles, and of safetensors."""


def convert(source: str, out: Path, revision: str | None = None) -> list[Path]:
    """Write the weights of ``source`` as safetensors; a folder's JSON files, subfolders included, go with them.

    Args:
        source: a file in pickle form, a folder with such files, or a hub id.
        out: the new file (.safetensors), or the new folder.
        revision: of the hub id.

    Returns:
        The files of weights that were written.

    Raises:
        UserError: nothing to convert, a pickle that holds more than tensors, or a place that is taken.
    """
    path = Path(source).expanduser()
    if path.is_file() or path.suffix in PICKLES:
        if out.suffix != ".safetensors":
            raise UserError(f"the new file must end in .safetensors, not {out.name}.")
        return [_convert_file(path, out)]
    if not is_local(source):
        from huggingface_hub import snapshot_download

        wanted = ["*.json", *(f"*{suffix}" for suffix in PICKLES)]
        path = fetched(snapshot_download, ModelConfig(source=source, revision=revision), source, allow_patterns=wanted)
    files = sorted(file for file in path.rglob("*") if file.suffix in PICKLES)
    if not files:
        found = "there is no such folder" if not path.is_dir() else f"it has no {', '.join(PICKLES)}"
        raise UserError(f"{source}: nothing to convert: {found}.")
    written = [_convert_file(file, out / _renamed(file.relative_to(path))) for file in files]
    for file in sorted(path.rglob("*.json")):
        place = out / file.relative_to(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.name.endswith(".index.json"):
            _convert_index(file, place.with_name(_renamed(Path(file.name.removesuffix(".index.json"))).name))
        else:
            shutil.copyfile(file, place)
    return written


def _renamed(file: Path) -> Path:
    """Where the libraries look for the safetensors: pytorch_model-00001-of-00002.bin is model-00001-of-00002."""
    stem, rest = next(((old, new) for old, new in NAMES.items() if file.name.startswith(old)), ("", ""))
    return file.with_name(rest + file.name.removeprefix(stem)).with_suffix(".safetensors")


def _convert_index(file: Path, place: Path) -> None:
    index = read_object(file)
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise UserError(f"{file} is no index of shards; is the file complete?")
    index["weight_map"] = {name: _renamed(Path(shard)).name for name, shard in shards.items()}
    place.with_name(f"{place.name}.index.json").write_text(json.dumps(index, indent=1))


def _convert_file(file: Path, place: Path) -> Path:
    from safetensors.torch import save_file

    if place.exists():
        raise UserError(f"{place} exists; choose another place.")
    place.parent.mkdir(parents=True, exist_ok=True)
    # A copy of each, since safetensors refuses tensors that share memory.
    save_file({name: value.clone().contiguous() for name, value in _tensors(file).items()}, place, {"format": "pt"})
    return place


def _tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by name; the state dict alone where it is one of several things in the file."""
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file.") from None
    except Exception as error:  # of the unpickler, of zip files, of torch itself
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise UserError(f"{file} holds more than tensors, or is damaged, and is not opened: {reason}") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    named = content.items() if isinstance(content, dict) else ()
    found = {name: value for name, value in named if isinstance(value, Tensor)}
    if not found:
        raise UserError(f"{file} holds no state dict.")
    return found
