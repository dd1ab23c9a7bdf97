"""A folder that holds one piece of work: configuration, manifest, results; every file whole or absent."""

import json
import logging
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import yaml

from jobs.made_with import ENTRY, MadeWith, differences, listed, made_with, settings_that_differ
from jobs.trackers import FOLDER as TRACKERS
from probe.config import Tracked, read_yaml
from probe.errors import UserError
from probe.files import write_atomically
from probe.kinds import WHAT, Kind, kind
from probe.reading import Unreadable, read_object
from probe.results.files import Damaged, content_sha256, read_table, read_tensors, write_table, write_tensors
from probe.results.manifest import read_manifest

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

log = logging.getLogger("probe")

C = TypeVar("C", bound=Tracked)
WORK = "work"
"""Intermediate results, removed once what is made of them is there."""
DRAWN = {"images", "data"}
"""Folders in ``WORK`` that hold images which were drawn, and nothing that was computed."""
REPLACED = "replaced"
"""Where a file goes that is damaged, or was made from other results, when a stage makes it again."""
INPUTS = {"ends": "other end points", "data": "other images", "images": "other images", "tables": "other tables"}
"""What results are made from, in words, where its name does not say it."""


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

    def model_checksums(self) -> dict[str, str | None]:
        """Of the model that results are made with, where the configuration does not say everything of it."""
        return {}

    @cached_property
    def made_with(self) -> MadeWith:
        """What all results have in common; a file that was made otherwise is not of this folder.

        Raises:
            UserError: config.yaml has changed since the results were made; what differs is named.
        """
        found = made_with(self)
        if changed := differences(self, found.settings, found.model):
            raise UserError(
                f"{self.path / 'config.yaml'} has changed since the results in {self.path} were made: "
                f"{listed(changed)}; change it back, or choose another folder for the new settings."
            )
        return found

    @property
    def fingerprint(self) -> str:
        """Of ``made_with``."""
        return self.made_with.fingerprint

    @classmethod
    def create(cls, path: Path, config: C) -> Self:
        """Claim a new or empty folder, or go on with one that holds the same configuration; trackers may change.

        A folder in which another configuration was begun, but nothing was made, is taken as new, which a warning says:
        the command before had a mistake in it.

        Raises:
            UserError: the folder holds another run or study (what differs is named), or something else.
        """
        file = path / "config.yaml"
        if file.exists():
            there = cls.open(path)
            changed = settings_that_differ(there.config.settings(), config.settings()) or there.changes()
            if changed and there.is_begun():
                raise UserError(
                    f"{path} holds another {cls.NOUN}, which differs in {listed(changed)}; choose another "
                    "folder with --out, or remove this one."
                )
            if changed:
                log.warning(f"{path} was begun with other settings and holds no results yet: {listed(changed)}")
                for name in ("manifest.json", "error.json"):
                    (path / name).unlink(missing_ok=True)
                for folder in (WORK, TRACKERS):
                    shutil.rmtree(path / folder, ignore_errors=True)
            elif there.config == config:
                return there
            else:
                there.keep_made_with()  # config.yaml, written again, would no longer say which keys the results know
        cls.refuse_foreign(path)
        try:
            content = {**config.settings(), "trackers": config.trackers.model_dump(mode="json")}
            write_atomically(file, yaml.safe_dump(content, sort_keys=False))
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}; choose another folder with --out.") from None
        return cls(path, config)

    def changes(self) -> list[str]:
        """In what config.yaml differs from the settings that the results here are made with.

        Raises:
            UserError: it does, and what differs is not known.
        """
        if not self.manifest:
            return []
        found = made_with(self)
        return differences(self, found.settings, found.model)

    def unchanged(self) -> Self:
        """Itself; errors as ``made_with``."""
        if self.manifest:
            _ = self.made_with
        return self

    def keep_made_with(self) -> None:
        """Let the manifest say what the results are made with, if it does not."""
        if self.manifest and ENTRY not in self.manifest:
            self.update_manifest(**{ENTRY: self.made_with.as_dict()})

    def is_begun(self) -> bool:
        """Whether there is work that another configuration would spoil: results or parts of them, a process that was
        at it, or submitted jobs; images that were drawn, and sessions, only unless the last one ended with a mistake
        that the user is to correct."""
        if any((self.path / name).exists() for name in self.RESULTS):
            return True
        inside = {file.relative_to(self.path / WORK).parts[0] for file in _files(self.path / WORK)}
        sessions = self.manifest.get("sessions", [])
        if self._ended_with_a_mistake(sessions):
            return bool(inside - DRAWN)
        return bool(inside or sessions or _files(self.path / "slurm"))

    def _ended_with_a_mistake(self, sessions: list[dict[str, Any]]) -> bool:
        try:
            last = read_object(self.path / "error.json")
            return last["status"] == 2 and last["time"] >= max((one["started"] for one in sessions), default="")
        except (Unreadable, KeyError, TypeError):
            return False

    def parts(self) -> list[Path]:
        """Files and folders of results and intermediate results."""
        return [self.path / name for name in (*self.RESULTS, WORK)]

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
                raise UserError(
                    f"{self.path} has results but no manifest.json to say what made them; put it back, or choose "
                    "another folder with --out."
                )
            return {}
        try:
            return read_manifest(file)
        except Unreadable as error:
            raise UserError(
                f"{file} is damaged ({error.reason}), so what made the results is unknown; put it back, or choose "
                "another folder with --out."
            ) from None

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of the manifest; a mapping is merged into the mapping that is there."""
        manifest = self.manifest
        for key, value in entries.items():
            there = manifest.get(key)
            manifest[key] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value
        write_atomically(self.path / "manifest.json", json.dumps(manifest, indent=1) + "\n")

    def save(self, name: str, tensors: "Mapping[str, Tensor]", **about: Any) -> str:
        """Write a safetensors file of this folder; its SHA-256. What it replaces is kept in ``REPLACED``."""
        about = {**self._whose(name), **about}
        there = self._make_room(name, tensors, about)
        return there or write_tensors(self.path / name, tensors, about)

    def save_table(self, name: str, rows: "pd.DataFrame", **about: Any) -> None:
        """The same for a parquet file."""
        about = {**self._whose(name), **about}
        if not self._make_room(name, rows, about):
            write_table(self.path / name, rows, about)

    def load(self, name: str, *names: str) -> "tuple[dict[str, Tensor], dict[str, Any]]":
        """Read a safetensors file, whole and checked, or (unchecked) only the tensors named.

        Raises:
            UserError: it is missing, damaged or not of this folder.
        """
        try:
            tensors, about = read_tensors(self.path / name, names or None)
        except FileNotFoundError:
            raise UserError(
                f"{self.path / name} is missing; run the stage before, or `probe {self.NOUN}`, again."
            ) from None
        except Damaged as error:
            raise self._unusable(name, f"is damaged ({error})") from None
        self._must_be_ours(name, about)
        return tensors, about

    def checked(self, name: str, **made_from: Any) -> dict[str, Any] | None:
        """What a result file says about itself; None where it is missing, damaged, or made from something else.

        The file is read through, and left as it is.

        Args:
            made_from: entries that the file must have, such as the checksum of what it was made from.

        Raises:
            UserError: it is not of this folder; what differs is named.
        """
        return self._look(name, made_from)[0]

    def needed(self, name: str, **made_from: Any) -> dict[str, Any]:
        """As ``checked``, for a stage that only reads.

        Raises:
            UserError: besides, it is missing, damaged, or made from something else.
        """
        about, wrong = self._look(name, made_from)
        if about is None:
            raise self._unusable(name, wrong)
        return about

    def claimed(self, name: str, **made_from: Any) -> dict[str, Any] | None:
        """As ``checked``, for the stage that makes the file where there is None: what is there now is then moved to
        ``REPLACED``, and named in a warning."""
        about, wrong = self._look(name, made_from)
        if about is None:
            self._set_aside(name, wrong)
        return about

    def _look(self, name: str, made_from: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """As ``checked``, and what is wrong where it is None."""
        file = self.path / name
        try:
            about = (read_table if file.suffix == ".parquet" else read_tensors)(file)[1]
        except FileNotFoundError:
            return None, "is missing"
        except Damaged as error:
            return None, f"is damaged ({error})"
        self._must_be_ours(name, about)
        other = [INPUTS.get(key, f"another {key}") for key, value in made_from.items() if about.get(key) != value]
        return (None, f"was made from {other[0]}") if other else (about, "")

    def _must_be_ours(self, name: str, about: Mapping[str, Any]) -> None:
        """Refuse a whole file that was made with other settings or another model, or is a copy of another file."""
        file, ours = self.path / name, self._whose(name)
        if about.get("file") != name:
            raise UserError(f"{file} was written as {about.get('file')!r}; move it out of the folder and rerun.")
        if all(about.get(key) == value for key, value in ours.items()):
            return
        there = about.get(ENTRY)
        if not isinstance(there, dict):
            told = f"its fingerprint is {about.get(self.NOUN)} and not {self.fingerprint}"
        elif not (changed := differences(self, there["settings"], there["model"])):
            return  # the same, from a version of this tool that had other keys
        else:
            told = listed(changed)
        raise UserError(f"{file} belongs to another {self.NOUN} ({told}); move it out of the folder and rerun.")

    def _unusable(self, name: str, wrong: str) -> UserError:
        return UserError(
            f"{self.path / name} {wrong}; `probe {self.NOUN} {self.path}/config.yaml --out {self.path}` makes it again."
        )

    def _make_room(self, name: str, content: "Mapping[str, Tensor] | pd.DataFrame", about: Mapping[str, Any]) -> str:
        """Before a file is written: move what is there to ``REPLACED``, or leave it if it is the same; its checksum."""
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

    def _whose(self, name: str) -> dict[str, Any]:
        return {self.NOUN: self.fingerprint, "file": name, **self.made_with.stamp()}


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def is_free(path: Path) -> bool:
    """Whether work may be begun here: the folder is absent, or empty but for hidden files."""
    if not path.exists():
        return True
    return path.is_dir() and all(child.name.startswith(".") for child in path.iterdir())
