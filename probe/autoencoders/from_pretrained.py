"""Models by the ``from_pretrained`` of diffusers or transformers, with every tensor of their files accounted for."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusers import ModelMixin

from probe.autoencoders.adapter import quiet
from probe.autoencoders.blueprint import blueprint
from probe.autoencoders.repository import PICKLES, folder_of, for_libraries, where
from probe.autoencoders.sources import weights_at_hand
from probe.autoencoders.weights import (
    check_fit,
    check_shapes,
    check_size,
    converted,
    header_of,
    incomplete,
    unused,
    weight_files,
)
from probe.config import ModelConfig
from probe.errors import UserError, reason_of


def check_transformers(source: str) -> None:
    """UserError if transformers is not installed; its progress bars are switched off."""
    try:
        from transformers.utils.logging import disable_progress_bar
    except ImportError:
        raise UserError(f"model {source} needs transformers; pip install 'latent-probe[transformers]'.") from None
    disable_progress_bar()


def from_pretrained(
    cls: Any, spec: ModelConfig, source: str, build: Callable[[], Any] | None = None, **options: Any
) -> tuple[Any, tuple[str, ...]]:
    """A model by its class's ``from_pretrained`` (of diffusers or transformers), and warnings about its weights.

    Args:
        build: makes the same model from its configuration, to be compared with the files before memory is allocated.

    Raises:
        UserError: no weights in safetensors; or weights that do not fit the configuration, do not fill the model, are
            not all used by it, or are not floating-point numbers.
    """
    there = where(spec, source)
    of_transformers = cls.__module__.split(".")[0] == "transformers"
    files = weight_files(spec, source, "model" if of_transformers else "diffusion_pytorch_model")
    header = header_of(files, there)
    if header is not None and (plan := blueprint(build, header, there)):
        if isinstance(plan, ModelMixin):
            check_fit(plan, converted(plan, header, there), there, header)
        else:
            check_shapes(plan, header, there)
        check_size(header, plan, there)
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
        raise UserError(f"{there}{_why_not(spec, source, files if header is None else [], error)}.") from None
    except Exception as error:
        # Both libraries and safetensors raise a dozen types here, all for files that do not fit each other.
        raise UserError(f"{there}: the weights do not load: {reason_of(error, 300)}") from error
    if missing := sorted(about["missing_keys"]):  # they would stay random
        raise UserError(incomplete(there, missing, header or (), tuple(model._modules)))
    left = set(about["unexpected_keys"])
    if header is not None and isinstance(model, ModelMixin):  # an index may leave out tensors of its shards
        left |= converted(model, header, there).keys() - model.state_dict().keys()
        ignored = model._keys_to_ignore_on_load_unexpected or ()
        left = {name for name in left if not any(re.search(pattern, name) for pattern in ignored)}
    prefix = f"{model.base_model_prefix}." if getattr(model, "base_model_prefix", "") else ""
    return model, unused(model, left, there, prefix)


def _why_not(spec: ModelConfig, source: str, damaged: list[Path], error: OSError) -> str:
    """Why the libraries find no weights, as a predicate."""
    if why := weights_at_hand(spec, source):
        return f" {why}"
    if damaged:
        names = ", ".join(file.name for file in damaged[:3])
        return f": the weights ({names:.200}) are damaged or incomplete; copy or download them again"
    pickles = sorted(file.name for file in folder_of(spec, source).glob("*") if file.suffix in PICKLES)
    if pickles or ".bin" in str(error):
        return (
            f" has weights in pickle form only ({', '.join(pickles) or '.bin'}), which can run code when opened; "
            "`probe convert` makes safetensors of them without running any"
        )
    return (
        ": no readable weights in safetensors; if they are a variant, set model.variant (fp16, for example) "
        f"({reason_of(error)})"
    )
