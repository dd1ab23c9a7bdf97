"""Autoencoders of diffusers as the rest of the tool sees them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from logging import CRITICAL
from typing import Any
from warnings import catch_warnings, simplefilter

import torch

from probe.autoencoders.adapter import (
    RANGES,
    channels_of,
    decoder_of,
    encoder_of,
    has_quantiser,
    kind_of,
    prepare,
    why_undefined,
)
from probe.autoencoders.base import Autoencoder
from probe.autoencoders.convolutional import ConvAutoencoder
from probe.autoencoders.coordinates import coordinates_of, number, statistics
from probe.config import ModelConfig
from probe.errors import UserError
from probe.files import source_sha256


def adapted(
    model: Any, spec: ModelConfig, device: torch.device, dtype: torch.dtype, warnings: tuple[str, ...] = ()
) -> Autoencoder:
    """A model of diffusers, or of ours in its format, as an ``Autoencoder``.

    Raises:
        UserError: its configuration has a scaling that is none, or scaled latents are wanted and not known.
    """
    there = f"model {spec.source}"
    model.eval().requires_grad_(False).to(device)
    settings, name, kind = model.config, type(model).__name__, kind_of(model)
    prepare(model, spec)
    quantised = has_quantiser(model) and spec.quantisation == "quantised"
    ours = isinstance(model, ConvAutoencoder)
    return Autoencoder(
        source=spec.source,
        class_name=name,
        encoder=encoder_of(model, quantised),
        decoder=decoder_of(model, quantised),
        modules=(model,),
        image_range=model.image_range if ours else RANGES.get(name, (-1.0, 1.0)),
        scaling_factor=number(settings, "scaling_factor", there) or 1.0,
        shift_factor=number(settings, "shift_factor", there) or 0.0,
        latents_mean=statistics(settings, "latents_mean", there),
        latents_std=statistics(settings, "latents_std", there),
        latents=spec.latents,
        coordinates=coordinates_of(model, there) if spec.latents == "scaled" else None,
        warnings=warnings,
        downsampling=_downsampling(name, settings),
        kind=kind,
        channels=channels_of(model, kind),
        side=int(settings["sample_size"]) if ours else None,
        length={"video": spec.frames, "audio": spec.samples}.get(kind),
        quantisation=spec.quantisation if has_quantiser(model) else None,
        bins=int(settings["mel_bins"]) if kind == "audio" and settings.get("mel_bins") else None,
        code_sha256=source_sha256(type(model)) if spec.trust_remote_code else None,
        device=device,
        dtype=dtype,
    )


def autoencoder_classes() -> dict[str, type]:
    """The classes that the installed diffusers counts among its autoencoders, and ours, by name."""
    from diffusers import ModelMixin
    from diffusers.models import autoencoders

    found = {name: getattr(autoencoders, name) for name in dir(autoencoders)}
    classes = {name: cls for name, cls in found.items() if isinstance(cls, type) and issubclass(cls, ModelMixin)}
    return {**classes, ConvAutoencoder.__name__: ConvAutoencoder}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of diffusers and transformers, which here are errors, or of no concern."""
    names = [name for name in ("diffusers", "transformers") if name in sys.modules]
    logs = [import_module(f"{name}.utils.logging") for name in names]
    levels = [log.get_verbosity() for log in logs]
    for log in logs:
        log.set_verbosity(CRITICAL)
    try:
        with catch_warnings():
            simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.set_verbosity(level)


def class_of(config: dict[str, Any], where: str) -> type:
    """The class that a config.json names.

    Raises:
        UserError: diffusers has none of that name, or there is no latent map for it.
    """
    name = str(config.get("_class_name") or "model without _class_name")
    classes = autoencoder_classes()
    if name not in classes:
        raise UserError(
            f"{where} holds a {name}, which is no autoencoder of the installed diffusers; `probe models` lists those. "
            "If this is a pipeline, set model.subfolder (usually vae)."
        )
    reason = why_undefined(classes[name])
    if reason:
        raise UserError(f"{where} holds a {name}, for which f(z) = E(D(z)) is undefined: {reason}; see `probe models`.")
    return classes[name]


def _downsampling(name: str, settings: Any) -> int | None:
    """H / h of the classes whose blocks say so; the shapes of the others are tried out."""
    keys = {
        "AutoencoderKL": "block_out_channels",
        "VQModel": "block_out_channels",
        "AutoencoderTiny": "encoder_block_out_channels",
        "AsymmetricAutoencoderKL": "down_block_out_channels",
    }
    return 2 ** (len(settings[keys[name]]) - 1) if name in keys else None
