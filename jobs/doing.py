"""What is done in the stages of each kind of work; ``jobs.kinds`` says what each kind is. It imports torch.

All stages of a kind take the same thing, its ``Work``: the directory, the ranks, and whether code is trusted, with the
few things that need these together (parts that ranks share, trackers, the manifest's sessions, the model that is loaded
once). So the worker drives any stage of any kind alike. What a stage calls takes what it needs: the directory, the
model, the images.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from jobs import kinds
from jobs.kinds import Kind
from jobs.ood import stages as ood
from jobs.roundtrip import stages as roundtrip
from jobs.run import attractors, dictionary, images, reconstruct, report
from jobs.run.work import RunWork
from jobs.spent import accounted
from jobs.study import stages as study
from jobs.work import Work
from probe.plan.ood import plan_ood
from probe.plan.plan import plan_run
from probe.plan.roundtrip import plan_roundtrip
from probe.plan.stage import Plan
from probe.plan.study import plan_study


@dataclass(frozen=True)
class Doing:
    """What is done in a kind of work.

    Attributes:
        kind: the kind.
        work: what its stages take.
        make: by stage, makes what is missing, on every rank alike. The last stage returns the report; one that
            ``leaves`` returns how many parts are left to other processes.
        plan: what a configuration will take, on each GPU named or on this machine; further the number of GPUs, or
            processes, and the starts of a pilot.
        summary: by stage, what ``probe NAME`` prints after it; some have none.
    """

    kind: Kind
    work: type[Work[Any]]
    make: Mapping[str, Callable[[Any], Any]]
    plan: Callable[[Any, Sequence[str], int, int | None], list[Plan]]
    summary: Mapping[str, Callable[[Any], Mapping[str, Any]]]

    def do(self, name: str, work: Any) -> Any:
        """Do a stage, and note what it took beside what was planned; what its ``make`` returns.

        Raises:
            UserError: there is no such stage; or as the stage.
        """
        stage = self.kind.stage(name)
        with accounted(work, stage) if stage.planned else nullcontext():
            return self.make[name](work)

    def all(self, work: Any) -> dict[str, Any]:
        """Do every stage in order; the report, which is not written again where it would be the same."""
        *before, last = self.kind.stages
        for stage in before:
            self.do(stage.name, work)
        return work.finished() or self.do(last.name, work)


def images_used(work: Any) -> dict[str, int]:
    """The ``summary`` of images by data set, as the manifest of a run or OOD experiment counts them."""
    return {name: facts["n_used"] for name, facts in work.directory.data.items()}


RUN = Doing(
    kinds.RUN,
    RunWork,
    {
        "images": images.draw,
        "attractors": attractors.find_end_points,
        "dictionary": dictionary.build,
        "reconstruct": reconstruct.reconstruct,
        "report": report.report,
    },
    plan_run,
    {
        "images": images_used,
        "attractors": attractors.summary,
        "dictionary": dictionary.summary,
        "reconstruct": images_used,
    },
)
STUDY = Doing(
    kinds.STUDY,
    study.StudyWork,
    {"images": study.images, "models": study.models, "report": study.report},
    plan_study,
    {"images": study.images_used},
)
OOD = Doing(
    kinds.OOD,
    ood.OodWork,
    {"images": ood.images, "attractors": ood.attractors, "scores": ood.scores, "report": ood.report},
    plan_ood,
    {"images": images_used, "attractors": ood.attractors_found, "scores": images_used},
)
ROUNDTRIP = Doing(
    kinds.ROUNDTRIP,
    roundtrip.RoundtripWork,
    {"images": roundtrip.images, "roundtrips": roundtrip.round_trips, "report": roundtrip.report},
    plan_roundtrip,
    {"images": images_used, "roundtrips": images_used},
)
DOINGS = (RUN, STUDY, OOD, ROUNDTRIP)


def doing_of(kind: Kind) -> Doing:
    """What is done in a kind of work."""
    return next(doing for doing in DOINGS if doing.kind is kind)
