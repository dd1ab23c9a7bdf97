"""docs/developing/recipe-source.md: its code, taken from the page and listed, draws images."""

import re
from pathlib import Path

import pytest

from probe import plugins
from probe.config import DatasetConfig
from probe.data.load import load_images
from probe.data.source import Candidate, Opened, Source
from probe.data.sources import SOURCES, is_remote, known_sources
from probe.errors import Failure, UserError

PAGE = Path(__file__).parents[1] / "docs" / "developing" / "recipe-source.md"


@pytest.fixture
def noise():
    """The source that the page defines."""
    names = {}
    exec(re.search(r"```python\n(import .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1], names)
    return names["NOISE"]


@pytest.fixture
def listed(noise, monkeypatch):
    """One more entry in the tuple."""
    monkeypatch.setattr("probe.data.sources.SOURCES", (*SOURCES, noise))


def load(source="noise:20", **fields):
    return load_images("toy", DatasetConfig(source=source, **fields), resolution=8)


def test_a_listed_source_draws_images(listed):
    got = load(n=12, holdout=4)
    assert got.images.shape == (12, 3, 8, 8)
    assert got.heldout.shape == (4, 3, 8, 8)
    assert got.labels == ["even" if int(i) % 2 == 0 else "odd" for i in got.ids]
    assert (got.source["source"], got.source["available"], got.source["split"]) == ("noise:20", 20, None)
    assert load(n=12).ids == got.ids
    assert load(n=19, holdout=0).unreadable == ["13"]


def test_the_rest_of_the_tool_reads_the_table(listed):
    with pytest.raises(UserError, match="a noise:COUNT source has no column; remove it"):
        load(column="image")
    with pytest.raises(UserError, match=r"write one of hub:ID, .*, noise:COUNT\."):
        load("mist:3")
    with pytest.raises(UserError, match=r"data set 'toy' \(noise:many\): noise takes a number of images, not 'many'"):
        load("noise:many")
    assert not is_remote("noise:20")
    assert is_remote("hub:x/y")
    assert is_remote("urls:x/y")


def test_a_source_of_another_package(noise, monkeypatch):
    monkeypatch.setattr(plugins, "loaded", lambda: (noise,))
    assert list(known_sources())[-1] == "noise"
    assert len(load(n=5, holdout=0).ids) == 5


def fails_at_once(where, spec, place):
    return 1 / 0


def fails_later(where, spec, place):
    return Opened(Candidate(str(index), lambda: 1 / 0) for index in range(3))


@pytest.mark.parametrize("opener", [fails_at_once, fails_later])
def test_a_source_of_another_package_that_fails(opener, monkeypatch):
    broken = Source("broken", "ANY", opener, "fails")
    monkeypatch.setattr(plugins, "loaded", lambda: (broken,))
    with pytest.raises(Failure, match="Source 'broken' of a plug-in failed: ZeroDivisionError"):
        load("broken:x")


def test_the_configuration_names_every_source():
    for source in known_sources().values():
        assert f"``{source.prefix}:" in (DatasetConfig.model_fields["source"].description or ""), source.prefix
