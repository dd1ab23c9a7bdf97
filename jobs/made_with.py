"""The settings and models that results were made with, and a fingerprint of both that every file carries.

The manifest keeps them from the first session on. Result files and config.yaml are compared with the manifest.

- Settings are kept whole, with defaults resolved, so that a later change of a default does not change their meaning.
  Where they are known, they decide; the fingerprint only makes comparing files short.
- A key missing from kept settings was added to the tool later and counts as its default. So the first default of a new
  key must be what the tool did before. To change such a default later, give the key a new name.
- A fingerprint of version 2 omits keys at their default, so versions of the tool with more keys compute the same one.
- A fingerprint without a version covers all settings that the tool of its time knew, which are the keys in config.yaml;
  so it can be recomputed. Such a folder keeps its fingerprint: new files must match the old ones.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.config import Tracked, read_yaml
from probe.errors import UserError
from probe.kinds import Kind
from probe.reading import Unreadable, read_object
from probe.results.files import read_about
from probe.results.layout import CONFIG, REPORT_JSON, WORK

ENTRY = "made_with"
"""Of the manifest, and of the metadata of result files."""
VERSION = "2-"


@dataclass(frozen=True)
class MadeWith:
    """fingerprint: ``VERSION`` and 16 hexadecimal digits; settings: whole, as JSON; model: checksums by name."""

    fingerprint: str
    settings: dict[str, Any]
    model: dict[str, str | None]

    @classmethod
    def new(cls, config: Tracked, model: dict[str, str | None]) -> "MadeWith":
        """Of results that are made now."""
        few = config.model_dump(mode="json", exclude={"trackers"}, exclude_defaults=True)
        return cls(f"{VERSION}{_digest([few, model])}", config.settings(), model)

    def stamp(self) -> dict[str, Any]:
        """For the metadata of a file, beside the fingerprint; nothing in folders whose files never had it."""
        about = {"settings": self.settings, "model": self.model}
        return {ENTRY: about} if self.fingerprint.startswith(VERSION) else {}


def of_old_results(
    path: Path, noun: Kind, results: Sequence[str], settings: dict[str, Any], model: dict[str, str | None]
) -> MadeWith | None:
    """What results of a version of this tool that did not note it are made with; None where there are none.

    Args:
        results: files and folders of results.
        settings, model: as they are now.

    Raises:
        UserError: config.yaml has changed since.
    """
    there = set(_fingerprints(path, noun, results))
    for known in _settings_of_old(path, settings) if there else ():
        fingerprint = _digest([known, *model.values()] if model else known)
        if fingerprint in there:
            return MadeWith(fingerprint, known, model)
    if there and not any(one.startswith(VERSION) for one in there):
        raise UserError(
            f"{path / CONFIG} has changed since the results in {path} were made, and what differs was not recorded; "
            f"put back the config.yaml of the {noun}, or choose another folder."
        )
    return None


def settings_that_differ(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> list[str]:
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
    """The first four differences, for a sentence."""
    more = len(changed) - 4
    return "; ".join(changed[:4]) + (f"; and {more} more" if more > 0 else "")


def _differing(key: str, old: Any, new: Any) -> str:
    """Both values; long ones are cut to the place where they begin to differ."""
    texts = [repr(old), repr(new)]
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    there, now = (_part(text, max(same - 10, 0)) for text in texts)
    return f"{key}: {there} there, {now} now"


def _part(text: str, begin: int) -> str:
    if len(text) <= 40:
        return text
    return f"{'...' if begin else ''}{text[begin : begin + 40]}{'...' if len(text) > begin + 40 else ''}"


def _settings_of_old(path: Path, whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Candidates for the settings behind a fingerprint without a version: the keys of config.yaml, as of the time it
    was written; all keys known now; the keys in the report, if config.yaml was changed since."""
    yield _only(whole, read_yaml(path / CONFIG))
    yield whole
    try:
        reported = read_object(path / REPORT_JSON, nan=True)["provenance"]["config"]
    except (Unreadable, KeyError, TypeError):
        return
    if isinstance(reported, dict):
        yield reported


def _only(values: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _only(value, keys[key]) if isinstance(value, dict) and isinstance(keys[key], dict) else value
        for key, value in values.items()
        if key in keys
    }


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _fingerprints(path: Path, noun: Kind, results: Sequence[str]) -> Iterator[str]:
    """Those of the result files in a folder."""
    for part in (path / name for name in (*results, WORK)):
        for file in part.rglob("*") if part.is_dir() else [part]:
            if file.suffix in (".safetensors", ".parquet") and file.is_file():
                fingerprint = read_about(file).get(noun)
                if isinstance(fingerprint, str):
                    yield fingerprint
