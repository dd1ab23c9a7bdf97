"""``probe config``: every key of every kind, and example files that are the defaults."""

import json

import pytest
import yaml
from pydantic import BaseModel
from rich.console import Console

from probe import configuration
from probe.cli.config import OUTSIDE
from probe.cli.main import app, main
from probe.config import Config, parse_config
from probe.configuration import describe, example, examples, keys, models
from probe.kinds import kind
from probe.studies.ood.config import parse_ood_config
from probe.studies.roundtrip.config import parse_roundtrip_config
from probe.studies.sweeps.kinds import parse_study_config

PARSERS = {
    "run": parse_config,
    "study": parse_study_config,
    "ood": parse_ood_config,
    "roundtrip": parse_roundtrip_config,
}


def leaves(content: dict, prefix: str = "") -> set[str]:
    """Dotted keys of a dumped configuration that hold values."""
    found = set()
    for name, value in content.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}"}
    return found


@pytest.mark.parametrize("name", ["study", *examples()])
def test_an_example_parses_back_to_the_defaults(name):
    content, required = yaml.safe_load(example(name)), examples()["bottleneck" if name == "study" else name]
    parse = PARSERS[kind(required)]
    assert parse(content) == parse(required)
    assert kind(content) == kind(required)


def test_an_example_explains_every_key():
    text = example("run")
    for key in leaves(Config().model_dump(mode="json")):
        assert f"{key.split('.')[-1]}:" in text
    assert max(map(len, text.splitlines())) <= configuration.WIDTH
    # What is commented out is a configuration, too, once it is uncommented.
    for section in ("clip", "perceptual"):
        block = text[text.index(f"# {section}:") :].partition("\n\n")[0]
        parse_config(yaml.safe_load("\n".join(line.removeprefix("# ") for line in block.splitlines())))


@pytest.mark.parametrize("kind", examples())
def test_every_key_of_a_configuration_is_listed(kind):
    model = models()[kind]
    parse = PARSERS[configuration_kind(kind)]
    known = {one.key for one in keys(kind)}
    given = examples()[kind]
    names = {*given.get("datasets", {}), *given.get("outside", {}), *given.get("models", {})}
    for key in leaves(parse(given).model_dump(mode="json")):
        generic = ".".join("NAME" if part in names else part for part in key.split("."))
        assert generic in known
    assert issubclass(model, BaseModel)


def configuration_kind(name: str) -> str:
    return kind(examples()[name])


def test_a_key_has_its_type_range_default_and_alternatives():
    (one,) = [key for key in keys("solver.max_steps") if "run" in key.kinds]
    assert (one.type, one.default, one.kinds) == ("integer from 1 to 10^9", "500", ("run", "ood"))
    (device,) = keys("model.latents")
    assert (device.alternatives, device.default) == (("raw", "scaled"), "raw")
    assert [one.key for one in keys("datasets.cats.n") if "run" in one.kinds] == ["datasets.NAME.n"]
    assert {one.key for one in keys("seeds")} >= {"seeds.count", "seeds.seed"}
    assert keys("shard_size")[0].key == "seeds.shard_size"
    assert {one.default for one in keys("k") if "bottleneck" in one.kinds} == {None}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int | None, "integer or null"),
        (bool, "true or false"),
        (tuple[str, ...], "list of text"),
        (dict[str, int], "sections by NAME"),
    ],
)
def test_types_in_words(kind, text):
    assert describe(kind) == text


def test_the_command(capsys):
    app(["config", "solver", "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert {"key", "meaning", "type", "default", "alternatives", "kinds"} == set(found[0])
    assert all(key["meaning"] for key in found)
    app(["config", "seeds.count"], standalone_mode=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == ["seeds", "count 256 number of starts", "integer from 1 to 10^8 (run)"]
    app(["config", "--example", "contraction"], standalone_mode=False)
    assert yaml.safe_load(capsys.readouterr().out)["study"] == "contraction"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["solver.max_stps"], "did you mean 'solver.max_steps'?"),
        (["tolerence"], "did you mean 'solver.tolerance'?"),
        (["zzzzzz"], "`probe config` lists all keys"),
        (["--example", "nothing"], "choose one of study, run, bottleneck"),
        (["seeds", "--example", "run"], "leave out 'seeds'"),
    ],
)
def test_mistakes(arguments, message, capsys):
    assert main(["config", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("columns", [80, 120])
def test_the_list_names_every_key_below_its_section(columns, capsys, monkeypatch):
    monkeypatch.setattr("probe.terminal.console", lambda: Console(width=columns))
    app(["config"], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert "solver: the iteration z <- f(z)" in lines
    heads = [line for before, line in zip(["", *lines], lines, strict=False) if not before.strip()]
    listed = {(head.partition(":")[0], row.split()[0])
              for head, rows in zip(heads, "\n".join(map(str.rstrip, lines)).split("\n\n"), strict=False)
              for row in rows.splitlines()[1:] if row[0] != " "}  # fmt: skip
    for one in keys():
        section, dot, name = one.key.partition(".")
        if "section" not in one.type:
            assert (section if dot else OUTSIDE, name or section) in listed
    words = " ".join(" ".join(lines).split())
    assert "list of tensorboard, wandb, trackio (run, study, ood, roundtrip)" in words
    assert "…" not in words


def test_kinds_are_not_repeated_where_one_was_asked_for(capsys):
    app(["config", "contraction"], standalone_mode=False)
    assert "contraction)" not in capsys.readouterr().out
