"""A user's own autoencoder: ``python:package.module:function`` or ``python:path/to/file.py:function``."""

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from probe.autoencoders.base import Autoencoder, device_of
from probe.config import ModelConfig
from probe.errors import Interruption, UserError, leaves
from probe.files import source_sha256
from probe.trust import module_specs


def load_user(spec: ModelConfig, target: str) -> Autoencoder:
    """Call the named function, without arguments, and wrap the object it returns.

    The object has ``encode(x) -> z`` and ``decode(z) -> x``, deterministic and with independent rows. It may have
    ``image_range`` (default -1, 1), ``scaling_factor``, ``shift_factor``, ``downsampling``, and ``channels = 1`` for
    grey images. Modules (the object itself, or its attributes) are moved to the device and put into eval mode.

    Raises:
        UserError: the function cannot be found or called, or its result lacks encode or decode; or the code calls
            ``sys.exit`` or the like, now or later in encode and decode.
    """
    with _contained(f"model {spec.source} fails at import:"):
        function = _function(target)
    with _contained(f"model {spec.source} raised"):
        try:
            inspect.signature(function).bind()
        except TypeError:
            raise UserError(f"model {spec.source} takes arguments; name a function that requires none.") from None
        except ValueError:  # written in C, without a signature
            pass
        return _wrapped(spec, function, function())


def _wrapped(spec: ModelConfig, function: Callable[[], Any], model: Any) -> Autoencoder:
    device, dtype = device_of(spec.device), getattr(torch, spec.dtype)
    if model is None or isinstance(model, type):
        what = "None" if model is None else f"the class {model.__name__}, not an object of it"
        raise UserError(f"{spec.source} returned {what}; return an object with encode() and decode().")
    for name in ("encode", "decode"):
        if not callable(getattr(model, name, None)):
            raise UserError(f"{spec.source} returned a {type(model).__name__} without {name}(); it needs both methods.")
    members = vars(model).values() if hasattr(model, "__dict__") else ()
    found = (model,) if isinstance(model, nn.Module) else tuple(m for m in members if isinstance(m, nn.Module))
    for module in found:
        nn.Module.to(module, device, dtype)  # that of diffusers warns about every change of type
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
        encoder=_never_exiting(model.encode, f"{spec.source}: encode()"),
        decoder=_never_exiting(model.decode, f"{spec.source}: decode()"),
        modules=found,
        image_range=(low, high),
        scaling_factor=scale,
        shift_factor=shift,
        latents=spec.latents,
        downsampling=int(factor) or None,
        channels=1 if _is_grey(model) else 3,
        code_sha256=source_sha256(function),
        device=device,
        dtype=dtype,
    )


def _is_grey(model: Any) -> bool:
    """Whether it declares grey images. Other numbers may be a width of its own."""
    channels = getattr(model, "channels", None)
    return isinstance(channels, int) and channels == 1


def _numbers(model: Any, name: str, default: tuple[float, ...], source: str) -> tuple[float, ...]:
    """An attribute with as many numbers as the default."""
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
    module = _file(Path(os.path.expanduser(place))) if place.endswith(".py") else _module(place)
    function = getattr(module, name, None)
    if isinstance(function, nn.Module):
        raise UserError(f"model python:{target}: {name} is a model; name a function that returns it.")
    if not callable(function):
        raise UserError(f"model python:{target}: {place} has no function {name!r}.")
    return function


def _file(path: Path) -> ModuleType:
    """A file as a module of its own, whatever its name, and never from an older .pyc."""
    if not os.path.isfile(path):
        raise UserError(f"model python:{path}: there is no such file.")
    name = f"probe_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None  # .py files have a loader
    module = importlib.util.module_from_spec(module_spec)
    before = {name: sys.modules[name]} if name in sys.modules else {}
    sys.modules[name] = module  # dataclasses look their module up by name
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        sys.modules.update(before)
        if isinstance(error, ImportError):
            raise UserError(f"model python:{path} fails at import: {error}{_hint(path, error)}.") from error
        raise
    return module


def _hint(path: Path, error: ImportError) -> str:
    """What to do about a failed import in a file."""
    if "relative import" in str(error):
        return "; for relative imports name the module, python:package.module:function"
    top = (error.name or "").partition(".")[0]
    beside = top and ((path.parent / f"{top}.py").is_file() or (path.parent / top).is_dir())
    return f"; set PYTHONPATH={path.resolve().parent} for modules beside the file" if beside else ""


def _module(name: str) -> ModuleType:
    """A module by name; UserError if an imported one has the name already: json.py, or a file of another folder."""
    for spec in module_specs(name):
        there = getattr(sys.modules.get(spec.name), "__file__", None)
        if spec.name not in sys.modules or not spec.has_location or not spec.origin:
            continue
        if there is None or Path(there).resolve() != Path(spec.origin).resolve():
            raise UserError(
                f"model python:{name}: the name {spec.name} is taken by another module ({there or 'built in'}); "
                f"name the file, python:{spec.origin}:function, or rename it."
            )
    if os.getcwd() not in sys.path:  # as with `python -m`; installed commands do not add it
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    return importlib.import_module(name)


def _never_exiting(function: Callable[[Tensor], Any], what: str) -> Callable[[Tensor], Any]:
    """A method that cannot end the process through ``sys.exit``; ordinary errors pass."""

    def call(value: Tensor) -> Any:
        with _contained(f"model {what} raised", "; it must return a tensor.", ordinary=False):
            return function(value)

    return call


@contextmanager
def _contained(before: str, after: str = "", *, ordinary: bool = True) -> Iterator[None]:
    """Whatever a user's code raises becomes one sentence, SystemExit and other BaseExceptions included.

    ordinary: also errors that do not end the process.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt, Interruption):
        raise
    except BaseException as error:
        if isinstance(error, Exception) and not ordinary and not leaves(error):
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if isinstance(error, SystemExit):
            what = f"SystemExit (sys.exit({error.code!r})), which would end the whole run; remove it"
        raise UserError(f"{before} {what:.300}{after}") from error
