"""Weights of the networks that perceptual metrics look through: found in torch's cache or named, and never unpickled.

Nothing is downloaded here. Where weights are absent, the metric is left out, and ``Missing`` says how to get them.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from probe.errors import UserError, reason_of

DIGITS = re.compile(r"-([0-9a-f]{8})\.\w+$")
"""At the end of a file's name, as torch.hub writes them: the first digits of the file's SHA-256."""


@dataclass(frozen=True)
class Missing:
    """Why a metric cannot be computed here, and what to do about it, as one sentence without a capital or full stop."""

    reason: str


@dataclass(frozen=True)
class Published:
    """Weights that libraries keep as a file in torch's cache.

    Attributes:
        what: they are, in words.
        names: of the file, as libraries call it; the eight digits in it begin its SHA-256.
        address: where the first of them is published.
        key: of the configuration, that names another file.
    """

    what: str
    names: tuple[str, ...]
    address: str
    key: str


def found(published: Published, given: str | None) -> Path | Missing:
    """The file that is given, or one in torch's cache.

    Raises:
        UserError: there is no such file, or it is not the one that its name says.
    """
    if given is not None:
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"{published.key} {given!r}: there is no such file; name a .safetensors or .pth file.")
        if reason := _other_content(path):
            raise UserError(f"{published.key} {given!r}: {reason}; get the file again, or rename it.")
        return path
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for path in (folder / name for name in published.names):
        if path.is_file():
            reason = _other_content(path)
            return Missing(f"{path} is damaged: {reason}; remove it and get it again") if reason else path
    return Missing(
        f"the weights of {published.what} are not in torch's cache; save {published.address} in {folder}, or name a "
        f"file with --set {published.key}=FILE"
    )


def tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a .safetensors file, or of a pickle that holds nothing else.

    Raises:
        UserError: it cannot be read, or holds other things; no code in it is run.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # any type, from the unpickler, zip files, safetensors or torch
        raise UserError(f"{path} holds more than named tensors, or is damaged: {reason_of(error)}") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} is not a state dict: it holds other things than named tensors.")
    return content


def chosen(path: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file that a network wants, by name; UserError if one is missing or has another shape."""
    held = tensors(path)
    for name, like in wanted.items():
        if name not in held or held[name].shape != like.shape:
            other = f"has the shape {tuple(held[name].shape)}" if name in held else "is missing"
            raise UserError(f"{path} is of another network: {name} {other}, where {tuple(like.shape)} is expected.")
    return {name: held[name] for name in wanted}


def _other_content(path: Path) -> str:
    """How a file differs from the one that its name promises; empty if it promises nothing, or does not differ."""
    digits = DIGITS.search(path.name)
    if not digits:
        return ""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if sha256.startswith(digits[1]) else f"its SHA-256 begins with {sha256[:8]}, not {digits[1]}"
