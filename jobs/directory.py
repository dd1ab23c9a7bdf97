"""The folder of one piece of work: configuration, manifest, results; every file whole or absent."""

import json
import logging
import shutil
from abc import abstractmethod
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import yaml

from jobs.made_with import ENTRY, MadeWith, listed, of_old_results, settings_that_differ
from jobs.store import Store
from probe.config import Tracked, read_yaml
from probe.errors import UserError
from probe.files import write_atomically
from probe.kinds import WHAT, kind
from probe.kinds import kind_of as name_of
from probe.reading import Unreadable, read_object
from probe.results.layout import BORROWED, CONFIG, DRAWN, ERROR, MANIFEST, PLAN, SLURM, SPENT, TRACKERS, WORK
from probe.results.manifest import read_manifest

log = logging.getLogger("probe")
C = TypeVar("C", bound=Tracked)


@dataclass(frozen=True)
class Directory(Store, Generic[C]):
    """A folder of ``probe NOUN``; a subclass for each kind of work says what differs.

    Attributes:
        path: the folder.
        config: the resolved configuration, as in ``config.yaml``.
    """

    RESULTS: ClassVar[tuple[str, ...]]
    """Files and folders of results."""

    path: Path
    config: C

    @staticmethod
    @abstractmethod
    def parse(data: dict[str, Any]) -> Any:
        """Validate a configuration; UserError if it is wrong."""

    @classmethod
    def wants_cpu(cls, config: C) -> bool:
        """Whether to work on the CPU even if there is a GPU."""
        return getattr(config, "device", None) == "cpu"

    def model_checksums(self) -> dict[str, str | None]:
        """Checksums of the model, if the configuration does not determine it."""
        return {}

    @classmethod
    def create(cls, path: Path, config: C) -> Self:
        """Claim a new or empty folder, or resume in one with the same configuration; trackers may change.

        A folder that was begun with another configuration and holds no results is taken as new, with a warning: the
        command before had a mistake.

        Raises:
            UserError: the folder holds other work (what differs is named), or something else.
        """
        if (path / CONFIG).exists():
            there = cls.open(path)
            changed = settings_that_differ(there.config.settings(), config.settings())
            if not changed and there.manifest:
                changed = there._changed()[0]
            if changed and there.is_begun():
                raise UserError(
                    f"{path} holds another {cls.NOUN}, which differs in {listed(changed)}; give its own {CONFIG} "
                    "to resume it, choose another folder with --out, or remove this one."
                )
            if changed:
                log.warning(f"{path} was begun with other settings and holds no results yet: {listed(changed)}")
                for file in (MANIFEST, ERROR, PLAN, SPENT, BORROWED):
                    (path / file).unlink(missing_ok=True)
                for folder in (WORK, TRACKERS):
                    shutil.rmtree(path / folder, ignore_errors=True)
            elif there.config == config:
                return there
            else:
                there.keep_made_with()  # config.yaml, written again, would no longer say which keys the results know
        cls.refuse_foreign(path)
        try:
            content = {**config.settings(), "trackers": config.trackers.model_dump(mode="json")}
            write_atomically(path / CONFIG, yaml.safe_dump(content, sort_keys=False))
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}; choose another folder with --out.") from None
        return cls(path, config)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder that was begun.

        Raises:
            UserError: it has no config.yaml, or that of another kind of work.
        """
        if not (path / CONFIG).is_file():
            if path.exists() and (above := next((one for one in path.parents if (one / MANIFEST).is_file()), None)):
                raise UserError(f"{path} lies in the directory of {WHAT[name_of(above)]}; name that directory: {above}")
            if path.is_file():
                raise UserError(f"{path} is a file; name the directory of {WHAT[cls.NOUN]}: the folder given to --out.")
            raise UserError(
                f"{path} is not the directory of {WHAT[cls.NOUN]}: it has no config.yaml; "
                f"`probe {cls.NOUN} CONFIG --out {path}` makes one."
            )
        data = read_yaml(path / CONFIG)
        if (found := kind(data)) != cls.NOUN:
            raise UserError(
                f"{path} holds {WHAT[found]}, not {WHAT[cls.NOUN]}; `probe {found} {path}/config.yaml --out {path}` "
                "resumes it and rewrites its report."
            )
        return cls(path, cls.parse(data))

    @classmethod
    def refuse_foreign(cls, path: Path) -> None:
        """Refuse a folder that holds something else, before a lock is left there; hidden files do not count.

        Raises:
            UserError: the folder has files and no config.yaml.
        """
        if (path / CONFIG).exists() or not path.exists():
            return
        if not path.is_dir() or not all(child.name.startswith(".") for child in path.iterdir()):
            raise UserError(
                f"{path} exists and is not the directory of {WHAT[cls.NOUN]}; choose another folder with --out."
            )

    def is_begun(self) -> bool:
        """Whether there is work that another configuration would spoil: results or parts of them, or submitted jobs;
        a session, or images read from their sources, unless the last session ended with a mistake of the user."""
        if any((self.path / name).exists() for name in self.RESULTS):
            return True
        inside = {file.relative_to(self.path / WORK).parts[0] for file in _files(self.path / WORK)}
        sessions = self.manifest.get("sessions", [])
        try:
            last = read_object(self.path / ERROR)
            mistaken = last["status"] == 2 and last["time"] >= max((one["started"] for one in sessions), default="")
        except (Unreadable, KeyError, TypeError):
            mistaken = False
        return bool(inside - {*DRAWN}) if mistaken else bool(inside or sessions or _files(self.path / SLURM))

    @property
    def manifest(self) -> dict[str, Any]:
        """How the results were made, with the facts of ``FACTS`` for every data set; empty before the first stage.

        Raises:
            UserError: it is damaged, or missing although there are results.
        """
        file = self.path / MANIFEST
        try:
            if file.exists():
                return read_manifest(file, self.NOUN)
            if not any((self.path / name).exists() for name in self.RESULTS):
                return {}
            wrong = f"{self.path} has results but no manifest.json to say what made them"
        except Unreadable as error:
            wrong = f"{file} is damaged ({error.reason}), so what made the results is unknown"
        raise UserError(f"{wrong}; put it back, or choose another folder with --out.")

    @property
    def data(self) -> dict[str, Any]:
        """Facts of the images that were drawn, by data set."""
        return self.manifest.get("data", {})

    def drawn(self, name: str) -> dict[str, Any]:
        """Facts of the images of one data set.

        Raises:
            UserError: they are not drawn yet.
        """
        if name not in (data := self.data):
            raise UserError(f"{self.path} has no images of {name} yet; run `probe images {self.path}` first.")
        return data[name]

    def check_same_images(self, name: str, about: dict[str, Any]) -> None:
        """Refuse images of a data set whose ``sha256`` differs from that which the work was begun with.

        Raises:
            UserError: names the facts that differ.
        """
        known = self.data.get(name)
        if known is None or known["sha256"] == about["sha256"]:
            return
        compared = ("n_used", "n_heldout", "unreadable", "repeated", "source")
        changed = [key for key in compared if key in about and known.get(key) != about[key]]
        raise UserError(
            f"data set {name!r} has changed since {self.path} was begun: its images have sha256 "
            f"{known['sha256'][:12]}... there and {about['sha256'][:12]}... now"
            f"{', and another ' + ', '.join(changed) if changed else ''}; choose another folder with --out."
        )

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of the manifest; a mapping is merged into the mapping that is there."""
        manifest = self.manifest
        for key, value in entries.items():
            there = manifest.get(key)
            manifest[key] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value
        write_atomically(self.path / MANIFEST, json.dumps(manifest, indent=1) + "\n")

    @cached_property
    def made_with(self) -> MadeWith:
        """What all results here are made with; a file that was made otherwise does not belong here.

        Raises:
            UserError: config.yaml has changed since the results were made; what differs is named.
        """
        changed, found = self._changed()
        if changed:
            raise UserError(
                f"{self.path / CONFIG} has changed since the results in {self.path} were made: {listed(changed)}; "
                "change it back, or choose another folder for the new settings."
            )
        return found

    def _changed(self) -> tuple[list[str], MadeWith]:
        """What the results here are made with, and how it differs from config.yaml and the manifest."""
        kept = self.manifest.get(ENTRY)
        if kept is None:
            model = self.model_checksums()
            old = of_old_results(self.path, self.NOUN, self.RESULTS, self.config.settings(), model)
            found = old or MadeWith.new(self.config, model)
        else:
            try:
                found = MadeWith(**kept)
            except TypeError:
                raise UserError(f"{self.path / MANIFEST} is damaged: its {ENTRY} cannot be read.") from None
        return self.differences(found.settings, found.model), found

    def differences(self, settings: dict[str, Any], model: dict[str, Any]) -> list[str]:
        """How settings and models of results differ from those of this folder, key by key."""
        try:
            there = self.parse(settings).settings()  # newer keys get their defaults
        except UserError:  # keys that no longer exist
            there = settings
        changed = settings_that_differ(there, self.config.settings())
        ours = self.model_checksums() if model else {}
        return changed + settings_that_differ({key: model.get(key) for key in ours}, ours, "model ")

    def unchanged(self) -> Self:
        """Itself; errors as ``made_with``."""
        if self.manifest:
            _ = self.made_with
        return self

    def keep_made_with(self) -> None:
        """Write ``made_with`` into the manifest, if it is not there."""
        if self.manifest and ENTRY not in self.manifest:
            self.update_manifest(**{ENTRY: asdict(self.made_with)})


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]
