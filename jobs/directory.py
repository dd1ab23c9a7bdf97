"""A folder that holds one piece of work: configuration, manifest, results; every file whole or absent."""

import json
import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import yaml

from jobs.trackers import FOLDER as TRACKERS
from probe.checked import Damaged, check_table, read_tensors, write_table, write_tensors
from probe.config import Tracked, read_yaml
from probe.errors import UserError
from probe.files import write_atomically
from probe.kinds import WHAT, Kind, kind
from probe.manifest import read_manifest
from probe.reading import Unreadable

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

log = logging.getLogger("probe")

C = TypeVar("C", bound=Tracked)
WORK = "work"
"""Intermediate results, removed once what is made of them is there."""


@dataclass(frozen=True)
class Directory(ABC, Generic[C]):
    """The base of ``RunDirectory`` and ``StudyDirectory``.

    Attributes:
        path: the folder.
        config: the resolved configuration, as in ``config.yaml``.
    """

    NOUN: ClassVar[Kind]
    """What it holds, in messages; ``probe NOUN`` is the command that makes it."""
    RESULTS: ClassVar[tuple[str, ...]]
    """Files and folders that say that there are results."""

    path: Path
    config: C

    @classmethod
    @abstractmethod
    def parse(cls, data: dict[str, Any]) -> C:
        """Validate a configuration; UserError where it is wrong."""

    @classmethod
    @abstractmethod
    def wants_cpu(cls, config: C) -> bool:
        """Whether the work is to be done on the CPU even where there is a GPU."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """What all results have in common, as 16 hexadecimal digits; a file with another is not of this folder."""

    @classmethod
    def create(cls, path: Path, config: C) -> Self:
        """Claim a new or empty folder, or go on with one that holds the same configuration; trackers may change.

        A folder in which another configuration was begun, but has no results, is taken as new: the command before
        had a mistake in it.

        Raises:
            UserError: the folder holds another run or study (what differs is named), or something else.
        """
        file = path / "config.yaml"
        if file.exists():
            there = cls.open(path)
            if there.config == config:
                return there
            differences = _differences(there.config.settings(), config.settings())
            if differences and any((path / name).exists() for name in cls.RESULTS):
                raise UserError(
                    f"{path} holds another {cls.NOUN}, which differs in {'; '.join(differences)}; choose another "
                    "folder with --out, or remove this one."
                )
            if differences:
                (path / "manifest.json").unlink(missing_ok=True)
                for folder in (WORK, TRACKERS):
                    shutil.rmtree(path / folder, ignore_errors=True)
        cls.refuse_foreign(path)
        try:
            content = {**config.settings(), "trackers": config.trackers.model_dump(mode="json")}
            write_atomically(file, yaml.safe_dump(content, sort_keys=False))
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}; choose another folder with --out.") from None
        return cls(path, config)

    def begun(self) -> Self:
        """``create`` for this folder and configuration."""
        return self.create(self.path, self.config)

    @classmethod
    def refuse_foreign(cls, path: Path) -> None:
        """Refuse a folder that holds something else; to be asked before a lock is left there.

        Raises:
            UserError: the folder has files and no config.yaml.
        """
        if not (path / "config.yaml").exists() and not is_free(path):
            raise UserError(f"{path} exists and is no {cls.NOUN} directory; choose another folder with --out.")

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open what was begun.

        Raises:
            UserError: there is no config.yaml in it, or that of something else.
        """
        if not (path / "config.yaml").is_file():
            raise UserError(
                f"{path} is no {cls.NOUN} directory: it has no config.yaml; `probe {cls.NOUN} CONFIG --out {path}` "
                "makes one."
            )
        data = read_yaml(path / "config.yaml")
        if (found := kind(data)) != cls.NOUN:
            raise UserError(
                f"{path} holds {WHAT[found]}, not {WHAT[cls.NOUN]}; `probe {found} {path}/config.yaml --out {path}` "
                "goes on with it, and writes its report again."
            )
        return cls(path, cls.parse(data))

    @property
    def manifest(self) -> dict[str, Any]:
        """What is known of how the results were made; empty before the first stage."""
        file = self.path / "manifest.json"
        if not file.exists():
            if any((self.path / name).exists() for name in self.RESULTS):
                raise UserError(f"{self.path} has results but no manifest.json to say what made them; begin anew.")
            return {}
        try:
            return read_manifest(file)
        except Unreadable as error:
            raise UserError(
                f"{file} is damaged ({error.reason}), so what made the results is unknown; begin anew."
            ) from None

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of the manifest; a mapping is merged into the mapping that is there."""
        manifest = self.manifest
        for key, value in entries.items():
            there = manifest.get(key)
            manifest[key] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value
        write_atomically(self.path / "manifest.json", json.dumps(manifest, indent=1) + "\n")

    def save(self, name: str, tensors: "Mapping[str, Tensor]", **about: Any) -> str:
        """Write a safetensors file of this folder; its SHA-256."""
        return write_tensors(self.path / name, tensors, {**self._whose(name), **about})

    def load(self, name: str, *names: str) -> "tuple[dict[str, Tensor], dict[str, Any]]":
        """Read a safetensors file, whole and checked, or (unchecked) only the tensors named.

        Raises:
            UserError: it is missing or damaged.
        """
        try:
            return read_tensors(self.path / name, names or None, self._whose(name))
        except FileNotFoundError:
            raise UserError(
                f"{self.path / name} is missing; run the stage before, or `probe {self.NOUN}`, again."
            ) from None
        except Damaged as error:
            raise UserError(f"{self.path / name} is damaged: {error}; run the command again.") from None

    def save_table(self, name: str, rows: "pd.DataFrame", **about: Any) -> None:
        """Write a parquet file of this folder."""
        write_table(self.path / name, rows, {**self._whose(name), **about})

    def checked(self, name: str, **expected: Any) -> dict[str, Any] | None:
        """What a result file says about itself; None where it is not there.

        The file is read through. If it is damaged, or not of this folder, it is named in a warning and removed, so
        that it will be made again.

        Args:
            expected: further entries that the file must have, such as the checksum of what it was made from.
        """
        file, expected = self.path / name, {**self._whose(name), **expected}
        try:
            return check_table(file, expected) if file.suffix == ".parquet" else read_tensors(file, None, expected)[1]
        except FileNotFoundError:
            return None
        except Damaged as error:
            log.warning(f"{file} is computed again: {error}")
            file.unlink()
            return None

    def _whose(self, name: str) -> dict[str, Any]:
        return {self.NOUN: self.fingerprint, "file": name}


def is_free(path: Path) -> bool:
    """Whether work may be begun here: the folder is absent, or empty but for hidden files."""
    if not path.exists():
        return True
    return path.is_dir() and all(child.name.startswith(".") for child in path.iterdir())


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    """Keys whose values differ, as "key: a there, b now"."""
    found: list[str] = []
    for key in sorted({*there, *here}):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif isinstance(old, dict) or isinstance(new, dict):
            found.append(f"{prefix}{key}: only {'there' if isinstance(old, dict) else 'now'}")
        elif old != new:
            found.append(f"{prefix}{key}: {old!r} there, {new!r} now")
    return found
