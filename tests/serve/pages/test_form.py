"""The form and the YAML are one configuration."""

import pytest

from probe.config import Config, parse_config
from probe.reading import parse_yaml
from probe.serve.pages import form

ODD = {
    "a": ["1", "null", "x: y", "- z", "true", "[a]"],
    "b": {"c": "true", "d": None, "e": "~", "f": "", " g": "a\nb", "h": "#x", "i": "!!x", "j": "010", "k": "<<"},
    "l": [None, {"x": None}, []],
    "m": {},
    "n": "é\u202e\x07",
}


@pytest.mark.parametrize("config", [form.START, ODD], ids=["start", "odd"])
def test_the_reader_gives_back_what_the_editor_shows(config):
    assert parse_yaml(form.text_of(config), "it") == config


def test_numbers_and_presets_stand_in_the_text_as_people_write_them():
    assert form.text_of(form.START) == (
        "model:\n  source: embedded:cifar-attractors\nresolution: 32\nseeds:\n  count: 256\ndatasets:\n  photographs:\n"
    )


def test_the_form_begins_with_a_valid_run_that_shows_in_all_its_fields():
    assert parse_config(form.START).seeds.count == 256
    assert form.values(form.START) == {
        "model-source": "embedded:cifar-attractors", "resolution": "32", "seeds-count": "256",
        "datasets": ["photographs"], "run": True,
    }  # fmt: skip


def test_a_change_keeps_what_the_form_does_not_show():
    before = {
        "model": {"source": "a/b", "latents": "scaled"},
        "seeds": {"count": "8"},
        "solver": {"max_steps": "9"},
        "datasets": {"mine": {"source": "folder:x"}, "digits": {"n": "5"}, "retina": None},
    }
    given = {"model-source": "", "resolution": "64", "seeds-count": ""}
    assert form.changed(before, given, ["digits", "photographs"]) == {
        "model": {"latents": "scaled"},
        "solver": {"max_steps": "9"},
        "datasets": {"mine": {"source": "folder:x"}, "digits": {"n": "5"}, "photographs": None},
        "resolution": "64",
    }


@pytest.mark.parametrize("text", ["datasets: [a]", "model: x", "seeds: {count: [1]}", "resolution: {a: b}", "study: x"])
def test_values_that_no_field_can_show_are_empty(text):
    shown = form.values(form.read(text))
    assert {shown["model-source"], shown["resolution"], shown["seeds-count"]} == {""}
    assert shown["datasets"] == []


def test_help_is_that_of_the_configuration():
    described = Config.model_fields["resolution"].description
    assert form.FIELDS[1].help.casefold().startswith(described)
    assert "8,192" in form.FIELDS[1].help


def test_data_sets_of_the_form_need_no_more_than_their_names():
    from probe.data.presets import preset_names

    assert list(form.sources()) == preset_names()
