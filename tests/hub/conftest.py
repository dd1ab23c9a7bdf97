"""The hub for tests, and what it always has."""

from collections.abc import Iterator

import pytest

from .repositories import sd_shaped, taesd_shaped
from .server import Hub


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub for all tests of a process; what a test adds is under names of its own."""
    with Hub() as made:
        made.add("tests/pipeline", sd_shaped(tmp_path_factory.mktemp("pipeline"), subfolder="vae"))
        made.add("tests/taesd", taesd_shaped(tmp_path_factory.mktemp("taesd")))
        yield made
