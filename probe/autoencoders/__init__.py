"""Autoencoders: where E and D come from."""

import logging
from importlib.resources import files

import torch

from probe.autoencoders.base import Autoencoder, check_loaded, device_of
from probe.config import ModelConfig
from probe.errors import UserError

__all__ = ["Autoencoder", "device_of", "embedded_names", "load_autoencoder", "outline"]

log = logging.getLogger("probe")
_EMBEDDED = files("probe") / "autoencoders" / "embedded"


def load_autoencoder(spec: ModelConfig | str) -> Autoencoder:
    """Load an autoencoder, ready to be evaluated.

    Args:
        spec: a source (``embedded:NAME``, hub id, folder, ``python:...``), or the whole ``model`` configuration.

    Raises:
        UserError: it cannot be found, is not safe to load, is not an autoencoder, or its weights are not all used or
            not finite; one sentence says which.
    """
    if isinstance(spec, str):
        spec = ModelConfig(source=spec)
    device_of(spec.device)  # refused before a large model is loaded
    kind, _, name = spec.source.partition(":")
    if kind == "python":
        from probe.autoencoders.user import load_user

        model = load_user(spec, name)
    else:
        from probe.autoencoders.pretrained import load_pretrained

        model = load_pretrained(spec, _embedded(name) if kind == "embedded" else spec.source)
    check_loaded(model)
    for warning in model.warnings:
        log.warning(f"warning: {warning}")
    if spec.channels_last:
        for module in model.modules:
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def outline(spec: ModelConfig) -> Autoencoder | None:
    """A model from its config.json alone, without weights, on the meta device; None where it has to be loaded.

    Raises:
        UserError: it cannot be found, or is not an autoencoder.
    """
    kind, _, name = spec.source.partition(":")
    if kind == "python":
        return None
    from probe.autoencoders.pretrained import outline_of

    return outline_of(spec, _embedded(name) if kind == "embedded" else spec.source)


def embedded_names() -> list[str]:
    """The autoencoders that come with the package."""
    return sorted(p.name for p in _EMBEDDED.iterdir() if p.is_dir() and (p / "config.json").is_file())


def _embedded(name: str) -> str:
    if name not in embedded_names():
        replaced = " (cifar-attractors replaced cifar-kl)" if name == "cifar-kl" else ""
        names = ", ".join(embedded_names())
        raise UserError(f"there is no embedded autoencoder {name!r}; the embedded ones: {names}{replaced}.")
    return str(_EMBEDDED / name)
