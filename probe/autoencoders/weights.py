"""Every tensor of a model's files is accounted for: used, converted, unused or missing.

The model is built without memory, on torch's meta device, and compared with its files before it is loaded.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from probe.autoencoders.adapter import quiet
from probe.autoencoders.repository import first_file, optional_file, shards
from probe.config import ModelConfig
from probe.errors import UserError, reason_of

MASKS = re.compile(r"(^|\.)(attn\.(masked_)?bias|attention\.(masked_)?bias|position_ids|inv_freq|num_batches_tracked)$")
"""Buffers in older checkpoints of language models, which today's classes compute."""

LARGEST = 10**6
"""Largest integer in an autoencoder's configuration: sample rates are below 200,000, all others far below."""
LARGEST_OF_LANGUAGE = 10**8
"""The same for a language model: positions reach 10 million."""
LONGEST = 4096
"""Longest list in a configuration."""

Header = dict[str, Tensor]
"""The tensors of files by name, on the meta device: types and shapes without values."""


def weight_files(spec: ModelConfig, source: str, stem: str) -> list[Path]:
    """The files that diffusers (stem diffusion_pytorch_model) or transformers (model) loads, fetched if they are on the
    hub; empty if none is found. UserError if the hub does not deliver one."""
    variant = f".{spec.variant}" if spec.variant else ""
    index, single = f"{stem}.safetensors.index{variant}.json", f"{stem}{variant}.safetensors"
    path = first_file(spec, source, (single, index) if stem == "model" else (index, single))
    if path is None or path.name == single:
        return [path] if path else []
    names = sorted(set(shards(path).values()))
    return [file for one in names if (file := optional_file(spec, source, one))]


def header_of(files: Sequence[Path], there: str) -> Header | None:
    """Names, types and shapes of all tensors; None without files or for an unreadable one, which the library reports.

    UserError if two files hold a tensor of one name.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import _TYPES

    header: Header = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - it is no dictionary
                    if name in header:
                        raise UserError(f"{there}: the weights hold {name} twice, in {file.name} and another shard.")
                    view = opened.get_slice(name)
                    dtype = _TYPES.get(view.get_dtype(), torch.uint8)  # others are packed bits
                    header[name] = torch.empty(view.get_shape(), dtype=dtype, device="meta")
        except (SafetensorError, OSError):
            return None
    return header if files else None


def converted(model: Any, header: Header, there: str) -> Header:
    """The header after diffusers has replaced the tensor names of its older versions.

    UserError if a tensor is there under both names.
    """
    state = dict(header)
    model._fix_state_dict_keys_on_load(state)
    if len(state) < len(header):
        raise UserError(f"{there}: the weights hold a tensor under an old and a new name; use an intact copy.")
    return state


def check_bounds(config: Any, there: str, largest: int = LARGEST, key: str = "") -> None:
    """Refuse numbers and lists for which building the model would never end; UserError names the key."""
    if isinstance(config, dict):
        for name, value in config.items():
            check_bounds(value, there, largest, str(name))
    elif isinstance(config, list):
        if len(config) > LONGEST:
            raise UserError(f"{there}: {key[:80]} in config.json has {len(config):,} entries, more than {LONGEST:,}.")
        for value in config:
            check_bounds(value, there, largest, key)
    elif isinstance(config, int) and abs(config) > largest:
        size = f"{config:,}" if abs(config) < 10**18 else "a number of more than 18 digits"
        raise UserError(f"{there}: {key[:80]} in config.json is {size}; at most {largest:,} is possible.")


def blueprint(build: Callable[[], nn.Module] | None, header: Header, there: str) -> nn.Module | None:
    """The model that ``build`` makes, all tensors on the meta device; None if its class cannot be built there.

    Raises:
        UserError: the configuration does not fit the class, or describes far more parameters than there are weights; or
            weights are not real numbers (also without a model).
    """
    model = _built(build, len(header), there) if build else None
    check_types(header, model, there)
    return model


def _built(build: Callable[[], nn.Module], tensors: int, there: str) -> nn.Module | None:
    most = 4 * tensors + 1000  # weight norms make three parameters of one
    parameters = count(1)

    def registered(_module: nn.Module, _name: str, _value: Any) -> None:
        if next(parameters) > most:
            raise UserError(
                f"{there}: config.json describes a model of more than {most:,} parameters, and the weights have "
                f"{tensors:,} tensors; use the config.json that belongs to them."
            )

    handle = register_module_parameter_registration_hook(registered)
    try:
        with quiet(), torch.device("meta"):
            return build()
    except UserError:
        raise
    except Exception as error:  # whatever a constructor raises
        if "meta" in str(error).lower():
            return None
        raise UserError(f"{there}: no model can be built from config.json: {reason_of(error)}") from error
    finally:
        handle.remove()


def check_types(header: Header, model: nn.Module | None, there: str) -> None:
    """Refuse integer and complex weights (quantised ones need their scales); UserError names the first."""
    wanted = model.state_dict() if model else {}
    for name, stored in sorted(header.items()):
        if name in wanted:
            counted = not wanted[name].is_floating_point()
        else:  # an unknown name, apart from masks and counters
            counted = bool(MASKS.search(name)) or not name.endswith(("weight", "bias"))
        if not stored.is_floating_point() and not counted:
            raise UserError(
                f"{there}: {name} is stored as {str(stored.dtype).removeprefix('torch.')}, and weights must be real "
                "floating-point numbers; use weights that are not quantised."
            )


def check_size(header: Header, model: nn.Module, there: str) -> None:
    """Refuse a configuration of far more numbers than the weights hold, before memory is allocated."""
    described = sum(p.numel() for p in model.parameters())
    held = sum(stored.numel() for stored in header.values())
    computed = sum(b.numel() for b in model.buffers())  # masks and tables, which are in no file
    if described > 2 * held + 10**6 or computed > 2 * held + 10**8:
        raise UserError(
            f"{there}: config.json describes {described + computed:,} numbers, and the weights hold {held:,}; use the "
            "config.json that belongs to them."
        )


def check_fit(model: nn.Module, state: Header, there: str) -> None:
    """UserError for the first tensor of ``state``, as it will be loaded, with another shape than the model's."""
    wanted = model.state_dict()
    other = [name for name in sorted(wanted) if name in state and wanted[name].shape != state[name].shape]
    if other:
        name = other[0]
        raise UserError(
            f"{there}: the weights are of another architecture than config.json's: {name} has the shape "
            f"{tuple(state[name].shape)}, and config.json says {tuple(wanted[name].shape)} ({len(other)} in all)."
        )


