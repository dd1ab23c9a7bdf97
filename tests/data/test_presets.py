import pytest

from probe.config import DatasetConfig, parse_config
from probe.data.load import load_images
from probe.data.presets import preset_names, resolve
from probe.data.sources import known_sources
from probe.errors import UserError


@pytest.mark.parametrize("name", preset_names())
def test_presets_parse(name):
    spec = resolve(name, DatasetConfig())
    assert spec.source is not None
    assert spec.source.split(":")[0] in known_sources()


def test_what_the_user_sets_wins():
    spec = resolve("imagenet", DatasetConfig(split="train", n=3))
    assert (spec.source, spec.split, spec.column, spec.n) == ("hub:ILSVRC/imagenet-1k", "train", "image", 3)
    assert resolve("imagenet", DatasetConfig()).split == "validation"


def test_an_own_source_takes_nothing_from_the_preset_of_its_name():
    spec = DatasetConfig(source="folder:x")
    assert resolve("imagenet", spec) == spec


@pytest.mark.parametrize("name", preset_names())
def test_a_resolved_specification_survives_being_written_out(name):
    spec = resolve(name, DatasetConfig(n=5))
    again = parse_config({"datasets": {name: spec.model_dump()}}).datasets[name]
    assert resolve(name, again) == spec
    if (spec.source or "").startswith("bundled"):
        assert len(load_images(name, again, resolution=8).ids) == 5


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"did you mean 'eurosat'.*places365"):
        load_images("eurosta", DatasetConfig(), resolution=8)
