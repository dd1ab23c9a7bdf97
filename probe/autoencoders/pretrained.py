"""Models in the formats of diffusers and transformers, from the hub, a folder or one file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from probe.autoencoders.adapter import adapted, autoencoder_classes, class_of, quiet
from probe.autoencoders.base import Autoencoder
from probe.autoencoders.loading import from_pretrained, load_single_file, single_file
from probe.autoencoders.repository import as_named, commit_of, is_local, located, read_config, where
from probe.autoencoders.sources import check_source
from probe.autoencoders.vit_mae import load_vit_mae
from probe.autoencoders.weights import check_bounds
from probe.config import ModelConfig
from probe.errors import UserError, reason_of


def load_pretrained(spec: ModelConfig, source: str) -> Autoencoder:
    """Load ``source``: a hub id, a folder with config.json and safetensors, or one file of weights.

    Raises:
        UserError: an absent or gated repository, an unsupported class, weights that are incomplete or only in pickle
            form, or code of its own that the user has not allowed.
    """
    check_source(spec, source)
    file, home = single_file(spec, source) or (None, source)
    if file and spec.config:  # another repository, with revisions of its own
        spec = spec.model_copy(update={"revision": None})
    spec = located(spec, home)
    commit = commit_of(Path(file)) if file else None if is_local(home) else spec.revision
    return replace(_loaded(spec, source, file, home), revision=commit)


def _loaded(spec: ModelConfig, source: str, file: str | None, home: str) -> Autoencoder:
    """The model whose config.json is in ``home``; its weights are there, too, unless they are one file."""
    config = read_config(spec, home)
    if not file and config.get("model_type") == "vit_mae":
        return load_vit_mae(spec, source, config)
    own = None if file else (config.get("auto_map") or {}).get("AutoModel")
    if own and config.get("_class_name") not in autoencoder_classes():
        cls = _own_class(str(own), spec, source)
    else:
        there = f"model {file}" if file else where(spec, source)
        cls = class_of(config, there)
        check_bounds(config, there)
    if file:
        model, warnings = load_single_file(cls, spec, file, home, config)
    else:
        model, warnings = from_pretrained(cls, spec, source, lambda: cls.from_config(config))
    return adapted(model, spec, warnings)


def outline_of(spec: ModelConfig, source: str) -> Autoencoder | None:
    """The same model from its config.json alone, without weights, on the meta device; None where it has to be loaded:
    one file of weights, code of its own, or a model of transformers.

    Raises:
        UserError: as ``load_pretrained``, of what config.json shows.
    """
    check_source(spec, source)
    if Path(source).suffix.lower() == ".safetensors":
        return None
    spec = located(spec, source)
    config = read_config(spec, source)
    if config.get("model_type") == "vit_mae" or config.get("auto_map"):
        return None
    there = where(spec, source)
    cls: Any = class_of(config, there)
    check_bounds(config, there)
    try:
        with quiet(), torch.device("meta"):
            model = cls.from_config(config).to(getattr(torch, spec.dtype))
    except Exception:  # whatever a constructor raises that needs values; loading says what is wrong
        return None
    return adapted(model, spec, device=torch.device("meta"))


def _own_class(reference: str, spec: ModelConfig, source: str) -> Any:
    """A class that comes as a Python file with the weights: ``module.Class``."""
    there = where(spec, source)
    module, _, name = reference.rpartition(".")
    if not module.replace(".", "").isidentifier():
        raise UserError(f"{there}: config.json names {reference!r:.80}, which is not a class in its folder.")
    if not spec.trust_remote_code:
        advice = "read that file, and set model.trust_remote_code=true if you trust it"
        raise UserError(f"{there} would run its own code, {module}.py; {advice}.")
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
        raise UserError(f"{there}: {module}.py fails: {type(error).__name__}: {reason_of(error)}") from error
