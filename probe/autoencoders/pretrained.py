"""Models in the formats of diffusers and transformers, from the hub, a folder or one file."""

import re
from collections.abc import Callable
from typing import Any

import torch
from diffusers import ModelMixin

from probe.autoencoders.base import Autoencoder
from probe.autoencoders.blueprint import blueprint, must_be_bounded
from probe.autoencoders.diffusers_vae import adapted, autoencoder_classes, class_of, quiet
from probe.autoencoders.repository import as_named, for_libraries, located, pickles, read_config, where
from probe.autoencoders.single_file import config_source, is_single_file, load_single_file, on_this_machine
from probe.autoencoders.sources import must_be_a_model, weights_at_hand
from probe.autoencoders.weights import (
    Header,
    as_meta,
    converted,
    header_of,
    incomplete,
    must_fit,
    must_have_shapes,
    must_have_size,
    must_hold_numbers,
    unused,
    weight_files,
)
from probe.config import ModelConfig
from probe.errors import UserError


def load_pretrained(spec: ModelConfig, source: str, device: torch.device, dtype: torch.dtype) -> Autoencoder:
    """Load ``source``, a hub id, a folder with config.json and safetensors, or one file of weights.

    Raises:
        UserError: absent or gated repository, a class that is not supported, weights that are incomplete or only in
            pickle form, or code of its own that was not asked for.
    """
    must_be_a_model(spec, source)
    if is_single_file(source):
        model, warnings = _from_one_file(spec, on_this_machine(spec, source), dtype)
        return adapted(model, spec, device, dtype, warnings)
    spec = located(spec, source)
    config = read_config(spec, source)
    if config.get("model_type") == "vit_mae":
        from probe.autoencoders.vit_mae import load_vit_mae

        return load_vit_mae(spec, source, config, device, dtype)
    own = (config.get("auto_map") or {}).get("AutoModel")
    if own and config.get("_class_name") not in autoencoder_classes():
        model, warnings = _from_own_code(str(own), spec, source, config, dtype)
        return adapted(model, spec, device, dtype, warnings)
    there = where(spec, source)
    cls: Any = class_of(config, there)
    must_be_bounded(config, there)
    model, warnings = from_pretrained(cls, spec, source, lambda: cls.from_config(config), torch_dtype=dtype)
    return adapted(model, spec, device, dtype, warnings)


def from_pretrained(
    cls: Any, spec: ModelConfig, source: str, build: Callable[[], Any] | None = None, **options: Any
) -> tuple[Any, tuple[str, ...]]:
    """A model by its class's ``from_pretrained`` (of diffusers or transformers), and warnings about its weights.

    Args:
        build: makes the same model from its configuration, to be compared with the files before memory is taken.

    Raises:
        UserError: no weights in safetensors; weights that do not fit the configuration, do not fill the model, are not
            all used by it, or are no floating-point numbers.
    """
    there = where(spec, source)
    files = weight_files(spec, source, _stem(cls))
    header = header_of(files, there)
    if header is not None:
        _compare(header, build, there)
    try:
        with quiet(), for_libraries(spec, source) as (name, subfolder):
            model, about = cls.from_pretrained(
                name,
                subfolder=subfolder,
                revision=spec.revision,
                variant=spec.variant,
                use_safetensors=True,  # a pickle can run code when it is opened
                output_loading_info=True,
                **options,
            )
    except OSError as error:
        if why := weights_at_hand(spec, source):
            raise UserError(f"{there} {why}.") from None
        if files and header is None:
            names = ", ".join(file.name for file in files[:3])
            raise UserError(
                f"{there}: the weights ({names:.200}) are damaged or incomplete; copy or download them again."
            ) from None
        raise UserError(_without_weights(there, pickles(spec, source), str(error))) from None
    except Exception as error:
        # Both libraries and safetensors raise a dozen types here, all for files that do not fit each other.
        raise UserError(f"{there}: the weights do not load: {' '.join(str(error).split())[:300]}") from error
    if missing := sorted(about["missing_keys"]):  # they would stay at random
        raise UserError(incomplete(there, missing, header or (), tuple(model._modules)))
    prefix = f"{model.base_model_prefix}." if getattr(model, "base_model_prefix", "") else ""
    left = set(about["unexpected_keys"])
    if header is not None and isinstance(model, ModelMixin):  # an index need not name all that its shards hold
        left |= {name for name in converted(model, header, there) if name not in model.state_dict()}
        ignored = model._keys_to_ignore_on_load_unexpected or ()
        left = {name for name in left if not any(re.search(pattern, name) for pattern in ignored)}
    return model, unused(model, left, there, prefix)


def _stem(cls: Any) -> str:
    """How the library of a class calls its files of weights."""
    return "diffusion_pytorch_model" if cls.__module__.split(".")[0] != "transformers" else "model"


def _compare(header: Header, build: Callable[[], Any] | None, there: str) -> None:
    """Compare the files with the model that the configuration describes, where both can be had without memory."""
    with quiet():
        model = blueprint(build, there, len(header)) if build else None
    must_hold_numbers(header, model, there)
    if model is None:
        return
    if isinstance(model, ModelMixin):
        must_fit(model, converted(model, header, there), there, header)
    else:
        must_have_shapes(model, as_meta(header), there)
    must_have_size(header, model, there)


def _without_weights(there: str, found: list[str], error: str) -> str:
    if found or ".bin" in error:
        names = ", ".join(found) or ".bin"
        return (
            f"{there} has weights in pickle form only ({names}), which can run code when opened; `probe convert` makes "
            "safetensors of them without running any."
        )
    return (
        f"{there}: no readable weights in safetensors; if they are a variant, set model.variant (fp16, for example) "
        f"({' '.join(error.split())[:200]})."
    )


def _from_one_file(spec: ModelConfig, file: str, dtype: torch.dtype) -> tuple[Any, tuple[str, ...]]:
    about = config_source(spec, file)
    spec = located(spec, about)
    config = read_config(spec, about)
    cls = class_of(config, f"model {file}")
    must_be_bounded(config, f"model {file}")
    return load_single_file(cls, spec, file, about, config, dtype)


def _from_own_code(
    reference: str, spec: ModelConfig, source: str, config: dict[str, Any], dtype: torch.dtype
) -> tuple[Any, tuple[str, ...]]:
    """A class that comes as a Python file with the weights: ``module.Class``."""
    module, _, name = reference.rpartition(".")
    if not module.replace(".", "").isidentifier():
        raise UserError(f"{where(spec, source)}: config.json names {reference!r:.80}, which is no class of its folder.")
    if not spec.trust_remote_code:
        raise UserError(
            f"{where(spec, source)} would run its own code, {module}.py; read that file, and set "
            "model.trust_remote_code=true if you trust it."
        )
    from diffusers.utils.dynamic_modules_utils import get_class_from_dynamic_module

    try:
        cls = get_class_from_dynamic_module(
            as_named(source),
            module_file=f"{module}.py",
            class_name=name,
            subfolder=spec.subfolder,
            revision=spec.revision,
            trust_remote_code=True,
        )
    except Exception as error:  # whatever the file raises when it is run
        raise UserError(f"{where(spec, source)}: {module}.py fails: {type(error).__name__}: {error}") from error
    return from_pretrained(cls, spec, source, lambda: cls.from_config(config), torch_dtype=dtype)
