"""Folders as the public repositories of models have them, with random weights and few channels."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

SD_SHAPED: dict[str, Any] = {
    "act_fn": "silu",
    "block_out_channels": (8, 16, 16, 16),  # 128, 256, 512, 512
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 1,  # 2
    "norm_num_groups": 4,  # 32
    "out_channels": 3,
    "sample_size": 512,
    "scaling_factor": 0.18215,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
"""The configuration of Stable Diffusion 1.5's autoencoder (its own numbers at what is smaller here): one latent for
8 x 8 pixels."""
SDXL_SHAPED = SD_SHAPED | {"sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True}
TAESD_SHAPED: dict[str, Any] = {
    "decoder_block_out_channels": (8, 8, 8, 8),  # 64
    "encoder_block_out_channels": (8, 8, 8, 8),
    "num_decoder_blocks": (1, 1, 1, 1),  # 3, 3, 3, 1
    "num_encoder_blocks": (1, 1, 1, 1),  # 1, 3, 3, 3
    "latent_channels": 4,
}


def sd_shaped(
    folder: Path,
    *,
    subfolder: str | None = None,
    fp16: bool = False,
    sharded: bool = False,
    full: bool = True,
    seed: int = 0,
    **changes: Any,
) -> Path:
    """An autoencoder as Stable Diffusion 1.5's.

    Args:
        subfolder: where the autoencoder is; with ``vae`` the folder is a pipeline, with its model_index.json.
        fp16: write a variant in half precision too.
        sharded: the weights in several files with an index, by parts of a fifth.
        full: write the weights in float32; without them and with ``fp16``, the variant is all there is.
        changes: to :data:`SD_SHAPED`.
    """
    torch.manual_seed(seed)
    model = AutoencoderKL(**(SD_SHAPED | changes))
    home = folder / subfolder if subfolder else folder
    size: dict[str, Any] = {}
    if sharded:
        size = {"max_shard_size": sum(p.numel() for p in model.parameters()) * 4 // 5}
    if full:
        model.save_pretrained(home, **size)
    if fp16:
        halves = {"max_shard_size": size["max_shard_size"] // 2} if sharded else {}
        model.half().save_pretrained(home, variant="fp16", **halves)
    if subfolder == "vae":
        parts = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
        index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0", **parts}
        (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    (folder / "README.md").write_text("---\nlicense: mit\ntags: [stable-diffusion]\n---\n# A model for tests\n")
    return folder


def sdxl_shaped(folder: Path, **options: Any) -> Path:
    """An autoencoder as SDXL's."""
    return sd_shaped(folder, **(SDXL_SHAPED | options))


def taesd_shaped(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """An autoencoder as TAESD, the distilled one."""
    torch.manual_seed(seed)
    AutoencoderTiny(**(TAESD_SHAPED | changes)).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model for tests\n")
    return folder


def vit_mae_shaped(folder: Path) -> Path:
    """A ViT-MAE of transformers, small, with the normalisation of its images."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    decoder = {f"decoder_{name}": value for name, value in sizes.items()}
    settings = transformers.ViTMAEConfig(image_size=32, patch_size=8, **sizes, **decoder)
    transformers.ViTMAEForPreTraining(settings).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    return folder


OWN = """
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config


class Halving(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.5))

    def encode(self, x):
        return torch.nn.functional.avg_pool2d(x, 4) * self.scale

    def decode(self, z):
        return torch.nn.functional.interpolate(z, scale_factor=4)
"""


def with_code(folder: Path) -> Path:
    """A model that brings its class as a Python file."""
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "halving.py").write_text(OWN)
    config = {"_class_name": "Halving", "auto_map": {"AutoModel": "halving.Halving"}}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"scale": torch.tensor(0.25)}, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    return folder
