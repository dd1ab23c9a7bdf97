"""What the results of a folder were made with: settings and model, and a fingerprint of both that every file carries.

The manifest keeps it from the first session on. Results are compared with the manifest, and so is config.yaml.

- Settings are kept whole, as they were resolved, so a default that changes later does not change what they mean. They
  decide wherever they are known; a fingerprint only makes files short to compare.
- A key that kept settings lack was added to the tool later and counts as its default. So a new key's first default must
  be what the tool did before there was the key. Where such a default is to change later, give the key a new name.
- A fingerprint of version 2 leaves out the keys at their default, so versions of the tool with more keys agree on it.
- A fingerprint without a version is of all settings, as the tool of its time knew them. These are the keys that
  config.yaml holds, so it can be computed again. Such a folder keeps its fingerprint: new files must fit the old ones.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.config import read_yaml
from probe.errors import UserError
from probe.reading import Unreadable, read_object
from probe.results.files import read_about

if TYPE_CHECKING:
    from jobs.directory import Directory

ENTRY = "made_with"
"""Of the manifest, and of the metadata of result files."""
VERSION = "2-"


@dataclass(frozen=True)
class MadeWith:
    """fingerprint: 16 hexadecimal digits behind ``VERSION``; settings: whole, as JSON; model: checksums by name."""

    fingerprint: str
    settings: dict[str, Any]
    model: dict[str, str | None]

    def stamp(self) -> dict[str, Any]:
        """For the metadata of a file, besides the fingerprint; nothing in folders whose files never had it."""
        about = {"settings": self.settings, "model": self.model}
        return {ENTRY: about} if self.fingerprint.startswith(VERSION) else {}

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def made_with(folder: "Directory[Any]") -> MadeWith:
    """What the results in a folder are made with: as its manifest says, or, where it does not, as its config.yaml."""
    kept = folder.manifest.get(ENTRY)
    if kept is not None:
        try:
            return MadeWith(**kept)
        except TypeError:
            raise UserError(f"{folder.path / 'manifest.json'} is damaged: its {ENTRY} cannot be read.") from None
    settings, model = folder.config.settings(), folder.model_checksums()
    told = set(_fingerprints(folder))
    if told:
        for known in _settings_of_old(folder):
            if (fingerprint := _unversioned(folder, known, model)) in told:
                return MadeWith(fingerprint, known, model)
        if not any(one.startswith(VERSION) for one in told):
            raise UserError(
                f"{folder.path / 'config.yaml'} has changed since the results in {folder.path} were made, and what "
                f"differs was not recorded; put back the config.yaml of the {folder.NOUN}, or choose another folder."
            )
    few = folder.config.model_dump(mode="json", exclude={"trackers"}, exclude_defaults=True)
    return MadeWith(f"{VERSION}{_digest([few, model])}", settings, model)


def differences(folder: "Directory[Any]", settings: dict[str, Any], model: dict[str, Any]) -> list[str]:
    """In what the settings and the model of results differ from those of a folder, key by key."""
    here = folder.config.settings()
    try:
        there = folder.parse(settings).settings()  # keys that came later get their defaults
    except UserError:  # keys that are no more
        there = settings
    changed = settings_that_differ(there, here)
    if model:
        ours = folder.model_checksums()
        changed += [
            _differing(f"model {key}", model.get(key), ours[key]) for key in ours if model.get(key) != ours[key]
        ]
    return changed


def settings_that_differ(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> list[str]:
    """Keys whose values differ, as "key: a there, b now"."""
    found: list[str] = []
    for key in sorted({*there, *here}):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += settings_that_differ(old, new, f"{prefix}{key}.")
        elif isinstance(old, dict) or isinstance(new, dict):
            found.append(f"{prefix}{key}: only {'there' if isinstance(old, dict) else 'now'}")
        elif old != new:
            found.append(_differing(f"{prefix}{key}", old, new))
    return found


def listed(changed: list[str]) -> str:
    """A few of the differences, for a sentence."""
    more = len(changed) - 4
    return "; ".join(changed[:4]) + (f"; and {more} more" if more > 0 else "")


def _differing(key: str, old: Any, new: Any) -> str:
    """Both values; of long ones what is about the place where they begin to differ."""
    texts = [repr(old), repr(new)]
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    there, now = (_part(text, max(same - 10, 0)) for text in texts)
    return f"{key}: {there} there, {now} now"


def _part(text: str, begin: int) -> str:
    if len(text) <= 40:
        return text
    return f"{'...' if begin else ''}{text[begin : begin + 40]}{'...' if len(text) > begin + 40 else ''}"


def _settings_of_old(folder: "Directory[Any]") -> Iterator[dict[str, Any]]:
    """Settings that results without a version may be of: those in config.yaml, whose keys are of the time when it was
    written; all that are known now; those in the report, where config.yaml was changed since."""
    whole = folder.config.settings()
    yield _only(whole, read_yaml(folder.path / "config.yaml"))
    yield whole
    try:
        told = read_object(folder.path / "report" / "report.json", nan=True)["provenance"]["config"]
    except (Unreadable, KeyError, TypeError):
        return
    if isinstance(told, dict):
        yield told


def _only(values: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    """The values of the keys that are in ``keys`` too."""
    return {
        key: _only(value, keys[key]) if isinstance(value, dict) and isinstance(keys[key], dict) else value
        for key, value in values.items()
        if key in keys
    }


def _unversioned(folder: "Directory[Any]", settings: dict[str, Any], model: dict[str, str | None]) -> str:
    """The fingerprint as it was before there were versions; of a run with the model's checksums."""
    return _digest([settings, *model.values()] if model else settings)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _fingerprints(folder: "Directory[Any]") -> Iterator[str]:
    """Those that the files of a folder carry."""
    for part in folder.parts():
        there = sorted(part.rglob("*")) if part.is_dir() else [part]
        for file in there:
            if (told := _fingerprint_in(file, folder.NOUN)) is not None:
                yield told


def _fingerprint_in(file: Path, noun: str) -> str | None:
    if file.suffix not in (".safetensors", ".parquet") or not file.is_file():
        return None
    told = read_about(file).get(noun)
    return told if isinstance(told, str) else None