def check_complete(model: nn.Module, missing: Iterable[str], names: Iterable[str], there: str) -> None:
    """UserError if tensors are missing, which would stay random. names: of those in the files."""
    if not (missing := sorted(missing)):
        return
    sentence = (
        f"{there}: the weights are incomplete, or of another architecture than config.json's: {missing[0]} is missing "
        f"({len(missing)} in all)"
    )
    if extra := _foreign(missing[0], sorted(names), set(model._modules)):
        sentence += f"; the names in the file have {extra!r} added: rename them without it"
    raise UserError(f"{sentence}.")


def _foreign(missing: str, names: list[str], parts: set[str]) -> str:
    """What a wrapper has added to the names, such as ``module.``; empty if that is not the problem."""
    for name in names:
        if name.endswith(f".{missing}"):
            return name.removesuffix(missing)
        for inside in ("_orig_mod.", "module."):
            if inside in name and name.replace(inside, "") == missing:
                return inside
    first = {name.split(".")[0] for name in names}
    return f"{first.pop()}." if len(first) == 1 and not first & parts and "." in names[0] else ""


def unused(model: nn.Module, names: Iterable[str], there: str, base: str = "") -> tuple[str, ...]:
    """Account for tensors that the model has no place for. base: a prefix that their names may lack.

    Returns:
        Warnings: none, or a sentence about tensors outside of all parts of the model, such as ``loss.``.

    Raises:
        UserError: one belongs to a part that the model or its class has, so the weights are those of another model.
    """
    left = sorted(name for name in names if not MASKS.search(name))
    below = [name for name in left if _is_part(model, name.removeprefix(base).split(".")[0])]
    if below:
        raise UserError(
            f"{there}: the weights hold {len(below)} tensor{'s' * (len(below) > 1)} that the model has no place for, "
            f"{below[0]} first: config.json has fewer layers or parts than the weights; use the config.json that "
            "belongs to them."
        )
    if not left:
        return ()
    groups = Counter(name.split(".")[0] for name in left)
    shown = ", ".join(f"{group[:40]} ({count})" for group, count in groups.most_common(5))
    return (
        f"{there}: the weights hold {len(left)} tensor{'s' * (len(left) > 1)} outside of all parts of the "
        f"{type(model).__name__}, not used here: {shown}{', ...' if len(groups) > 5 else ''}.",
    )


def _is_part(model: nn.Module, name: str) -> bool:
    """Whether the model has a part of that name, or its class would with another configuration."""
    if name in model._modules or name in model._parameters or name in model._buffers:
        return True
    inner = getattr(model, "base_model", model)
    if isinstance(inner, nn.Module) and inner is not model and _is_part(inner, name):
        return True
    try:
        source = inspect.getsource(type(model).__init__)
    except (OSError, TypeError):
        source = ""
    return vars(model).get(name, "") is None or f"self.{name} = " in source
