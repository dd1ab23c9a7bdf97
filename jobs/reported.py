"""Whether the report in a folder is the one that would be written again.

One checksum decides, which the manifest keeps: over the sources of ``probe``, config.yaml, the manifest without its
sessions, the checksums of the result files (of tables, which no stage reads again, their content), and every file of
report/.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import probe
from jobs.directory import Directory
from probe.reading import Unreadable, read_object
from probe.results.files import read_about
from probe.results.layout import CONFIG, FILES, REPORT_JSON, WORK

SOURCES = (".py", ".j2", ".css", ".js")
ENTRY = "report_checksum"
"""Of the manifest."""


def keep_checksum(folder: Directory[Any]) -> None:
    """Note in the manifest that report/ was written now, from what is in the folder."""
    folder.update_manifest(**{ENTRY: _checksum(folder)})


def current_report(folder: Directory[Any]) -> dict[str, Any] | None:
    """The content of report.json; None if the report is missing or would be written otherwise now."""
    kept = folder.manifest.get(ENTRY)
    if not kept or kept != _checksum(folder):
        return None
    try:
        return read_object(folder.path / REPORT_JSON)
    except Unreadable:  # larger than what is read
        return None


def _checksum(folder: Directory[Any]) -> str:
    manifest = {key: value for key, value in folder.manifest.items() if key not in ("sessions", ENTRY)}
    results = [f"{file.relative_to(folder.path)} {_content(file)}" for file in _results(folder)]
    digest = hashlib.sha256(json.dumps([manifest, results], sort_keys=True).encode())
    sources = [file for file in _files(Path(probe.__file__).parent) if file.suffix in SOURCES]
    for file in (*sources, folder.path / CONFIG, *_files((folder.path / REPORT_JSON).parent)):
        digest.update(f"{file.name} {file.stat().st_size} ".encode() + file.read_bytes())
    return digest.hexdigest()


def _results(folder: Directory[Any]) -> Iterator[Path]:
    for kind in FILES[folder.NOUN]:
        if kind.pattern.endswith((".safetensors", ".parquet")) and not kind.pattern.startswith(f"{WORK}/"):
            yield from sorted(folder.path.glob(kind.glob))


def _content(file: Path) -> object:
    """A checksum; a table is read through, while the stages check the rest before this is asked."""
    if file.suffix != ".parquet":
        return read_about(file).get("sha256")
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
