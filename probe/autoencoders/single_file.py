"""A checkpoint in one file, in the layout of diffusers or of the model's authors."""

import re
from pathlib import Path
from typing import Any

import torch

from probe.autoencoders.diffusers_vae import quiet
from probe.autoencoders.repository import PICKLES, fetched, is_local
from probe.autoencoders.sources import pickled
from probe.config import ModelConfig
from probe.errors import UserError

ON_THE_HUB = re.compile(
    r"(?:https://huggingface\.co/)?(?P<repository>[^/:]+/[^/]+)/(?:(?:blob|resolve)/(?P<revision>[^/]+)/)?(?P<file>.+)"
)
"""owner/name/path/to/file.safetensors, or its address."""


def is_single_file(source: str) -> bool:
    """Whether a source names a file of weights.

    Raises:
        UserError: in pickle form.
    """
    suffix = Path(source).suffix.lower()
    if suffix in PICKLES:
        raise UserError(f"model {source} {pickled(source)}.")
    return suffix == ".safetensors"


def on_this_machine(spec: ModelConfig, source: str) -> str:
    """The path of a file, downloaded if it is one of the hub.

    Raises:
        UserError: there is no such file.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return str(path)
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
    """Where the config.json of a file is: as said, or beside it.

    Raises:
        UserError: neither; diffusers would guess one from the names of the weights, and so their scaling.
    """
    folder = Path(file).parent
    if not spec.config and not (folder / "config.json").is_file():
        raise UserError(
            f"model {file}: there is no config.json beside it; set model.config to a folder or hub id that has one "
            "(stabilityai/sd-vae-ft-mse for Stable Diffusion 1, for example)."
        )
    return spec.config or str(folder)


def load_single_file(cls: Any, spec: ModelConfig, file: str, config: str, dtype: torch.dtype) -> Any:
    """Load one file of weights into a class of diffusers.

    Raises:
        UserError: the class cannot be loaded from one file, or the weights do not fit or do not fill the model.
    """
    if not hasattr(cls, "from_single_file"):
        raise UserError(f"model {file}: a {cls.__name__} cannot be loaded from one file; give the folder instead.")
    try:
        with quiet():
            return cls.from_single_file(file, torch_dtype=dtype, config=config, subfolder=spec.subfolder)
    except Exception as error:  # a dozen types, for files that do not fit each other
        if "meta tensor" in str(error):  # what is not in the file has no value
            raise UserError(
                f"model {file}: the weights are incomplete: some tensors of the {cls.__name__} are missing."
            ) from None
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"model {file}: the weights do not load: {reason}") from error
