"""Autoencoders of diffusers, from the hub or a local folder."""

import json
from pathlib import Path
from typing import Any

import torch

from probe.autoencoders.adapter import (
    RANGES,
    channels_of,
    decoder_of,
    encoder_of,
    has_quantiser,
    kind_of,
    prepare,
    statistics,
    why_undefined,
)
from probe.autoencoders.base import Autoencoder
from probe.autoencoders.convolutional import ConvAutoencoder
from probe.autoencoders.single_file import PICKLES, config_source, is_single_file, load_single_file
from probe.config import ModelConfig
from probe.errors import UserError


def load_diffusers(spec: ModelConfig, source: str, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """Load ``source``, a hub id or a folder with config.json and safetensors.

    Raises:
        UserError: absent or gated repository, a class that is not supported, or weights only in pickle form.
    """
    if is_single_file(source):
        about = config_source(spec, source)
        # Without a configuration diffusers guesses one from the names of the weights, of this class.
        spec = _located(spec, about) if about else spec
        config = _read_config(spec, about) if about else {"_class_name": "AutoencoderKL"}
        model = load_single_file(_class(config, f"model {source}"), spec, source, about, dtype)
    else:
        spec = _located(spec, source)
        config = _read_config(spec, source)
        model = _from_pretrained(_class(config, _where(spec, source)), spec, source, dtype)
    return adapted(model, spec, device, dtype)


def _located(spec: ModelConfig, source: str) -> ModelConfig:
    """A pipeline keeps its autoencoder in the subfolder vae; no other is guessed."""
    if spec.subfolder is not None:
        return spec
    inside = spec.model_copy(update={"subfolder": "vae"})
    if _is_local(source):
        root = Path(source).expanduser()
        return inside if not (root / "config.json").exists() and (root / "vae" / "config.json").is_file() else spec
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    try:
        hf_hub_download(source, "config.json", revision=spec.revision)
    except EntryNotFoundError:  # offline: not in the cache
        try:
            hf_hub_download(source, "config.json", subfolder="vae", revision=spec.revision)
            return inside
        except (EntryNotFoundError, HfHubHTTPError, OSError):
            return spec
    except (HfHubHTTPError, HFValidationError, OSError):
        return spec  # what is wrong is said when it is read
    return spec


def _is_local(source: str) -> bool:
    return Path(source).expanduser().exists() or source.startswith((".", "/", "~"))


def adapted(model: Any, spec: ModelConfig, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """A model of diffusers, or of ours in its format, as an ``Autoencoder``."""
    model.eval().requires_grad_(False).to(device)
    settings, name, kind = model.config, type(model).__name__, kind_of(model)
    prepare(model)
    quantised = has_quantiser(model) and spec.quantisation == "quantised"
    ours = isinstance(model, ConvAutoencoder)
    return Autoencoder(
        source=spec.source,
        class_name=name,
        encoder=encoder_of(model, quantised),
        decoder=decoder_of(model, quantised),
        modules=(model,),
        image_range=model.image_range if ours else RANGES.get(name, (-1.0, 1.0)),
        scaling_factor=_number(settings, "scaling_factor", 1.0),
        shift_factor=_number(settings, "shift_factor", 0.0),
        latents_mean=statistics(settings, "latents_mean"),
        latents_std=statistics(settings, "latents_std"),
        latents=spec.latents,
        downsampling=_downsampling(name, settings),
        kind=kind,
        channels=channels_of(model, kind),
        side=int(settings["sample_size"]) if ours else None,
        length={"video": spec.frames, "audio": spec.samples}.get(kind),
        quantisation=spec.quantisation if has_quantiser(model) else None,
        bins=int(settings["mel_bins"]) if kind == "audio" and settings.get("mel_bins") else None,
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


def _class(config: dict[str, Any], where: str) -> type:
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


def _number(settings: Any, key: str, default: float) -> float:
    value = settings.get(key)  # present but null in some repositories
    return default if value is None else float(value)


def _downsampling(name: str, settings: Any) -> int | None:
    """H / h of the classes whose blocks say so; the shapes of the others are tried out."""
    keys = {
        "AutoencoderKL": "block_out_channels",
        "VQModel": "block_out_channels",
        "AutoencoderTiny": "encoder_block_out_channels",
        "AsymmetricAutoencoderKL": "down_block_out_channels",
    }
    return 2 ** (len(settings[keys[name]]) - 1) if name in keys else None


def _where(spec: ModelConfig, source: str) -> str:
    return f"model {source}" + (f", subfolder {spec.subfolder}" if spec.subfolder else "")


def _read_config(spec: ModelConfig, source: str) -> dict[str, Any]:
    """config.json, read before diffusers builds anything from it."""
    if _is_local(source):
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
        model = cls.from_pretrained(
            str(Path(source).expanduser()) if Path(source).expanduser().exists() else source,
            subfolder=spec.subfolder,
            revision=spec.revision,
            variant=spec.variant,
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
    absent = [name for name, value in model.named_parameters() if value.is_meta]
    if absent:
        raise UserError(
            f"{where}: the weights are those of another architecture than config.json's {cls.__name__}: there is no "
            f"{absent[0]}; is it the right file?"
        )
    return model


def _has_pickle(spec: ModelConfig, source: str) -> bool:
    folder = Path(source).expanduser() / (spec.subfolder or "")
    return any(file.suffix in PICKLES for file in folder.glob("*"))
