"""manifest.json: how results were made. Its outline is checked here, once, for all readers."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from probe.reading import Unreadable, read_object


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
    data: dict[str, _Images] = {}
    versions: dict[str, str] = {}
    sessions: list[dict[str, Any]] = []
    command: str = ""


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in a file.

    Raises:
        Unreadable: the file holds no JSON object, or one of its entries has the wrong type.
    """
    content = read_object(path, nan=True)
    try:
        _Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise Unreadable(path, f"its entry {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return content
