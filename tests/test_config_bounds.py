"""Every field of every configuration: bounds, and one sentence for whatever stands in its place."""

import typing
from collections.abc import Iterator

import pytest
import yaml
from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jobs.slurm.profile import ClusterProfile, Resources
from probe.autoencoders.embedded.train import TrainConfig as EmbeddedTraining
from probe.config import Config, validated
from probe.errors import UserError
from probe.mistakes import _branches
from probe.studies.ood.config import OodConfig
from probe.studies.roundtrip.config import RoundtripConfig
from probe.studies.sweeps.kinds import STUDIES, parse_study_config

ALL: tuple[type[BaseModel], ...] = (
    *(Config, OodConfig, RoundtripConfig, ClusterProfile, Resources, EmbeddedTraining),
    *dict.fromkeys(kind.configuration for kind in STUDIES),
)
IMAGES = {"source": "noise", "n": 3}
PARTS = {
    Config: {"datasets": {"a": {}}, "clip": {}},
    OodConfig: {
        "inside": {"train": {**IMAGES, "split": "a"}, "test": IMAGES},
        "outside": {"a": IMAGES},
        "train": {"k": 3},
    },
    RoundtripConfig: {"models": {"a": {}}, "datasets": {"a": {}}},
    ClusterProfile: {"stages": {"images": {}}},
    EmbeddedTraining: {},
    **{
        kind.configuration: {
            "study": kind.name,
            "datasets": {"a": {"train": IMAGES, "test": {**IMAGES, "split": "b"}}},
            "k": [2],
        }
        for kind in STUDIES
        if kind.name != "contraction"
    },
}
"""The least of each configuration, with every section named that is not there by default."""


def leaves(kind: type[BaseModel], seen: set[type]) -> Iterator[tuple[str, object, list[object]]]:
    """Each plain type in the fields of a model and of those below it: where, which, and what constrains it."""
    seen.add(kind)
    for name, field in kind.model_fields.items():
        yield from inside(f"{kind.__name__}.{name}", field.annotation, list(field.metadata), seen)


def inside(
    where: str, kind: object, limits: list[object], seen: set[type]
) -> Iterator[tuple[str, object, list[object]]]:
    if typing.get_origin(kind) is typing.Annotated:
        base, *more = typing.get_args(kind)
        more = [limit for one in more for limit in (one.metadata if isinstance(one, FieldInfo) else [one])]
        yield from inside(where, base, [*limits, *more], seen)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind not in seen:
            yield from leaves(kind, seen)
    elif typing.get_origin(kind) in (tuple, dict):
        yield where, typing.get_origin(kind), limits
        for item in typing.get_args(kind):
            if item is not ...:
                yield from inside(where, item, [], seen)
    elif typing.get_origin(kind) is not typing.Literal and typing.get_args(kind):
        for branch in typing.get_args(kind):
            yield from inside(where, branch, limits, seen)
    else:
        yield where, kind, limits


def test_every_number_has_two_bounds_and_every_text_and_collection_a_longest():
    found, seen = [], set()
    for kind in ALL:
        for where, leaf, limits in leaves(kind, seen):
            if leaf in (int, float):
                found.append(where)
                assert any(isinstance(limit, Ge | Gt) for limit in limits), where
                assert any(isinstance(limit, Le | Lt) for limit in limits), where
            elif leaf in (str, tuple, dict) and not where.startswith("ClusterProfile.stages"):
                assert any(isinstance(limit, MaxLen) for limit in limits), (where, leaf)
    assert len(found) > 100


def places(kind: type[BaseModel], data: dict, path: tuple = ()) -> Iterator[tuple[tuple, type[BaseModel]]]:
    """The way to every model in a configuration."""
    yield path, kind
    for name, field in kind.model_fields.items():
        for branch in _branches(field.annotation):
            if isinstance(branch, type) and issubclass(branch, BaseModel):
                yield from places(branch, data, (*path, name))
            elif typing.get_origin(branch) is dict:
                below = typing.get_args(branch)[1]
                if isinstance(below, type) and issubclass(below, BaseModel):
                    yield from places(below, data, (*path, name, "a"))


