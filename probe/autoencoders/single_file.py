"""A checkpoint in one file, in the layout of diffusers or of the model's authors."""

from pathlib import Path
from typing import Any

import torch

from probe.config import ModelConfig
from probe.errors import UserError

PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def is_single_file(source: str) -> bool:
    """Whether a source names a file of weights.

    Raises:
        UserError: in pickle form.
    """
    suffix = Path(source).suffix.lower()
    if suffix in PICKLES:
        raise UserError(
            f"model {source} is in pickle form ({suffix}), which can run code when opened; convert it to safetensors "
            "first."
        )
    return suffix == ".safetensors"


def config_source(spec: ModelConfig, source: str) -> str | None:
    """Where the config.json of a file is: as said, or beside it; None where diffusers has to guess from the weights.

    Raises:
        UserError: there is no such file.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        raise UserError(f"model {source}: there is no such file; give the path of a .safetensors file on this machine.")
    return spec.config or (str(path.parent) if (path.parent / "config.json").is_file() else None)


def load_single_file(cls: Any, spec: ModelConfig, source: str, config: str | None, dtype: torch.dtype) -> Any:
    """Load one file of weights into a class of diffusers.

    Raises:
        UserError: the class cannot be loaded from one file, the weights do not fit, or no configuration is at hand.
    """
    if not hasattr(cls, "from_single_file"):
        raise UserError(f"model {source}: a {cls.__name__} cannot be loaded from one file; give the folder instead.")
    options = {} if config is None else {"config": config, "subfolder": spec.subfolder}
    try:
        return cls.from_single_file(str(Path(source).expanduser()), torch_dtype=dtype, **options)
    except Exception as error:  # a dozen types, for files that do not fit each other
        hint = "" if config else " (set model.config to a folder or hub id with its config.json)"
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"model {source}: the weights do not load{hint}: {reason}") from error
