"""manifest.json: how results were made. Its outline is checked here, once, for all readers."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from probe.kinds import Kind
from probe.reading import Unreadable, read_object

FACTS: dict[Kind, tuple[str, ...]] = {
    "run": ("sha256", "n_used"),
    "study": ("sha256", "channels", "side", "train.n_used", "test.n_used"),
    "ood": ("sha256", "n_used", "grey", "source"),
    "roundtrip": ("sha256", "n_used", "source"),
}
"""What is always known of the images of a data set, by kind of work; a dot leads into an entry."""


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Images(_Open):
    sha256: str | None = None
    n_planned: int = 0
    n_used: int = 0
    n_heldout: int = 0
    unreadable: list[Any] = []
    source: Any = None


class _Manifest(_Open):
    """The entries that readers rely on; each may be absent, and others may be present."""

    model: dict[str, Any] = {}
    models: dict[str, dict[str, Any]] = {}
    data: dict[str, _Images] = {}
    versions: dict[str, str] = {}
    sessions: list[dict[str, Any]] = []
    command: str = ""


def read_manifest(path: Path, kind: Kind | None = None) -> dict[str, Any]:
    """The manifest in a file.

    Args:
        kind: whose ``FACTS`` every data set must have.

    Raises:
        Unreadable: the file holds no JSON object, an entry has the wrong type, or a fact is missing.
    """
    content = read_object(path, nan=True)
    try:
        _Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise Unreadable(path, f"its entry {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    for name, about in content.get("data", {}).items():
        for fact in FACTS[kind] if kind else ():
            found: Any = about
            for key in fact.split("."):
                found = found.get(key) if isinstance(found, dict) else None
            if found is None:
                raise Unreadable(path, f"its entry data.{name} has no {fact}")
    return content
