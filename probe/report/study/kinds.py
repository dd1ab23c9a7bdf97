"""The kinds of study, one entry each: configuration, shards, measure and page. A new kind is one more entry."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probe.config import read_yaml, validated
from probe.errors import UserError
from probe.reading import short
from probe.report.study import across_training as across_training_page
from probe.report.study import contraction as contraction_page
from probe.report.study import convergence as convergence_page
from probe.report.study import memorization as memorization_page
from probe.report.study.page import StudyPage
from probe.studies.sweeps import across_training, contraction, convergence, memorization
from probe.studies.sweeps.config import StudyConfig
from probe.studies.sweeps.grid import Backbone, Cell, Measured, Tell, cells

Shards = Sequence[Cell | Backbone]
ImageFacts = Mapping[str, Mapping[str, int]]
"""For each data set ``n_train``, ``channels`` and ``side``."""


@dataclass(frozen=True)
class StudyKind:
    """One kind of study.

    Attributes:
        name: the value of ``study`` in a configuration.
        configuration: its keys.
        shards: what the study has one result for, given the configuration and facts about its images: ``cells`` of a
            grid of trained models, or architectures.
        measure: a ``TrainedModel`` or ``Backbone`` to what its result file holds, given the configuration and a
            function that reports progress.
        page: how the results are reported.
        example: keys of its example file (``probe config --example``), beside the fields that have ``examples``.
    """

    name: str
    configuration: type[StudyConfig]
    shards: Callable[[Any, ImageFacts], Shards]
    measure: Callable[[Any, Any, Tell], Measured]
    page: StudyPage
    example: Mapping[str, Any] = field(default_factory=dict)


KINDS: tuple[StudyKind, ...] = (
    StudyKind(
        "bottleneck",
        memorization.MemorizationConfig,
        cells,
        memorization.measure,
        memorization_page.BOTTLENECK_PAGE,
        {"k": [2, 4, 8, 16, 32, 64]},
    ),
    StudyKind(
        "training_size",
        memorization.MemorizationConfig,
        cells,
        memorization.measure,
        memorization_page.SIZE_PAGE,
        {"k": [128], "sizes": [100, 1000, 10_000]},
    ),
    StudyKind(
        "across_training",
        across_training.AcrossTrainingConfig,
        cells,
        across_training.measure,
        across_training_page.PAGE,
        {"k": [128], "training": {"checkpoint_every": 50}},
    ),
    StudyKind("convergence", convergence.ConvergenceConfig, cells, convergence.measure, convergence_page.PAGE),
    StudyKind(
        "contraction",
        contraction.ContractionConfig,
        contraction.architectures,
        contraction.measure,
        contraction_page.PAGE,
    ),
)


def study_kind(name: Any) -> StudyKind:
    """The kind of study with this name.

    Raises:
        UserError: there is none; the closest name is suggested.
    """
    kinds = {kind.name: kind for kind in KINDS}
    if isinstance(name, str) and name in kinds:
        return kinds[name]
    near = difflib.get_close_matches(short(name), kinds, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(kinds)}."
    raise UserError(f"config key 'study': there is no study {short(name)}; {hint}")


def load_study_config(path: str | Path | None, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read a YAML file and apply ``dotted.key=value`` overrides; errors as ``probe.config.load_config``."""
    return parse_study_config(read_yaml(path, overrides))


def parse_study_config(data: dict[str, Any]) -> StudyConfig:
    """Validate a mapping against the configuration of the kind of study that it names."""
    if data.get("study") is None:
        raise UserError(f"config key 'study' is missing: set it to one of {', '.join(kind.name for kind in KINDS)}.")
    return validated(study_kind(data["study"]).configuration, data)
