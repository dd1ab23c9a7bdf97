"""What a training leaves on disk: models in diffusers' save format, and the state from which it resumes."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from probe.errors import Failure, UserError
from probe.files import sync
from probe.results.files import Damaged, read_tensors, write_tensors

if TYPE_CHECKING:
    from probe.autoencoders.convolutional import ConvAutoencoder

STATE = "training.safetensors"


def model_folder(folder: Path, epoch: int) -> Path:
    """Folder of the model after ``epoch`` epochs; ``load_autoencoder`` opens it."""
    return folder / f"epoch-{epoch:04d}"


def epoch_of(folder: Path) -> int:
    """The epoch of a folder that ``model_folder`` named."""
    return int(folder.name.removeprefix("epoch-"))


def save_model(model: "ConvAutoencoder", folder: Path) -> None:
    """Write config.json and the safetensors; the folder appears whole or not at all (OSError, Failure)."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        model.save_pretrained(temporary)
        for file in temporary.iterdir():
            with file.open("rb") as written:
                sync(written.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    except SafetensorError as error:  # such as a full disk
        reason = " ".join(str(error).split())
        raise Failure(f"{folder} cannot be written: {reason}; fix this and rerun to resume.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_state(
    folder: Path, model: torch.nn.Module, optimiser: dict[str, Any], schedule: dict[str, Any], about: Mapping[str, Any]
) -> None:
    """Write the state after an epoch over the one before: optimiser and schedule as state_dict, and facts (JSON) of the
    training for ``load_state``."""
    tensors = {f"model.{name}": value.cpu() for name, value in model.state_dict().items()}
    for row, values in optimiser["state"].items():
        tensors |= {f"optimiser.{row}.{name}": value.cpu() for name, value in values.items()}
    kept = {"param_groups": optimiser["param_groups"], "schedule": schedule}
    write_tensors(folder / STATE, tensors, {**about, **kept})


def load_state(
    folder: Path, expected: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]] | None:
    """The model's weights, the optimiser's state_dict and the facts; None where there is no state.

    UserError if it is damaged, or if the ``expected`` facts (architecture, settings, images) are not as they were: then
    it is another training, and what differs is named.
    """
    try:
        tensors, about = read_tensors(folder / STATE)
    except FileNotFoundError:
        return None
    except Damaged as error:
        raise UserError(f"{folder / STATE} is damaged ({error}); remove it to start the training again.") from None
    for fact, here in expected.items():
        _check_equal(folder, fact, about.get(fact), here)
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    rows: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, row, key = name.split(".")
            rows.setdefault(int(row), {})[key] = value
    return weights, {"state": rows, "param_groups": about["param_groups"]}, about


def _check_equal(folder: Path, fact: str, there: Any, here: Any) -> None:
    if there == here:
        return
    what = f"{fact} is {there!r} there and {here!r} now"
    if isinstance(there, dict) and isinstance(here, dict):
        keys = [key for key in {**there, **here} if there.get(key) != here.get(key)]
        what = f"{fact}: " + ", ".join(f"{key} is {there.get(key)!r} there and {here.get(key)!r} now" for key in keys)
    raise UserError(f"{folder} holds the checkpoint of another training ({what}); choose another folder.")
