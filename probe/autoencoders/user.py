"""A user's own autoencoder: ``python:package.module:function`` or ``python:path/to/file.py:function``."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from probe.autoencoders.base import Autoencoder
from probe.config import ModelConfig
from probe.errors import UserError
from probe.files import source_sha256


def load_user(spec: ModelConfig, target: str, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """Call the named function, without arguments, and wrap what it returns.

    The object has ``encode(x) -> z`` and ``decode(z) -> x``, deterministic, rows independent. It may have
    ``image_range`` (default -1, 1), ``scaling_factor``, ``shift_factor`` and ``downsampling``. Modules are moved to
    the device and put into eval mode: the object itself, or those among its attributes.

    Raises:
        UserError: the function cannot be found or called, or its result lacks encode or decode.
    """
    function = _function(target)
    model = _call(function, spec.source)
    for name in ("encode", "decode"):
        if not callable(getattr(model, name, None)):
            raise UserError(f"{spec.source} returned a {type(model).__name__} without {name}(); it needs both methods.")
    members = vars(model).values() if hasattr(model, "__dict__") else ()
    found = (model,) if isinstance(model, nn.Module) else tuple(m for m in members if isinstance(m, nn.Module))
    for module in found:
        nn.Module.to(module, device, dtype)  # diffusers' own warns of every change of type
        module.eval().requires_grad_(False)
    low, high = _numbers(model, "image_range", (-1.0, 1.0), spec.source)
    (scale,) = _numbers(model, "scaling_factor", (1.0,), spec.source)
    (shift,) = _numbers(model, "shift_factor", (0.0,), spec.source)
    (factor,) = _numbers(model, "downsampling", (0.0,), spec.source)
    if not (0 <= factor < 2**31 and factor == int(factor)):
        raise UserError(f"{spec.source}: downsampling must be a whole number, H / h, not {factor:g}.")
    return Autoencoder(
        source=spec.source,
        class_name=type(model).__name__,
        encoder=model.encode,
        decoder=model.decode,
        modules=found,
        image_range=(low, high),
        scaling_factor=scale,
        shift_factor=shift,
        latents=spec.latents,
        downsampling=int(factor) or None,
        code_sha256=source_sha256(function),
        device=device,
        dtype=dtype,
    )


def _numbers(model: Any, name: str, default: tuple[float, ...], source: str) -> tuple[float, ...]:
    """An attribute of as many numbers as the default has."""
    value = getattr(model, name, default)
    try:
        numbers = tuple(float(v) for v in (value if isinstance(value, tuple | list) else (value,)))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != len(default):
        kind = "a number" if len(default) == 1 else f"{len(default)} numbers, such as {default}"
        raise UserError(f"{source}: {name} must be {kind}, not {value!r}.")
    return numbers


def _function(target: str) -> Callable[[], Any]:
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise UserError(f"model python:{target} must read python:package.module:function or python:file.py:function.")
    module = _file(Path(place).expanduser()) if place.endswith(".py") else _module(place)
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"model python:{target}: {place} has no function {name!r}.")
    return function


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"model python:{path}: there is no such file.")
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    assert module_spec is not None  # a file that ends in .py has a loader
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their module up by name
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"model python:{path} fails at import: {type(error).__name__}: {error}") from error
    return module


def _module(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:  # as with `python -m`; an installed command does not look there by itself
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UserError(f"model python:{name} fails at import: {type(error).__name__}: {error}") from error


def _call(function: Callable[[], Any], source: str) -> Any:
    try:
        return function()
    except Exception as error:
        raise UserError(f"model {source} raised {type(error).__name__}: {error}") from error
