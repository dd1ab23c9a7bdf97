"""The scripts of docs/, as modules, and the pages."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """script(name): a module of docs/scripts, imported as the hook of MkDocs imports it."""
    monkeypatch.syspath_prepend(ROOT / "docs" / "scripts")

    def load(name: str) -> ModuleType:
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    return load


def pages() -> list[Path]:
    """README, CONTRIBUTING, and every page of docs/ that is written by hand."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
