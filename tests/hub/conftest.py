"""The hub for tests, and folders of models to put on it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .repositories import sd_shaped
from .server import Hub

Folders = Callable[..., Path]


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    """A hub for all tests of a process; what a test adds is under names of its own."""
    with Hub() as made:
        yield made


@pytest.fixture(scope="session")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Folders of ``sd_shaped`` by its options, each made once."""
    made: dict[tuple[object, ...], Path] = {}

    def folder(**options: object) -> Path:
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = sd_shaped(tmp_path_factory.mktemp("sd"), **options)  # type: ignore[arg-type]
        return made[key]

    return folder
