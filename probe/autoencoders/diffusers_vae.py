"""Autoencoders of diffusers, from the hub or a local folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders.base import Autoencoder
from probe.config import ModelConfig
from probe.errors import UserError

# How each class gives its latent: the posterior mode, or the plain latent (before quantisation, for VQModel, whose
# decoder quantises).
ENCODERS: dict[str, Callable[[Any], Tensor]] = {
    "AutoencoderKL": lambda output: output.latent_dist.mode(),
    "AsymmetricAutoencoderKL": lambda output: output.latent_dist.mode(),
    "AutoencoderTiny": lambda output: output.latents,
    "VQModel": lambda output: output.latents,
}


def load_diffusers(spec: ModelConfig, source: str, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """Load ``source``, a hub id or a folder with config.json and safetensors.

    Raises:
        UserError: absent or gated repository, a class that is not supported, or weights only in pickle form.
    """
    config = _read_config(spec, source)
    name = config.get("_class_name")
    if name not in ENCODERS:
        raise UserError(
            f"{_where(spec, source)} holds a {name or 'model without _class_name'}; supported classes are "
            f"{', '.join(ENCODERS)}. If this is a pipeline, set model.subfolder (usually vae)."
        )
    import diffusers

    model = _from_pretrained(getattr(diffusers, name), spec, source, dtype).eval().requires_grad_(False).to(device)
    settings = model.config
    latent = ENCODERS[name]
    return Autoencoder(
        source=spec.source,
        class_name=name,
        encoder=lambda x: latent(model.encode(x)),
        decoder=_quantising_decoder(model) if name == "VQModel" else lambda z: model.decode(z).sample,
        modules=(model,),
        scaling_factor=_number(settings, "scaling_factor", 1.0),
        shift_factor=_number(settings, "shift_factor", 0.0),
        latents=spec.latents,
        downsampling=_downsampling(name, settings),
        device=device,
        dtype=dtype,
    )


def _quantising_decoder(model: Any) -> Callable[[Tensor], Tensor]:
    """VQModel's decoder with its true derivative: the latent is replaced by code vectors, so that it is 0.

    diffusers lets gradients pass straight through the quantiser, which is good for training and no Jacobian of f.
    """

    def decode(z: Tensor) -> Tensor:
        quantised = model.quantize(z)[0].detach() + 0 * z
        return model.decode(quantised, force_not_quantize=True).sample

    return decode


def _number(settings: Any, key: str, default: float) -> float:
    value = settings.get(key)  # present but null in some repositories
    return default if value is None else float(value)


def _downsampling(name: str, settings: Any) -> int:
    blocks = settings["encoder_block_out_channels" if name == "AutoencoderTiny" else "block_out_channels"]
    if name == "AsymmetricAutoencoderKL":
        blocks = settings["down_block_out_channels"]
    return int(2 ** (len(blocks) - 1))


def _where(spec: ModelConfig, source: str) -> str:
    return f"model {source}" + (f", subfolder {spec.subfolder}" if spec.subfolder else "")


def _read_config(spec: ModelConfig, source: str) -> dict[str, Any]:
    """config.json, read before diffusers builds anything from it."""
    if Path(source).exists() or source.startswith((".", "/", "~")):
        path = Path(source).expanduser() / (spec.subfolder or "") / "config.json"
        if not path.is_file():
            inside = sorted(p.parent.name for p in Path(source).expanduser().glob("*/config.json"))
            hint = f"set model.subfolder to one of {', '.join(inside)}" if inside else "give a diffusers folder"
            raise UserError(f"{_where(spec, source)}: there is no {path}; {hint}.")
    else:
        path = _download_config(spec, source)
    try:
        config = json.loads(path.read_text())
    except ValueError:
        raise UserError(f"{_where(spec, source)}: config.json is not JSON; is the file complete?") from None
    if not isinstance(config, dict):
        raise UserError(f"{_where(spec, source)}: config.json must hold a JSON object.")
    return config


def _download_config(spec: ModelConfig, source: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = _where(spec, source)
    try:
        return Path(hf_hub_download(source, "config.json", subfolder=spec.subfolder, revision=spec.revision))
    except GatedRepoError:
        message = "is gated: accept its terms on the hub, then log in with `hf auth login` or set HF_TOKEN."
    except RepositoryNotFoundError:
        message = "is neither a local folder nor a repository of the hub that you may read; check the name, or log in."
    except RevisionNotFoundError:
        message = f"has no revision {spec.revision!r}."
    except LocalEntryNotFoundError:
        message = "is not in the local cache and the hub cannot be reached; check the network, or give a local folder."
    except EntryNotFoundError:
        message = "has no config.json there; if it is a pipeline, set model.subfolder (usually vae)."
    except HFValidationError:
        message = (
            "is neither a local folder nor a hub id of the form owner/name, and has no embedded: or python: prefix."
        )
    except (HfHubHTTPError, OSError) as error:
        message = f"cannot be fetched from the hub: {' '.join(str(error).split())[:200]}"
    raise UserError(f"{where} {message}")


def _from_pretrained(cls: Any, spec: ModelConfig, source: str, dtype: torch.dtype) -> Any:
    from diffusers.utils import logging

    where = _where(spec, source)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        # Safetensors only: a pickle runs code when it is opened.
        return cls.from_pretrained(
            str(Path(source).expanduser()) if Path(source).expanduser().exists() else source,
            subfolder=spec.subfolder,
            revision=spec.revision,
            use_safetensors=True,
            torch_dtype=dtype,
        )
    except OSError as error:
        if _has_pickle(spec, source) or ".bin" in str(error):
            raise UserError(
                f"{where} has weights in pickle form only (.bin), which can run code when opened; convert them to "
                "safetensors first."
            ) from None
        raise UserError(
            f"{where}: no readable diffusion_pytorch_model.safetensors ({' '.join(str(error).split())[:200]})."
        ) from None
    except Exception as error:
        # diffusers and safetensors raise a dozen types here, all for files that do not fit each other.
        raise UserError(f"{where}: the weights do not load: {' '.join(str(error).split())[:300]}") from error
    finally:
        logging.set_verbosity(verbosity)


def _has_pickle(spec: ModelConfig, source: str) -> bool:
    folder = Path(source).expanduser() / (spec.subfolder or "")
    return any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.ckpt"))
