"""A user's own autoencoder: ``python:package.module:function`` or ``python:path/to/file.py:function``."""

import importlib
import importlib.util
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


def load_user(spec: ModelConfig, target: str, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """Call the named function, without arguments, and wrap what it returns.

    The object has ``encode(x) -> z`` and ``decode(z) -> x``, deterministic, rows independent. It may have
    ``image_range`` (default -1, 1), ``scaling_factor``, ``shift_factor`` and ``downsampling``. Modules are moved to
    the device and put into eval mode: the object itself, or those among its attributes.

    Raises:
        UserError: the function cannot be found or called, or its result lacks encode or decode.
    """
    model = _call(_function(target), spec.source)
    for name in ("encode", "decode"):
        if not callable(getattr(model, name, None)):
            raise UserError(f"{spec.source} returned a {type(model).__name__} without {name}(); it needs both methods.")
    members = vars(model).values() if hasattr(model, "__dict__") else ()
    found = (model,) if isinstance(model, nn.Module) else tuple(m for m in members if isinstance(m, nn.Module))
    for module in found:
        module.to(device, dtype).eval().requires_grad_(False)
    low, high = getattr(model, "image_range", (-1.0, 1.0))
    return Autoencoder(
        source=spec.source,
        class_name=type(model).__name__,
        encoder=model.encode,
        decoder=model.decode,
        modules=found,
        image_range=(float(low), float(high)),
        scaling_factor=float(getattr(model, "scaling_factor", 1.0)),
        shift_factor=float(getattr(model, "shift_factor", 0.0)),
        latents=spec.latents,
        downsampling=getattr(model, "downsampling", None),
        device=device,
        dtype=dtype,
    )


def _function(target: str) -> Callable[[], Any]:
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise UserError(f"model python:{target} must read python:package.module:function or python:file.py:function.")
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
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
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UserError(f"model python:{name} fails at import: {type(error).__name__}: {error}") from error


def _call(function: Callable[[], Any], source: str) -> Any:
    try:
        return function()
    except Exception as error:
        raise UserError(f"model {source} raised {type(error).__name__}: {error}") from error
