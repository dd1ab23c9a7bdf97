"""ViT-MAE of transformers as an autoencoder that sees all patches, in their own order (mask ratio 0)."""

from typing import Any

import torch
from torch import Tensor

from probe.autoencoders.base import Autoencoder, device_of
from probe.autoencoders.coordinates import check_number
from probe.autoencoders.loading import check_transformers, from_pretrained
from probe.autoencoders.repository import optional_file, where
from probe.autoencoders.weights import check_bounds
from probe.config import ModelConfig
from probe.errors import UserError
from probe.reading import read_object

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
"""The normalisation of the encoder's inputs, unless preprocessor_config.json has another."""


def load_vit_mae(spec: ModelConfig, source: str, config: dict[str, Any]) -> Autoencoder:
    """Load a ``ViTMAEForPreTraining`` from safetensors.

    z (n, 1 + patches, hidden) is the encoder's whole token sequence, the class token first (paper, Section 4.2). Images
    are in [0, 1]; the normalisation of the encoder's inputs is part of E and D.

    Raises:
        UserError: transformers is absent, the weights have no decoder, scaled latents are requested, or the decoder
            returns patches normalised by their own mean and deviation (norm_pix_loss), which give no image.
    """
    if spec.latents == "scaled":
        raise UserError(f"model {source}: latents of a ViT-MAE have no scaled coordinates; use model.latents=raw.")
    check_transformers(source)
    check_bounds(config, where(spec, source))
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    model, warnings = from_pretrained(
        ViTMAEForPreTraining,
        spec,
        source,
        lambda: ViTMAEForPreTraining(ViTMAEConfig.from_dict(config)),
        mask_ratio=0.0,
    )
    settings = model.config
    if not isinstance(settings.image_size, int):
        raise UserError(f"model {source}: image_size in config.json must be one number, the side of square images.")
    if settings.norm_pix_loss:
        raise UserError(
            f"model {source} was trained with norm_pix_loss: D(z) is patches without their means and deviations, not "
            "an image, so f(z) = E(D(z)) is undefined."
        )
    device, dtype = device_of(spec.device), getattr(torch, spec.dtype)
    model.eval().requires_grad_(False).to(device)
    mean, std = (
        torch.tensor(value, dtype=dtype, device=device).view(1, -1, 1, 1)
        for value in _normalisation(spec, source, settings.num_channels)
    )
    patches = model.vit.embeddings.patch_embeddings.num_patches
    order = torch.arange(patches, device=device).view(1, -1)

    def encode(x: Tensor) -> Tensor:
        noise = order.float().expand(len(x), -1)  # patches are sorted by it, so they keep their order, in any dtype
        return model.vit((x - mean) / std, noise=noise).last_hidden_state

    def decode(z: Tensor) -> Tensor:
        return model.unpatchify(model.decoder(z, order.expand(len(z), -1)).logits) * std + mean

    return Autoencoder(
        source=spec.source,
        class_name=type(model).__name__,
        encoder=encode,
        decoder=decode,
        modules=(model,),
        image_range=(0.0, 1.0),
        warnings=warnings,
        channels=settings.num_channels,
        side=int(settings.image_size),
        device=device,
        dtype=dtype,
    )


def _normalisation(spec: ModelConfig, source: str, channels: int) -> tuple[list[float], list[float]]:
    """Mean and deviation per channel of images in [0, 1]."""
    file, there = "preprocessor_config.json", where(spec, source)
    path = optional_file(spec, source, file)
    settings = {**IMAGENET, **(read_object(path) if path else {})}
    for key in IMAGENET:
        if not isinstance(settings[key], list) or len(settings[key]) not in (1, channels):
            raise UserError(f"{there}: {key} in {file} must be a list of {channels} numbers.")
        for value in settings[key]:
            check_number(value, f"{key} in {file}", there, positive=key == "image_std")
    return settings["image_mean"], settings["image_std"]
