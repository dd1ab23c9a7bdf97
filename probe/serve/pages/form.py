"""The form of a run and its YAML: two views of one configuration.

A configuration is here what ``probe.reading.parse_yaml`` makes of a file: mappings, lists, texts and None.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from probe.config import Config
from probe.configuration import describe
from probe.data.presets import presets
from probe.errors import UserError
from probe.kinds import kind
from probe.reading import parse_yaml, short

START: dict[str, Any] = {
    "model": {"source": "embedded:cifar-attractors"},
    "resolution": "32",
    "seeds": {"count": "256"},
    "datasets": {"photographs": None},
}
"""What an empty form begins with: it runs without a network, in minutes."""


@dataclass(frozen=True)
class Field:
    """A field of the form that sets one key.

    Attributes:
        key: dotted key of the configuration.
        label: its name in the form.
        number: whether its values are integers.
    """

    key: str
    label: str
    number: bool = False

    @property
    def name(self) -> str:
        """The field's name in the posted form, and its id."""
        return self.key.replace(".", "-")

    @property
    def help(self) -> str:
        """The description of the key in the configuration, with its type and range."""
        model: Any = Config
        *parents, last = self.key.split(".")
        for parent in parents:
            model = model.model_fields[parent].annotation
        found = model.model_fields[last]
        return explained(found.description, "" if not self.number else describe(found.rebuild_annotation()))


def explained(description: str, range: str = "") -> str:
    """The description of a key as sentences for people."""
    told = " ".join(description.split()).replace("``", "")
    return f"{told[0].upper()}{told[1:]}{f' ({range})' if range else ''}."


FIELDS = (Field("model.source", "Model"), Field("resolution", "Resolution", True), Field("seeds.count", "Starts", True))


def sources() -> dict[str, str]:
    """Sources of the data sets that need no more than their name."""
    return {name: keys["source"] for name, keys in presets().items()}


def read(text: str) -> dict[str, Any]:
    """The configuration in a YAML text.

    Raises:
        UserError: it is not YAML, or no mapping.
    """
    data = parse_yaml(text, "the configuration") or {}
    if not isinstance(data, dict):
        raise UserError(f"the configuration must be a mapping of keys to values, not {short(data)}.")
    return data


def values(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows of a configuration: a text by key, and ``datasets``, the names.

    A key that is not set, or holds what no text field can show, is empty.
    """
    shown: dict[str, Any] = {}
    for field in FIELDS:
        found: Any = config
        for part in field.key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        shown[field.name] = found if isinstance(found, str) else ""
    datasets = config.get("datasets")
    return shown | {"datasets": list(datasets) if isinstance(datasets, Mapping) else [], "run": kind(config) == "run"}


def changed(config: dict[str, Any], given: Mapping[str, str], datasets: Iterable[str]) -> dict[str, Any]:
    """The configuration with the form's values: an empty field removes its key, a data set that is not ticked goes, and
    all that the form does not show stays."""
    made = dict(config)
    for field in FIELDS:
        section, _, last = field.key.rpartition(".")
        inside = made.get(section) if section else made
        holder = dict(inside) if isinstance(inside, Mapping) else {}
        value = given.get(field.name, "").strip()
        if value:
            holder[last] = value
        else:
            holder.pop(last, None)
        made = holder if not section else {**made, section: holder}
    before = made.get("datasets")
    sets = dict(before) if isinstance(before, Mapping) else {}
    ticked = set(datasets)
    sets = {name: one for name, one in sets.items() if name in ticked or name not in sources()}
    sets |= {name: None for name in sources() if name in ticked and name not in sets}
    return {key: one for key, one in {**made, "datasets": sets}.items() if one not in ({}, None)}


class _Dumper(yaml.SafeDumper):
    """Writes texts without quotes where the strict reader reads the same text: it gives no scalar but null a type."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own attribute)
        first: [one for one in known if one[0].endswith(":null")]
        for first, known in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _nothing(dumper: yaml.SafeDumper, _: None) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:null", "")


def _list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.SequenceNode:
    flat = all(isinstance(one, str) for one in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flat)


_Dumper.add_representer(type(None), _nothing)
_Dumper.add_representer(list, _list)


def text_of(config: Mapping[str, Any]) -> str:
    """The configuration as YAML; ``read`` gives it back."""
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)
