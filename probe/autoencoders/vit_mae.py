"""ViT-MAE of transformers as an autoencoder: all patches are seen, in their own order (mask ratio 0)."""

from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from probe.autoencoders.base import Autoencoder
from probe.autoencoders.repository import folder_of, is_local
from probe.config import ModelConfig
from probe.errors import UserError
from probe.reading import read_object, short

IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
"""What the encoder wants subtracted and divided by, where no preprocessor_config.json says otherwise."""


def load_vit_mae(spec: ModelConfig, source: str, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """Load a ``ViTMAEForPreTraining`` from safetensors.

    z (n, 1 + patches, hidden) is the encoder's whole token sequence, the class token first (paper, Section 4.2); images
    are in [0, 1], and the normalisation that the encoder wants is part of E and D.

    Raises:
        UserError: transformers is absent, the weights have no decoder, or the decoder gives patches, each normalised by
            its own mean and deviation (norm_pix_loss), from which no image can be had.
    """
    try:
        from transformers import ViTMAEForPreTraining
        from transformers.utils.logging import disable_progress_bar
    except ImportError:
        raise UserError(f"model {source} needs transformers; pip install 'latent-probe[transformers]'.") from None
    from probe.autoencoders.pretrained import from_pretrained

    disable_progress_bar()
    # Attention written out: the fused kernels have no forward derivative, which certificates need.
    model = from_pretrained(
        ViTMAEForPreTraining, spec, source, dtype=dtype, mask_ratio=0.0, attn_implementation="eager"
    )
    settings = model.config
    if settings.norm_pix_loss:
        raise UserError(
            f"model {source} was trained with norm_pix_loss: D(z) is patches without their means and deviations, not "
            "an image, and so f(z) = E(D(z)) is undefined."
        )
    model.eval().requires_grad_(False).to(device)
    mean, std = (
        torch.tensor(value, dtype=dtype, device=device).view(1, -1, 1, 1) for value in _normalisation(spec, source)
    )
    patches = model.vit.embeddings.patch_embeddings.num_patches
    order = torch.arange(patches, device=device).view(1, -1)

    def encode(x: Tensor) -> Tensor:
        noise = order.to(dtype).expand(len(x), -1)  # patches are sorted by it, and so stay where they are
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
        latents=spec.latents,
        channels=settings.num_channels,
        side=int(settings.image_size),
        device=device,
        dtype=dtype,
    )


def _normalisation(spec: ModelConfig, source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel of images in [0, 1]."""
    file = "preprocessor_config.json"
    path = folder_of(spec, source) / file
    if not is_local(source):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError

        with suppress(HfHubHTTPError, OSError):  # there need not be one
            path = Path(hf_hub_download(source, file, subfolder=spec.subfolder, revision=spec.revision))
    settings = {**IMAGENET, **(read_object(path) if path.is_file() else {})}
    mean, deviation = settings["image_mean"], settings["image_std"]
    for name, values in (("image_mean", mean), ("image_std", deviation)):
        numbers = isinstance(values, list | tuple) and all(type(one) in (int, float) for one in values)
        if not numbers or len(values) != 3 or (name == "image_std" and min(values) <= 0):
            raise UserError(f"{path}: {name} must be three numbers (deviations above 0), not {short(values)}.")
    return tuple(mean), tuple(deviation)
