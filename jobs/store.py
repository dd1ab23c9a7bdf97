"""The result files of a folder: written with a stamp that says whose they are, and checked before they are used."""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jobs.made_with import ENTRY, MadeWith, listed
from probe.errors import UserError
from probe.kinds import Kind
from probe.results.files import Damaged, content_sha256, read_table, read_tensors, write_table, write_tensors
from probe.results.layout import REPLACED

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

log = logging.getLogger("probe")
INPUTS = {
    "ends": "other end points",
    "data": "other images",
    "images": "other images",
    "tables": "other tables",
    "references": "other training attractors",
    "borrowed": "another borrowed dictionary",
    "rule": "another version's rule",
}
"""What a file was made from, in words; "another NAME" for the rest."""


class Store(ABC):
    """Saves and loads the result files of ``path``. A file that was made with other settings or models is refused; one
    that is damaged or outdated is moved to ``REPLACED`` when its stage makes it again."""

    NOUN: ClassVar[Kind]
    path: Path

    @property
    @abstractmethod
    def made_with(self) -> MadeWith:
        """The settings and models that all results here are made with."""

    @abstractmethod
    def differences(self, settings: dict[str, Any], model: dict[str, Any]) -> list[str]:
        """How the settings and models of a file differ from those of this folder."""

    def save(self, name: str, tensors: "Mapping[str, Tensor]", **about: Any) -> str:
        """Write a safetensors file; its SHA-256. An equal file that exists is left as it is."""
        about = {**self._stamp(name), **about}
        return self._make_room(name, tensors, about) or write_tensors(self.path / name, tensors, about)

    def save_table(self, name: str, rows: "pd.DataFrame", **about: Any) -> None:
        """The same for a parquet file."""
        about = {**self._stamp(name), **about}
        if not self._make_room(name, rows, about):
            write_table(self.path / name, rows, about)

    def load(self, name: str, *names: str) -> "tuple[dict[str, Tensor], dict[str, Any]]":
        """Read a safetensors file, checked; or only the named tensors, unchecked.

        Raises:
            UserError: it is missing, damaged, or of another folder.
        """
        return self._read(name, names or None)

    def load_table(self, name: str) -> "pd.DataFrame":
        """Read a parquet file, checked. Errors as ``load``."""
        return self._read(name)[0]

    def checked(self, name: str, **made_from: Any) -> dict[str, Any] | None:
        """The metadata of a file, which is read through and left as it is; None if it is missing, damaged or outdated.

        Args:
            made_from: entries that the metadata must have, such as the checksum of the file it was made from.

        Raises:
            UserError: the file is of another folder; what differs is named.
        """
        return self._look(name, made_from)[0]

    def needed(self, name: str, **made_from: Any) -> dict[str, Any]:
        """As ``checked``, for a stage that only reads the file.

        Raises:
            UserError: in addition, it is missing, damaged or outdated.
        """
        about, wrong = self._look(name, made_from)
        if about is None:
            raise self._unusable(name, wrong)
        return about

    def claimed(self, name: str, **made_from: Any) -> dict[str, Any] | None:
        """As ``checked``, for the stage that makes the file: one that is damaged or outdated is moved to ``REPLACED``
        with a warning."""
        about, wrong = self._look(name, made_from)
        if about is None:
            self._set_aside(name, wrong)
        return about

    def _read(self, name: str, names: tuple[str, ...] | None = None) -> tuple[Any, dict[str, Any]]:
        file = self.path / name
        try:
            content, about = read_table(file) if file.suffix == ".parquet" else read_tensors(file, names)
        except FileNotFoundError:
            raise UserError(f"{file} is missing; rerun the stage before, or `probe {self.NOUN}`.") from None
        except Damaged as error:
            raise self._unusable(name, f"is damaged ({error})") from None
        self._check_owner(name, about)
        return content, about

    def _look(self, name: str, made_from: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """The metadata, or None and the reason."""
        file = self.path / name
        try:
            about = read_table(file)[1] if file.suffix == ".parquet" else read_tensors(file, (), check=True)[1]
        except FileNotFoundError:
            return None, "is missing"
        except Damaged as error:
            return None, f"is damaged ({error})"
        self._check_owner(name, about)
        other = [INPUTS.get(key, f"another {key}") for key, value in made_from.items() if about.get(key) != value]
        return (None, f"was made from {other[0]}") if other else (about, "")

    def _check_owner(self, name: str, about: Mapping[str, Any]) -> None:
        """Refuse a file that was made with other settings or another model, or is a copy of another file."""
        file = self.path / name
        if about.get("file") != name:
            raise UserError(f"{file} was written as {about.get('file')!r}; move it out of the folder and rerun.")
        if all(about.get(key) == value for key, value in self._stamp(name).items()):
            return
        there = about.get(ENTRY)
        if not isinstance(there, dict):
            reason = f"its fingerprint is {about.get(self.NOUN)} and not {self.made_with.fingerprint}"
        elif not (changed := self.differences(there["settings"], there["model"])):
            return  # the same, from a version of this tool with other keys
        else:
            reason = listed(changed)
        raise UserError(f"{file} belongs to another {self.NOUN} ({reason}); move it out of the folder and rerun.")

    def _unusable(self, name: str, wrong: str) -> UserError:
        again = f"probe {self.NOUN} {self.path}/config.yaml --out {self.path}"
        return UserError(f"{self.path / name} {wrong}; `{again}` makes it again.")

    def _make_room(self, name: str, content: "Mapping[str, Tensor] | pd.DataFrame", about: Mapping[str, Any]) -> str:
        """The checksum of a file that is already what would be written; else it is set aside, and nothing."""
        if not (self.path / name).exists():
            return ""
        there, wrong = self._look(name, {})
        if there and there["sha256"] == content_sha256(content, about):
            return there["sha256"]
        self._set_aside(name, wrong or "differs from the new one")
        return ""

    def _set_aside(self, name: str, wrong: str) -> None:
        if not (self.path / name).exists():
            return
        aside, number = self.path / REPLACED / name, 1
        while aside.exists():
            number += 1
            aside = self.path / REPLACED / f"{name}.{number}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process was faster
            os.rename(self.path / name, aside)
            log.warning(f"{self.path / name} is computed again: it {wrong}; the old file is kept as {aside}")

    def _stamp(self, name: str) -> dict[str, Any]:
        return {self.NOUN: self.made_with.fingerprint, "file": name, **self.made_with.stamp()}
