"""What a configuration, or the folder that it made, is of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from probe.config import read_yaml
from probe.errors import UserError

Kind = Literal["run", "study", "ood", "roundtrip"]
"""``probe KIND`` is the command that makes it."""
WHAT: dict[Kind, str] = {
    "run": "a run",
    "study": "a study",
    "ood": "an experiment on OOD detection",
    "roundtrip": "a round trip",
}
KEYS: dict[Kind, frozenset[str]] = {
    "study": frozenset({"study"}),
    "ood": frozenset({"inside"}),
    "roundtrip": frozenset({"cycles", "models"}),
}
"""Keys at the top that only one kind has."""


def kind(data: Mapping[str, Any]) -> Kind:
    """By a key that only one kind has; a run where there is none."""
    return next((name for name, keys in KEYS.items() if not keys.isdisjoint(data)), "run")


def check_kind(data: Mapping[str, Any], wanted: Kind, file: Path | None) -> None:
    """Refuse the configuration of another kind of work.

    Raises:
        UserError: its keys are those of another kind; the sentence names the command for it.
    """
    found = kind(data)
    other = found != wanted and (found != "run" or not {"model", "solver", "sparse", "seeds"}.isdisjoint(data))
    if file is not None and other:
        raise UserError(f"{file} is the configuration of {WHAT[found]}: use `probe {found} {file}`.")


def kind_of(target: Path) -> Kind:
    """Of a folder or a configuration file; a run where it cannot be read, so that a run's reader says what is wrong."""
    try:
        return kind(read_yaml(target / "config.yaml" if target.is_dir() else target))
    except UserError:
        return "run"


def check_is_run(folder: Path) -> None:
    """Refuse anything but a run directory.

    Raises:
        UserError: it is no folder, or that of a study or an OOD experiment.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not the directory of a run: give the folder that `probe run` wrote.")
    if (kind := kind_of(folder)) != "run":
        raise UserError(f"{folder} holds {WHAT[kind]}, not a run: give the folder that `probe run` wrote.")
