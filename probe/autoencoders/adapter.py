"""Encoder, decoder and shapes of an autoencoder of diffusers, from what its class and its configuration say."""

import inspect
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from probe.config import ModelConfig
from probe.errors import UserError

Kind = Literal["image", "video", "audio"]
Function = Callable[[Tensor], Tensor]

RANGES: dict[str, tuple[float, float]] = {"AutoencoderRAE": (0.0, 1.0)}
"""Classes of diffusers that do not take [-1, 1]: the RAE normalises images in [0, 1] as its frozen encoder wants."""
UNDEFINED = {"MMAudioVAE": "its encode takes a waveform, and its decode gives a spectrogram"}
"""Classes for which f is undefined, and no signature says so: why."""

TILED = ("AutoencoderKLAllegro",)
"""Classes that can encode in tiles only."""
FRAMES_FIRST = ("AutoencoderKLAllegro",)
"""Classes that take (n, channels, frames, H, W) and give back (n, frames, channels, H, W)."""
ROW_BY_ROW = ("AutoencoderKLAllegro", "AutoencoderKLHunyuanVideo15")
"""Classes whose tiles or attention masks fit one row only (diffusers 0.42)."""


def prepare(model: Any, spec: ModelConfig) -> None:
    """Switch on what a class cannot do without, and what the user wants.

    Raises:
        UserError: tiling or slicing is wanted, and the class has none.
    """
    name = type(model).__name__
    for wanted, always, switch in (("tiling", TILED, "enable_tiling"), ("slicing", ROW_BY_ROW, "enable_slicing")):
        if getattr(spec, wanted) or name in always:
            try:
                getattr(model, switch)()
            except (AttributeError, NotImplementedError):
                raise UserError(f"a {name} has no {wanted}; leave model.{wanted} out.") from None


def why_undefined(cls: type) -> str | None:
    """Why there is no latent map f(z) = E(D(z)) for a class, from its methods; None where there is one."""
    if cls.__name__ in UNDEFINED:
        return UNDEFINED[cls.__name__]
    missing = [name for name in ("encode", "decode") if not callable(getattr(cls, name, None))]
    if missing:
        return f"it has no {' and no '.join(missing)}"
    for name, given in (("encode", ()), ("decode", ("num_frames",))):
        parameters = inspect.signature(getattr(cls, name)).parameters
        if "num_inference_steps" in parameters:
            return f"its {name} is a diffusion sampler that draws noise"
        needed = [p.name for p in list(parameters.values())[2:] if p.default is p.empty and p.name not in given]
        if needed:
            return f"its {name} needs {', '.join(needed)} besides"
    return None


def kind_of(model: nn.Module) -> Kind:
    """A sample rate makes it audio, a 3-D convolution in the encoder video, else it is for images."""
    settings: Any = model.config
    if any(key in settings for key in ("sampling_rate", "sample_rate")):
        return "audio"
    encoder: Any = getattr(model, "encoder", None) or model
    # By name as well: some convolutions over time are built from 2-D ones.
    over_time = any(isinstance(m, nn.Conv3d) or "Conv3d" in type(m).__name__ for m in encoder.modules())
    return "video" if over_time else "image"


def channels_of(model: nn.Module, kind: Kind) -> int:
    """Channels of an input, before the class cuts it into patches or adds features."""
    settings: Any = model.config
    name = type(model).__name__
    if name == "AutoencoderKLMochi":  # counts the Fourier features that it adds
        return 3
    if name == "AutoencoderKLWan" and settings.get("patch_size"):  # counts the pixels of a patch
        return int(settings["in_channels"]) // int(settings["patch_size"]) ** 2
    keys = ("audio_channels", "num_channels", "input_channels", "encoder_in_channels", "in_channels")
    if settings.get("stereo") is not None:
        return 2 if settings["stereo"] else 1
    return next((int(settings[key]) for key in keys if settings.get(key)), 1 if kind == "audio" else 3)


def encoder_of(model: Any, quantised: bool = False) -> Function:
    """x to the mode of the posterior, or the plain latent, or its nearest code vectors."""
    parameters = inspect.signature(model.encode).parameters
    options = {"sample_posterior": False} if "sample_posterior" in parameters else {}

    if model.config.get("normalize_volume"):  # by the loudest sample of a whole batch: rows must not know of each other
        return lambda x: torch.cat([latent_in(model.encode(row, **options)) for row in x.split(1)])
    # VidTok's own forward repeats the first frame before it encodes; without, a decoded video is shorter.
    causal = type(model).__name__ == "AutoencoderVidTok" and model.config["is_causal"]
    ahead = model.temporal_compression_ratio - 1 if causal else 0

    def encode(x: Tensor) -> Tensor:
        if ahead:
            x = torch.cat([x[:, :, :1].expand(-1, -1, ahead, -1, -1), x], dim=2)
        z = latent_in(model.encode(x, **options))
        # No gradient straight through the quantiser: its true derivative is 0.
        return model.quantize(z)[0].detach() + 0 * z if quantised else z

    return encode


def latent_in(output: Any) -> Tensor:
    """The deterministic latent in what an ``encode`` returns.

    Raises:
        TypeError: it holds none of the fields that classes of diffusers use.
    """
    if isinstance(output, tuple):
        output = output[0]
    if isinstance(output, Tensor):
        return output
    posterior = getattr(output, "latent_dist", output)
    if callable(getattr(posterior, "mode", None)):
        return posterior.mode()
    for name in ("latent", "latents"):
        if isinstance(getattr(output, name, None), Tensor):
            return getattr(output, name)
    raise TypeError(f"encode returned a {type(output).__name__} without latent_dist, latent or latents")


def decoder_of(model: Any, quantised: bool = False) -> Function:
    """z to x. A quantiser inside is detached: diffusers lets gradients pass straight through it, which is good for
    training and no Jacobian of f."""
    if has_quantiser(model):

        def from_codes(z: Tensor) -> Tensor:
            codes = z if quantised else model.quantize(z)[0].detach() + 0 * z
            if not model.config.get("lookup_from_codebook"):
                return model.decode(codes, force_not_quantize=True).sample
            # With that setting, decode takes what is not quantised for numbers of code vectors.
            spatial = model.config.get("norm_type") == "spatial"
            return model.decoder(model.post_quant_conv(codes), codes if spatial else None)

        return from_codes
    options = {"num_frames": 1} if "num_frames" in inspect.signature(model.decode).parameters else {}

    def decode(z: Tensor) -> Tensor:
        output = model.decode(z, **options)
        output = output[0] if isinstance(output, tuple) else output
        x = output if isinstance(output, Tensor) else output.sample
        return x.transpose(1, 2) if type(model).__name__ in FRAMES_FIRST else x

    return decode


def has_quantiser(model: Any) -> bool:
    """Whether the latent can be had before and after quantisation."""
    return hasattr(model, "quantize") and "force_not_quantize" in inspect.signature(model.decode).parameters
