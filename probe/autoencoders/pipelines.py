"""Raw latents from scaled ones as each diffusion pipeline computes them before it decodes (diffusers 0.42).

Written from the pipelines, independently of ``coordinates.RULES``; ``probe models`` compares the two.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders.coordinates import RULES


def _as_it_is(z: Tensor, _vae: Any) -> Tensor:
    return z


def _divided(z: Tensor, vae: Any) -> Tensor:
    return 1 / vae.config.scaling_factor * z


def _divided_and_shifted(z: Tensor, vae: Any) -> Tensor:
    return (z / vae.config.scaling_factor) + vae.config.shift_factor


def _standardised(z: Tensor, mean: Any, std: Any, factor: float = 1.0) -> Tensor:
    mean, std = (torch.as_tensor(value).view(1, -1, *(1,) * (z.ndim - 2)) for value in (mean, std))
    return z * std / factor + mean


def _of_settings(z: Tensor, vae: Any) -> Tensor:
    return _standardised(z, vae.config.latents_mean, vae.config.latents_std)


def _of_settings_and_factor(z: Tensor, vae: Any) -> Tensor:
    return _standardised(z, vae.config.latents_mean, vae.config.latents_std, vae.config.scaling_factor)


def _of_buffers_and_factor(z: Tensor, vae: Any) -> Tensor:
    return _standardised(z, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)


def _of_sd_and_flux(z: Tensor, vae: Any) -> Tensor:
    if vae.config.latents_mean is not None:  # StableDiffusionXLPipeline
        return _of_settings_and_factor(z, vae)
    return _divided(z, vae) if vae.config.shift_factor is None else _divided_and_shifted(z, vae)


def _of_ltx_audio(z: Tensor, vae: Any) -> Tensor:
    packed = z.transpose(1, 2).flatten(2, 3) * vae.latents_std + vae.latents_mean
    return packed.unflatten(2, (z.shape[1], z.shape[3])).transpose(1, 2)


def _of_flux2(z: Tensor, vae: Any) -> Tensor:
    n, c, h, w = z.shape
    patches = z.view(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)
    std = torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps)
    patches = _standardised(patches, vae.bn.running_mean, std)
    return patches.reshape(n, c, 2, 2, h // 2, w // 2).permute(0, 1, 4, 2, 5, 3).reshape(n, c, h, w)


RAW: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "AsymmetricAutoencoderKL": _divided,  # StableDiffusionInpaintPipeline
    "AutoencoderDC": _divided,  # SanaPipeline
    "AutoencoderKL": _of_sd_and_flux,  # StableDiffusion(XL|3)Pipeline, FluxPipeline
    "AutoencoderKLAllegro": _divided,  # AllegroPipeline
    "AutoencoderKLCogVideoX": _divided,  # CogVideoXPipeline
    "AutoencoderKLFlux2": _of_flux2,  # Flux2Pipeline
    "AutoencoderKLHunyuanImage": _divided,  # HunyuanImagePipeline
    "AutoencoderKLHunyuanImageRefiner": _divided,  # HunyuanImageRefinerPipeline
    "AutoencoderKLHunyuanVideo": _divided,  # HunyuanVideoPipeline
    "AutoencoderKLHunyuanVideo15": _divided,  # HunyuanVideo15Pipeline
    "AutoencoderKLLTX2Audio": _of_ltx_audio,  # LTX2Pipeline
    "AutoencoderKLLTX2Video": _of_buffers_and_factor,  # LTX2Pipeline
    "AutoencoderKLLTXVideo": _of_buffers_and_factor,  # LTXPipeline
    "AutoencoderKLMagvit": _divided,  # EasyAnimatePipeline
    "AutoencoderKLMiniMaxH3": _of_settings,  # MiniMaxH3 (modular)
    "AutoencoderKLMiniMaxH3Audio": _of_settings,  # MiniMaxH3 (modular)
    "AutoencoderKLMochi": _of_settings_and_factor,  # MochiPipeline
    "AutoencoderKLQwenImage": _of_settings,  # QwenImagePipeline
    "AutoencoderKLQwenImage21": _of_settings,  # QwenImage21Pipeline
    "AutoencoderKLTemporalDecoder": _divided,  # StableVideoDiffusionPipeline
    "AutoencoderKLWan": _of_settings,  # WanPipeline
    "AutoencoderOobleck": _as_it_is,  # StableAudioPipeline, AceStepPipeline
    "AutoencoderRAE": _as_it_is,  # no pipeline; encode and decode do it
    "AutoencoderSAME": _as_it_is,  # StableAudio3Pipeline
    "AutoencoderTiny": _divided_and_shifted,  # FluxPipeline, and with a shift of 0 StableDiffusionPipeline
    "Cosmos3AVAEAudioTokenizer": _as_it_is,  # Cosmos3OmniPipeline
    "Kandinsky6SRVAE": _divided,  # Kandinsky6SRPipeline
    "LongCatAudioDiTVae": _as_it_is,  # LongCatAudioDiTPipeline
    "VQModel": _divided,  # LDMSuperResolutionPipeline
}


def with_settings(cls: Any, config: dict[str, Any], channels: int) -> Any:
    """A model of the class with non-trivial factor, shift, means and deviations, so that a missed one shows."""
    rule, names = RULES.get(cls.__name__), inspect.signature(cls.__init__).parameters
    settings: dict[str, Any] = {}
    if rule is not None and "scaling_factor" in names:
        settings["scaling_factor"] = 0.7
    if rule is not None and rule.shift:
        settings["shift_factor"] = 0.3
    elif rule is not None and rule.statistics == "config":
        settings["latents_mean"] = [0.1 * i - 0.2 for i in range(channels)]
        settings["latents_std"] = [0.5 + 0.2 * i for i in range(channels)]
    model = cls(**{**config, **settings})
    for name, value in model.named_buffers():
        if name.rpartition(".")[2] in ("latents_mean", "_latents_mean", "running_mean"):
            value.copy_(0.3 * torch.randn(value.shape))
        elif name.rpartition(".")[2] in ("latents_std", "_latents_std", "running_var"):
            value.copy_(0.5 + torch.rand(value.shape))
    return model
