"""Models by ``from_pretrained`` or ``from_single_file`` of diffusers and transformers, with every tensor of their files
accounted for."""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors.torch import load_file

from probe.autoencoders import weights
from probe.autoencoders.adapter import quiet
from probe.autoencoders.repository import (
    CONFIG,
    fetched,
    for_libraries,
    is_local,
    local,
    names_of,
    optional_file,
    where,
)
from probe.autoencoders.sources import weights_at_hand
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
    from diffusers import ModelMixin

    there = where(spec, source)
    dtype = getattr(torch, spec.dtype)
    if cls.__module__.split(".")[0] == "transformers":
        files = weights.weight_files(spec, source, "model")
        # The fused kernels have no forward derivative, which certificates need.
        options |= {"dtype": dtype, "attn_implementation": "eager"}
    else:
        files = weights.weight_files(spec, source, "diffusion_pytorch_model")
        options |= {"torch_dtype": dtype}
    if not files and not is_local(source):
        raise UserError(f"{there}{_why_not(spec, source, [])}.")
    header = weights.header_of(files, there)
    if header is not None and (plan := weights.blueprint(build, header, there)):
        state = header
        if isinstance(plan, ModelMixin):
            state = weights.converted(plan, header, there)
            weights.check_complete(plan, plan.state_dict().keys() - state.keys(), header, there)
        weights.check_fit(plan, state, there)
        weights.check_size(header, plan, there)
    try:
        with quiet(), for_libraries(spec, source) as (place, subfolder):
            model, about = cls.from_pretrained(
                place,
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
    weights.check_complete(model, about["missing_keys"], header or (), there)
    left = set(about["unexpected_keys"])
    if header is not None and isinstance(model, ModelMixin):  # an index may leave out tensors of its shards
        left |= weights.converted(model, header, there).keys() - model.state_dict().keys()
        ignored = model._keys_to_ignore_on_load_unexpected or ()
        left = {name for name in left if not any(re.search(pattern, name) for pattern in ignored)}
    prefix = f"{model.base_model_prefix}." if getattr(model, "base_model_prefix", "") else ""
    return model, weights.unused(model, left, there, prefix)


def _why_not(spec: ModelConfig, source: str, damaged: list[Path], error: OSError | None = None) -> str:
    """Why there are no weights that the libraries can read, as a predicate."""
    if why := weights_at_hand(spec, source):
        return f" {why}"
    if damaged:
        names = ", ".join(file.name for file in damaged[:3])
        return f": the weights ({names:.200}) are damaged or incomplete; copy or download them again"
    if files := [name for name in names_of(spec, source) if name.endswith(".safetensors")]:
        path = "/".join(part for part in (source, spec.subfolder, files[0]) if part)
        return f" has its weights as {', '.join(files[:3])}; give {path}"
    said = f" ({reason_of(error)})" if error else ""
    return f": no readable weights in safetensors; if they are a variant, set model.variant (fp16, for example){said}"


def single_file(spec: ModelConfig, source: str) -> tuple[str, str] | None:
    """The file of weights that a source names, downloaded if it is on the hub, and where its config.json is: in
    model.config, or beside it; None for other sources. (diffusers would guess a config.json from the tensors' names.)

    UserError if there is no such file or no config.json.
    """
    if Path(source).suffix.lower() != ".safetensors":
        return None
    file = local(source)
    if not file.is_file():
        parts = None if is_local(source) else ON_THE_HUB.fullmatch(source)
        if parts is None:
            raise UserError(f"model {source}: there is no such file; give a path, or owner/name/file.safetensors.")
        from huggingface_hub import hf_hub_download

        at = spec.model_copy(update={"revision": spec.revision or parts["revision"], "subfolder": None})
        file = fetched(hf_hub_download, at, parts["repository"], parts["file"])
        if not spec.config:
            optional_file(at, parts["repository"], str(PurePosixPath(parts["file"]).with_name(CONFIG)))
    if not spec.config and not (file.parent / CONFIG).is_file():
        raise UserError(
            f"model {file}: there is no config.json beside it; set model.config to a folder or hub id that has one "
            "(stabilityai/sd-vae-ft-mse for Stable Diffusion 1, for example)."
        )
    return str(file), spec.config or str(file.parent)


def load_single_file(
    cls: Any, spec: ModelConfig, file: str, source: str, config: dict[str, Any]
) -> tuple[Any, tuple[str, ...]]:
    """Load one file of weights into a class of diffusers; and warnings about its weights.

    Args:
        source: where config.json is. config: its content.

    Raises:
        UserError: the class cannot be loaded from one file, or the weights do not fit, do not fill the model, or are
            not all used by it.
    """
    there = f"model {file}"
    if not hasattr(cls, "from_single_file"):
        raise UserError(f"{there}: a {cls.__name__} cannot be loaded from one file; give the folder instead.")
    header = weights.header_of([Path(file)], there)
    if header is None:
        raise UserError(f"{there}: the weights do not load: the safetensors file is incomplete.")
    plan: Any = weights.blueprint(lambda: cls.from_config(config), header, there)
    warnings: tuple[str, ...] = ()
    checkpoint: Any = file
    if plan is not None:
        wanted = set(plan.state_dict())
        native = 2 * len(wanted & set(header)) > len(wanted)
        state = weights.converted(plan, header, there) if native else _of_authors(cls, header, config)
        if state is not None:
            weights.check_complete(plan, wanted - state.keys(), header, there)
            weights.check_fit(plan, state, there)
            warnings = weights.unused(plan, state.keys() - wanted or _dropped(header, state), there)
        if native and set(header) != wanted:  # diffusers would assume the authors' layout
            checkpoint = load_file(file)
            plan._fix_state_dict_keys_on_load(checkpoint)
            checkpoint = {name: value for name, value in checkpoint.items() if name in wanted}
    try:
        with quiet(), for_libraries(spec, source) as (place, subfolder):
            model = cls.from_single_file(
                checkpoint, torch_dtype=getattr(torch, spec.dtype), config=place, subfolder=subfolder or None
            )
    except Exception as error:  # a dozen types, for files that do not fit each other
        why = f"the weights do not load: {reason_of(error, 300)}"
        if "meta tensor" in str(error):  # a tensor that is not in the file has no value
            why = f"the weights are incomplete: some tensors of the {cls.__name__} are missing."
        raise UserError(f"{there}: {why}") from error
    return model, warnings


def _of_authors(cls: Any, header: weights.Header, config: dict[str, Any]) -> weights.Header | None:
    """A header in the authors' layout as diffusers converts it; {} if that fails, None if it needs tensors' values."""
    from diffusers.loaders import single_file_model

    kind = single_file_model._get_single_file_loadable_mapping_class(cls)
    convert = single_file_model.SINGLE_FILE_LOADABLE_CLASSES[kind]["checkpoint_mapping_fn"]
    try:
        with quiet():
            return dict(convert(checkpoint=dict(header), config=config))
    except Exception as error:  # any type, for whatever tensor a converter misses first
        return None if "meta" in str(error).lower() else {}


def _dropped(header: weights.Header, state: weights.Header) -> set[str]:
    """The tensors that a conversion left out, without the authors' prefix; none if it computed some from several."""
    names = {tensor.untyped_storage()._cdata: name for name, tensor in header.items()}
    used = {tensor.untyped_storage()._cdata for tensor in state.values()}
    left = names.keys() - used if used <= names.keys() else ()
    return {names[storage].removeprefix("first_stage_model.").removeprefix("vae.") for storage in left}
