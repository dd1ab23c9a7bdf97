"""Models in the formats of diffusers and transformers, from the hub, a folder or one file."""

from typing import Any

import torch

from probe.autoencoders.adapter import adapted, autoencoder_classes, class_of
from probe.autoencoders.base import Autoencoder
from probe.autoencoders.blueprint import check_bounds
from probe.autoencoders.from_pretrained import from_pretrained
from probe.autoencoders.repository import as_named, located, read_config, where
from probe.autoencoders.single_file import config_source, is_single_file, load_single_file, on_this_machine
from probe.autoencoders.sources import check_source
from probe.autoencoders.vit_mae import load_vit_mae
from probe.config import ModelConfig
from probe.errors import UserError


def load_pretrained(spec: ModelConfig, source: str, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """Load ``source``: a hub id, a folder with config.json and safetensors, or one file of weights.

    Raises:
        UserError: an absent or gated repository, an unsupported class, weights that are incomplete or only in pickle
            form, or code of its own that the user has not allowed.
    """
    check_source(spec, source)
    if is_single_file(source):
        model, warnings = _from_one_file(spec, on_this_machine(spec, source), dtype)
        return adapted(model, spec, device, dtype, warnings)
    spec = located(spec, source)
    config = read_config(spec, source)
    if config.get("model_type") == "vit_mae":
        return load_vit_mae(spec, source, config, device, dtype)
    own = (config.get("auto_map") or {}).get("AutoModel")
    if own and config.get("_class_name") not in autoencoder_classes():
        cls = _own_class(str(own), spec, source)
    else:
        there = where(spec, source)
        cls = class_of(config, there)
        check_bounds(config, there)
    model, warnings = from_pretrained(cls, spec, source, lambda: cls.from_config(config), torch_dtype=dtype)
    return adapted(model, spec, device, dtype, warnings)


def _from_one_file(spec: ModelConfig, file: str, dtype: torch.dtype) -> tuple[Any, tuple[str, ...]]:
    about = config_source(spec, file)
    spec = located(spec, about)
    config = read_config(spec, about)
    cls = class_of(config, f"model {file}")
    check_bounds(config, f"model {file}")
    return load_single_file(cls, spec, file, about, config, dtype)


def _own_class(reference: str, spec: ModelConfig, source: str) -> Any:
    """A class that comes as a Python file with the weights: ``module.Class``."""
    module, _, name = reference.rpartition(".")
    if not module.replace(".", "").isidentifier():
        raise UserError(
            f"{where(spec, source)}: config.json names {reference!r:.80}, which is not a class in its folder."
        )
    if not spec.trust_remote_code:
        raise UserError(
            f"{where(spec, source)} would run its own code, {module}.py; read that file, and set "
            "model.trust_remote_code=true if you trust it."
        )
    from diffusers.utils.dynamic_modules_utils import get_class_from_dynamic_module

    try:
        return get_class_from_dynamic_module(
            as_named(source),
            module_file=f"{module}.py",
            class_name=name,
            subfolder=spec.subfolder,
            revision=spec.revision,
            trust_remote_code=True,
        )
    except Exception as error:  # anything that the file raises
        raise UserError(f"{where(spec, source)}: {module}.py fails: {type(error).__name__}: {error}") from error
