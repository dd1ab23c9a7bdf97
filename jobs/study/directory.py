"""The directory of a study of ``probe study``, and what is there. Only its grid needs torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.directory import Directory
from jobs.stage import Counts, count_drawn
from probe.results import layout
from probe.studies.sweeps.kinds import parse_study_config

if TYPE_CHECKING:
    from probe.report.study.page import StudyKind
    from probe.studies.sweeps.grid import Backbone, Cell

    Shard = Cell | Backbone


@dataclass(frozen=True)
class StudyDirectory(Directory[Any]):
    """A folder that holds one study; its ``config`` is of one of the kinds of ``StudyConfig``."""

    NOUN = "study"
    RESULTS = (layout.CELLS, layout.MODELS)
    parse = staticmethod(parse_study_config)

    @property
    def kind(self) -> "StudyKind":
        """What this kind of study measures and reports."""
        from probe.report.study.kinds import study_kind  # imports torch

        return study_kind(self.config.study)

    def grid(self, *names: str) -> "Sequence[Shard]":
        """All models of the study, or of these data sets.

        Raises:
            UserError: as the kind's ``shards``.
        """
        return self.kind.shards(self.config, self.sizes(*names))

    def sizes(self, *names: str) -> dict[str, dict[str, int]]:
        """The number of training images, the channels and the side of all data sets, or of these."""
        known = {name: self.drawn(name) for name in names or self.config.data}
        return {
            name: {"n_train": facts["train"]["n_used"], "channels": facts["channels"], "side": facts["side"]}
            for name, facts in known.items()
        }

    def source(self, shard: "Shard") -> dict[str, str]:
        """What a model's result is made from: the checksum of its images, if it is trained."""
        dataset = getattr(shard, "dataset", None)
        return {"data": self.drawn(dataset)["sha256"]} if dataset else {}

    def is_there(self, shard: "Shard") -> bool:
        """Whether the result of a model is there."""
        return self.checked(cell_file(shard), **self.source(shard)) is not None

    def left(self) -> "list[Shard]":
        """The models whose results are not there."""
        return [shard for shard in self.grid() if not self.is_there(shard)]


def cell_file(shard: "Shard") -> str:
    """Where a model's result is kept."""
    return layout.CELL.at(shard=shard.name)


def data_file(name: str) -> str:
    """Where a data set's images are kept until every model is there."""
    return layout.STUDY_IMAGES.at(dataset=name)


def count_images(study: StudyDirectory) -> Counts:
    """Data sets that are drawn."""
    return count_drawn(study, layout.STUDY_IMAGES, study.config.data)


def count_models(study: StudyDirectory) -> Counts:
    """Models whose results are there."""
    return len(list(study.path.glob(layout.CELL.glob))), study.config.shards
