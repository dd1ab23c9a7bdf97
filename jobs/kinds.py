"""The kinds of work: run, study, OOD experiment and round trip. All are begun, shared, resumed and shown alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import ood, roundtrip, study
from jobs.directory import Directory
from jobs.run import attractors, dictionary, images, reconstruct, report
from jobs.run.work import RunDirectory, RunWork
from jobs.stage import Stage, count_report, images_used
from jobs.work import Work
from probe.config import ModelConfig
from probe.errors import UserError
from probe.kinds import WHAT
from probe.kinds import kind_of as name_of
from probe.plan.ood import plan_ood
from probe.plan.plan import plan_run
from probe.plan.roundtrip import plan_roundtrip
from probe.plan.stage import Plan
from probe.plan.study import plan_study
from probe.results.roundtrip import trips


@dataclass(frozen=True)
class Kind:
    """A kind of work.

    Attributes:
        directory: its configuration and result files.
        work: what its stages take.
        stages: in order; the last one returns the report.
        plan: what a configuration will take, on each GPU named or on this machine; further the number of GPUs, or
            processes, and the starts of a pilot.
    """

    directory: type[Directory[Any]]
    work: type[Work[Any]]
    stages: tuple[Stage, ...]
    plan: Callable[[Any, Sequence[str], int, int | None], list[Plan]]

    @property
    def name(self) -> str:
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

    def all(self, work: Any) -> dict[str, Any]:
        """Do every stage in order; the report, which is not written again where it would be the same."""
        *before, report = self.stages
        for stage in before:
            stage.do(work)
        return work.finished() or report.do(work)

    def models(self, config: Any) -> list[ModelConfig]:
        """The models of a configuration, which may bring code; none where it trains them."""
        one = getattr(config, "model", None)
        return [one] if one else list(getattr(config, "models", {}).values())


RUN = Kind(
    RunDirectory,
    RunWork,
    (
        Stage("images", images.draw, images.count, "data sets", images_used),
        Stage(
            "attractors",
            attractors.find_end_points,
            attractors.count,
            "starts",
            attractors.summary,
            array=lambda config: len(attractors.shards(config.seeds)),
            planned=True,
        ),
        Stage(
            "dictionary",
            dictionary.build,
            dictionary.count,
            "shards",
            dictionary.summary,
            array=lambda config: config.seeds.count,
            planned=True,
        ),
        Stage(
            "reconstruct",
            reconstruct.reconstruct,
            reconstruct.count,
            "shards",
            images_used,
            array=reconstruct.parts_planned,
            skipped=lambda run: run.uncoded,
            planned=True,
        ),
        Stage("report", report.report, count_report, "files", gpu=False),
    ),
    plan_run,
)
STUDY = Kind(
    study.StudyDirectory,
    study.StudyWork,
    (
        Stage("images", study.images, study.count_images, "data sets", study.images_used, gpu=False),
        Stage(
            "models",
            study.models,
            study.count_models,
            "models",
            array=lambda config: config.shards,
            leaves=True,
            planned=True,
        ),
        Stage("report", study.report, count_report, "files", gpu=False),
    ),
    plan_study,
)
OOD = Kind(
    ood.OodDirectory,
    ood.OodWork,
    (
        Stage("images", ood.images, ood.count_images, "sets", images_used, gpu=False),
        Stage("attractors", ood.attractors, ood.count_attractors, "files", ood.attractors_found, planned=True),
        Stage(
            "scores",
            ood.scores,
            ood.count_scores,
            "sets",
            images_used,
            array=lambda config: 1 + len(config.outside),
            planned=True,
        ),
        Stage("report", ood.report, count_report, "files", gpu=False),
    ),
    plan_ood,
)
ROUNDTRIP = Kind(
    roundtrip.RoundtripDirectory,
    roundtrip.RoundtripWork,
    (
        Stage("images", roundtrip.images, roundtrip.count_images, "data sets", images_used, gpu=False),
        Stage(
            "roundtrips",
            roundtrip.round_trips,
            roundtrip.count,
            "tables",
            images_used,
            array=lambda config: len(list(trips(config))),
            planned=True,
        ),
        Stage("report", roundtrip.report, count_report, "files", gpu=False),
    ),
    plan_roundtrip,
)
KINDS: tuple[Kind, ...] = (RUN, STUDY, OOD, ROUNDTRIP)


def kind_of(target: Path) -> Kind:
    """The kind of a folder or a configuration file; a run where it cannot be read, so that its reader says why."""
    name = name_of(target)
    return next(kind for kind in KINDS if kind.name == name)