def put(data: dict, path: tuple, value: object) -> dict:
    """A copy with ``value`` at the end of the path."""
    if not path:
        return value
    there = data.get(path[0])
    return {**data, path[0]: put(there if isinstance(there, dict) else {}, path[1:], value)}


EVERY = [(root, path, kind) for root in PARTS for path, kind in places(root, PARTS[root])]


def refusal(root: type[BaseModel], data: object) -> str | None:
    try:
        parse_study_config(data) if "study" in PARTS[root] and isinstance(data, dict) else validated(root, data)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("root", "path", "kind"), EVERY, ids=lambda x: x.__name__ if isinstance(x, type) else ".".join(x)
)
def test_a_misspelt_key_at_any_place_finds_the_nearest(root, path, kind):
    for name in kind.model_fields:
        said = refusal(root, put(PARTS[root], (*path, f"{name}x"), "3"))
        assert "is unknown" in said
        assert "did you mean" in said
        assert ".".join((*path, f"{name}x")) in said


@pytest.mark.parametrize(
    ("root", "path", "kind"), EVERY, ids=lambda x: x.__name__ if isinstance(x, type) else ".".join(x)
)
def test_anything_at_any_place_is_taken_or_refused_in_one_sentence(root, path, kind):
    refused = 0
    for name in ("", *kind.model_fields):
        for value in (None, "x", [], ["1"], {}, {"x": "1"}, "3", "-1", "1e308", "9" * 30, "9" * 5000, "true", [[]], ""):
            said = refusal(root, put(PARTS[root], (*path, *([name] if name else [])), value))
            assert "\n" not in (said or "")
            assert len(said or "") <= 500
            refused += said is not None
    assert refused > 5


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        *((Config, "seeds.count", v) for v in ("1000000000000", "1:30", "true", "yes", "0x10", "1.5", "")),
        *((Config, "seeds.seed", v) for v in (str(2**80), str(2**63), "-1")),
        *((Config, "solver.max_steps", v) for v in (str(10**23), "1e30", "on")),
        *(
            (Config, "solver.tolerance", v)
            for v in ("1e308", "1e999", ".inf", "-.inf", ".nan", "nan", "true", "1:30.5")
        ),
        *((Config, "resolution", v) for v in ("100000", "0", "null")),
        (Config, "sparse.levels", "[1000000000000]"),
        (Config, "sparse.levels", f"[{'9' * 5000}]"),
        (Config, "model.source", "x" * 10_000),
        (Config, "datasets", "{" + "x" * 300 + ": {}}"),
        *((ClusterProfile, "nodes", v) for v in ("100000000", "yes", "2024-13-45")),
        (ClusterProfile, "array", str(2**64)),
        (EmbeddedTraining, "steps", str(10**23)),
    ],
)
def test_what_no_honest_user_asks_for_is_refused(config, key, value):
    from probe.config import read_yaml

    with pytest.raises(UserError, match=key.split(".")[0]) as caught:
        validated(config, read_yaml(None, [f"{key}={value}"]))
    assert len(str(caught.value)) <= 500


def test_every_shipped_configuration_is_within_the_bounds(root):
    from jobs.slurm.profile import load_profile
    from probe.config import read_yaml
    from probe.kinds import kind
    from probe.studies.ood.config import parse_ood_config
    from probe.studies.roundtrip.config import parse_roundtrip_config

    parsers = {"study": parse_study_config, "ood": parse_ood_config, "roundtrip": parse_roundtrip_config}
    parsers["run"] = lambda data: validated(Config, data)
    for file in sorted((root / "configs").glob("*.yaml")):
        data = read_yaml(file)
        made = validated(EmbeddedTraining, data) if file.name == "embedded.yaml" else parsers[kind(data)](data)
        again = yaml.safe_load(yaml.safe_dump(made.model_dump(mode="json")))
        assert type(made).model_validate(again) == made
    assert load_profile(root / "slurm" / "example.yaml").of("images").time == "02:00:00"
