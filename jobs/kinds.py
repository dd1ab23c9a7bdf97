"""The kinds of work: run, study, OOD experiment and round trip. All are begun, shared, resumed and shown alike.

This table says what each kind is. What is done in its stages is in ``jobs.doing``, which imports torch; so the commands
and the service that only look at directories need none.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.directory import Directory
from jobs.ood import directory as ood
from jobs.roundtrip import directory as roundtrip
from jobs.run import directory as run
from jobs.stage import Stage, count_report
from jobs.study import directory as study
from probe.config import ModelConfig
from probe.errors import UserError
from probe.kinds import WHAT
from probe.kinds import Kind as Name
from probe.kinds import kind_of as name_of
from probe.results.roundtrip import trips


@dataclass(frozen=True)
class Kind:
    """A kind of work.

    Attributes:
        directory: its configuration and result files.
        stages: in order; the last one writes the report.
    """

    directory: type[Directory[Any]]
    stages: tuple[Stage, ...]

    @property
    def name(self) -> Name:
        """``probe NAME`` is the command that makes it."""
        return self.directory.NOUN

    def stage(self, name: str) -> Stage:
        """A stage by its name.

        Raises:
            UserError: there is none of that name.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        names = ", ".join(stage.name for stage in self.stages)
        raise UserError(f"{WHAT[self.directory.NOUN]} has no stage {name!r}; its stages are {names}.")

    def models(self, config: Any) -> list[ModelConfig]:
        """The models of a configuration, which may bring code; none where it trains them."""
        one = getattr(config, "model", None)
        return [one] if one else list(getattr(config, "models", {}).values())


REPORT = Stage("report", count_report, "files", gpu=False)
RUN = Kind(
    run.RunDirectory,
    (
        Stage("images", run.count_images, "data sets"),
        Stage(
            "attractors",
            run.count_starts,
            "starts",
            array=lambda config: len(run.shards(config.seeds)),
            planned=True,
        ),
        Stage("dictionary", run.count_dictionary, "shards", array=lambda config: config.seeds.count, planned=True),
        Stage(
            "reconstruct",
            run.count_reconstructed,
            "shards",
            array=run.parts_planned,
            skipped=lambda its: its.uncoded,
            planned=True,
        ),
        REPORT,
    ),
)
STUDY = Kind(
    study.StudyDirectory,
    (
        Stage("images", study.count_images, "data sets", gpu=False),
        Stage(
            "models",
            study.count_models,
            "models",
            array=lambda config: config.shards,
            leaves=True,
            planned=True,
        ),
        REPORT,
    ),
)
OOD = Kind(
    ood.OodDirectory,
    (
        Stage("images", ood.count_images, "sets", gpu=False),
        Stage("attractors", ood.count_attractors, "files", planned=True),
        Stage("scores", ood.count_scores, "sets", array=lambda config: 1 + len(config.outside), planned=True),
        REPORT,
    ),
)
ROUNDTRIP = Kind(
    roundtrip.RoundtripDirectory,
    (
        Stage("images", roundtrip.count_images, "data sets", gpu=False),
        Stage(
            "roundtrips",
            roundtrip.count_trips,
            "tables",
            array=lambda config: len(list(trips(config))),
            planned=True,
        ),
        REPORT,
    ),
)
KINDS: tuple[Kind, ...] = (RUN, STUDY, OOD, ROUNDTRIP)


def kind_of(target: Path) -> Kind:
    """The kind of a folder or a configuration file; a run where it cannot be read, so that its reader says why."""
    return kind_named(name_of(target))


def kind_named(name: str) -> Kind:
    """The kind of a name that ``probe.kinds`` knows."""
    return next(kind for kind in KINDS if kind.name == name)
