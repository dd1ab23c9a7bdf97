"""How a class of diffusers becomes an encoder and a decoder, from what its class and its configuration say.

Here and in the modules beside it, diffusers is imported where a model needs it: it takes longer than torch.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import CRITICAL, getLogger
from typing import Any, Literal
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from probe.autoencoders.base import Autoencoder, device_of
from probe.autoencoders.coordinates import coordinates_of, number, statistics
from probe.config import ModelConfig
from probe.errors import UserError
from probe.files import source_sha256

Kind = Literal["image", "video", "audio"]
Function = Callable[[Tensor], Tensor]

RANGES: dict[str, tuple[float, float]] = {"AutoencoderRAE": (0.0, 1.0)}
"""Classes of diffusers with a range other than [-1, 1]: the RAE takes [0, 1] and normalises for its frozen encoder."""
UNDEFINED = {"MMAudioVAE": "its encode takes a waveform, and its decode gives a spectrogram"}
"""Classes for which f is undefined although their signatures do not show it: the reason."""
DOWNSAMPLING = {
    "AutoencoderKL": "block_out_channels",
    "VQModel": "block_out_channels",
    "AutoencoderTiny": "encoder_block_out_channels",
    "AsymmetricAutoencoderKL": "down_block_out_channels",
}
"""Settings with one entry per block, each block but the last halving the side. Shapes of other classes are tried."""
ALLEGRO = "AutoencoderKLAllegro"
"""Encodes in tiles only, and decodes to (n, frames, channels, H, W)."""
ROW_BY_ROW = (ALLEGRO, "AutoencoderKLHunyuanVideo15")
"""Classes whose tiles or attention masks fit one row only (diffusers 0.42)."""


def adapted(
    model: Any, spec: ModelConfig, warnings: tuple[str, ...] = (), device: torch.device | None = None
) -> Autoencoder:
    """A model of diffusers, or of ours in its format, as an ``Autoencoder``; on the device of the specification, or the
    given one.

    Raises:
        UserError: its configuration has an invalid scaling, scaled latents are requested but unknown for the class, or
            tiling or slicing is requested and the class has none.
    """
    from probe.autoencoders.convolutional import ConvAutoencoder

    there = f"model {spec.source}"
    device = device_of(spec.device) if device is None else device
    model.eval().requires_grad_(False).to(device)
    settings, name, kind = model.config, type(model).__name__, kind_of(model)
    for wanted, always in (("tiling", (ALLEGRO,)), ("slicing", ROW_BY_ROW)):
        if getattr(spec, wanted) or name in always:
            try:
                getattr(model, f"enable_{wanted}")()
            except (AttributeError, NotImplementedError):
                raise UserError(f"a {name} has no {wanted}; leave model.{wanted} out.") from None
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
        downsampling=2 ** (len(settings[DOWNSAMPLING[name]]) - 1) if name in DOWNSAMPLING else None,
        kind=kind,
        channels=channels_of(model, kind),
        side=int(settings["sample_size"]) if ours else None,
        length={"video": spec.frames, "audio": spec.samples}.get(kind),
        quantisation=spec.quantisation if has_quantiser(model) else None,
        bins=int(settings["mel_bins"]) if kind == "audio" and settings.get("mel_bins") else None,
        code_sha256=source_sha256(type(model)) if spec.trust_remote_code else None,
        device=device,
        dtype=getattr(torch, spec.dtype),
    )


def autoencoder_classes() -> dict[str, type]:
    """The autoencoder classes of the installed diffusers, and ours, by name."""
    from diffusers import ModelMixin
    from diffusers.models import autoencoders

    from probe.autoencoders.convolutional import ConvAutoencoder

    found = {name: getattr(autoencoders, name) for name in dir(autoencoders)}
    classes = {name: cls for name, cls in found.items() if isinstance(cls, type) and issubclass(cls, ModelMixin)}
    return {**classes, ConvAutoencoder.__name__: ConvAutoencoder}


def class_of(config: dict[str, Any], where: str) -> type:
    """The class that a config.json names; UserError for a class that diffusers lacks or that has no latent map."""
    name = str(config.get("_class_name") or "model without _class_name")
    classes = autoencoder_classes()
    if name not in classes:
        raise UserError(
            f"{where} holds a {name}, which is not an autoencoder of the installed diffusers; `probe models` lists "
            "those. If this is a pipeline, set model.subfolder (usually vae)."
        )
    if reason := why_undefined(classes[name]):
        raise UserError(f"{where} holds a {name}, for which f(z) = E(D(z)) is undefined: {reason}; see `probe models`.")
    return classes[name]


def why_undefined(cls: type) -> str | None:
    """Why a class has no latent map f(z) = E(D(z)), from its methods; None where it has one."""
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
            return f"its {name} also needs {', '.join(needed)}"
    return None


def kind_of(model: nn.Module) -> Kind:
    """Audio for a model with a sample rate, video for one with a 3-D convolution in its encoder, else image."""
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
    """x to the mode of the posterior, or to the plain latent, or to its nearest code vectors."""
    parameters = inspect.signature(model.encode).parameters
    options = {"sample_posterior": False} if "sample_posterior" in parameters else {}

    if model.config.get("normalize_volume"):  # by the loudest sample of a batch, but rows must be independent
        return lambda x: torch.cat([latent_in(model.encode(row, **options)) for row in x.split(1)])
    # VidTok's own forward repeats the first frame before it encodes; otherwise a decoded video is shorter.
    causal = type(model).__name__ == "AutoencoderVidTok" and model.config["is_causal"]
    ahead = model.temporal_compression_ratio - 1 if causal else 0

    def encode(x: Tensor) -> Tensor:
        if ahead:
            x = torch.cat([x[:, :, :1].expand(-1, -1, ahead, -1, -1), x], dim=2)
        z = latent_in(model.encode(x, **options))
        # No straight-through gradient: the true derivative of the quantiser is 0.
        return model.quantize(z)[0].detach() + 0 * z if quantised else z

    return encode


def latent_in(output: Any) -> Tensor:
    """The deterministic latent in the output of an ``encode``; TypeError if it holds none of the usual fields."""
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
    """z to x. A quantiser inside is detached: the straight-through gradients of diffusers serve training, but they are
    not the Jacobian of f."""
    if has_quantiser(model):

        def from_codes(z: Tensor) -> Tensor:
            codes = z if quantised else model.quantize(z)[0].detach() + 0 * z
            if not model.config.get("lookup_from_codebook"):
                return model.decode(codes, force_not_quantize=True).sample
            # With that setting, decode takes unquantised latents as indices of code vectors.
            spatial = model.config.get("norm_type") == "spatial"
            return model.decoder(model.post_quant_conv(codes), codes if spatial else None)

        return from_codes
    options = {"num_frames": 1} if "num_frames" in inspect.signature(model.decode).parameters else {}

    def decode(z: Tensor) -> Tensor:
        output = model.decode(z, **options)
        output = output[0] if isinstance(output, tuple) else output
        x = output if isinstance(output, Tensor) else output.sample
        return x.transpose(1, 2) if type(model).__name__ == ALLEGRO else x

    return decode


def has_quantiser(model: Any) -> bool:
    """Whether the latent is available before and after quantisation."""
    return hasattr(model, "quantize") and "force_not_quantize" in inspect.signature(model.decode).parameters


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and bars of diffusers and transformers: the relevant ones are errors here."""
    from diffusers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logs = [getLogger(name) for name in ("diffusers", "transformers")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(CRITICAL)
    try:
        with catch_warnings():
            simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
