"""Models by ``from_pretrained`` or ``from_single_file`` of diffusers and transformers, with every tensor of their files
accounted for."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.loaders.single_file_model import (
    SINGLE_FILE_LOADABLE_CLASSES,
    _get_single_file_loadable_mapping_class,
)
from safetensors.torch import load_file

from probe.autoencoders.adapter import quiet
from probe.autoencoders.repository import CONFIG, PICKLES, fetched, folder_of, for_libraries, is_local, local, where
from probe.autoencoders.sources import pickled, weights_at_hand
from probe.autoencoders.weights import (
    Header,
    blueprint,
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

ON_THE_HUB = re.compile(
    r"(?:https://huggingface\.co/)?(?P<repository>[^/:]+/[^/]+)/(?:(?:blob|resolve)/(?P<revision>[^/]+)/)?(?P<file>.+)"
)
"""owner/name/path/to/file.safetensors, or its address."""


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


def single_file(spec: ModelConfig, source: str) -> str | None:
    """The path of the file of weights that a source names, downloaded if it is on the hub; None for other sources.

    UserError if there is no such file, or it is in pickle form.
    """
    suffix = Path(source).suffix.lower()
    if suffix in PICKLES:
        raise UserError(f"model {source} {pickled(source)}.")
    if suffix != ".safetensors":
        return None
    if local(source).is_file():
        return str(local(source))
    parts = None if is_local(source) else ON_THE_HUB.fullmatch(source)
    if parts is None:
        raise UserError(
            f"model {source}: there is no such file; give the path of a .safetensors file on this machine, or "
            "owner/name/file.safetensors on the hub."
        )
    from huggingface_hub import hf_hub_download

    spec = spec.model_copy(update={"revision": spec.revision or parts["revision"], "subfolder": None})
    return str(fetched(hf_hub_download, spec, parts["repository"], parts["file"]))


def config_source(spec: ModelConfig, file: str) -> str:
    """Where the config.json of a file is: in model.config, or beside the file; UserError if neither.

    (diffusers would guess one, and its scaling, from the names of the weights.)
    """
    folder = Path(file).parent
    if not spec.config and not (folder / CONFIG).is_file():
        raise UserError(
            f"model {file}: there is no config.json beside it; set model.config to a folder or hub id that has one "
            "(stabilityai/sd-vae-ft-mse for Stable Diffusion 1, for example)."
        )
    return spec.config or str(folder)


def load_single_file(
    cls: Any, spec: ModelConfig, file: str, source: str, config: dict[str, Any], dtype: torch.dtype
) -> tuple[Any, tuple[str, ...]]:
    """Load one file of weights into a class of diffusers.

    Args:
        source: where config.json is. config: its content.

    Returns:
        The model, and warnings about tensors that were not used.

    Raises:
        UserError: the class cannot be loaded from one file, or the weights do not fit, do not fill the model, or are
            not all used by it.
    """
    there = f"model {file}"
    if not hasattr(cls, "from_single_file"):
        raise UserError(f"{there}: a {cls.__name__} cannot be loaded from one file; give the folder instead.")
    header = header_of([Path(file)], there)
    if header is None:
        raise UserError(f"{there}: the weights do not load: the safetensors file is incomplete.")
    plan: Any = blueprint(lambda: cls.from_config(config), header, there)
    warnings: tuple[str, ...] = ()
    checkpoint: Any = file
    if plan is not None:
        wanted = set(plan.state_dict())
        native = 2 * len(wanted & set(header)) > len(wanted)
        left = _left_of_diffusers(plan, header, there) if native else _left_of_authors(cls, plan, header, config, there)
        warnings = unused(plan, left, there)
        if native and set(header) != wanted:  # diffusers would assume the authors' layout
            checkpoint = load_file(file)
            plan._fix_state_dict_keys_on_load(checkpoint)
            checkpoint = {name: value for name, value in checkpoint.items() if name in wanted}
    try:
        with quiet():
            model = cls.from_single_file(checkpoint, torch_dtype=dtype, config=source, subfolder=spec.subfolder)
    except Exception as error:  # a dozen types, for files that do not fit each other
        why = f"the weights do not load: {reason_of(error, 300)}"
        if "meta tensor" in str(error):  # a tensor that is not in the file has no value
            why = f"the weights are incomplete: some tensors of the {cls.__name__} are missing."
        raise UserError(f"{there}: {why}") from error
    return model, warnings


def _left_of_diffusers(plan: Any, header: Header, there: str) -> set[str]:
    """The names of unused tensors of a file in the layout of diffusers, once the others fit the model."""
    state = converted(plan, header, there)
    check_fit(plan, state, there, header)
    return state.keys() - plan.state_dict().keys()


def _left_of_authors(cls: Any, plan: Any, header: Header, config: dict[str, Any], there: str) -> set[str]:
    """The same in the layout of the model's authors, converted as diffusers does; names without the authors' prefix."""
    convert = SINGLE_FILE_LOADABLE_CLASSES[_get_single_file_loadable_mapping_class(cls)]["checkpoint_mapping_fn"]
    try:
        with quiet():
            made = dict(convert(checkpoint=dict(header), config=config))
    except Exception as error:  # any type, for whatever tensor a converter misses first
        if "meta" in str(error).lower():  # it needs values, which meta tensors lack
            return set()
        made = {}
    check_fit(plan, made, there, header)
    if extra := made.keys() - plan.state_dict().keys():
        return extra
    names = {tensor.untyped_storage()._cdata: name for name, tensor in header.items()}
    storages = {tensor.untyped_storage()._cdata for tensor in made.values()}
    if storages - names.keys():  # computed from several tensors, so the unused ones are unknown
        return set()
    dropped = {name for storage, name in names.items() if storage not in storages}
    return {name.removeprefix("first_stage_model.").removeprefix("vae.") for name in dropped}
