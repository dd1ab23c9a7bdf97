"""The kinds of study, one entry each."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from probe.config import read_yaml, validated
from probe.errors import UserError
from probe.names import did_you_mean
from probe.reading import short
from probe.report.study import across_training, contraction, convergence, memorization
from probe.report.study.page import StudyKind
from probe.studies.sweeps.config import StudyConfig

KINDS: tuple[StudyKind, ...] = (
    memorization.BOTTLENECK,
    memorization.TRAINING_SIZE,
    across_training.KIND,
    convergence.KIND,
    contraction.KIND,
)


def study_kind(name: Any) -> StudyKind:
    """The kind of study with this name.

    Raises:
        UserError: there is none; the closest name is suggested.
    """
    kinds = {kind.name: kind for kind in KINDS}
    if isinstance(name, str) and name in kinds:
        return kinds[name]
    hint = did_you_mean(short(name), kinds) or f"there are {', '.join(kinds)}."
    raise UserError(f"config key 'study': there is no study {short(name)}; {hint}")


def load_study_config(path: str | Path | None, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read a YAML file and apply ``dotted.key=value`` overrides; errors as ``probe.config.load_config``."""
    return parse_study_config(read_yaml(path, overrides))


def parse_study_config(data: dict[str, Any]) -> StudyConfig:
    """Validate a mapping against the configuration of the kind of study that it names."""
    if data.get("study") is None:
        raise UserError(f"config key 'study' is missing: set it to one of {', '.join(kind.name for kind in KINDS)}.")
    return validated(study_kind(data["study"]).configuration, data)
