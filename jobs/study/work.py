"""One rank's work on a study: the grid of models, which of them are there, and the images that they need."""

from collections.abc import Sequence

from torch import Tensor

from jobs.study.directory import StudyDirectory
from jobs.work import Work
from probe.report.study.kinds import StudyKind, study_kind
from probe.results import layout
from probe.studies.sweeps.config import StudyConfig
from probe.studies.sweeps.grid import Backbone, Cell

Shard = Cell | Backbone


class StudyWork(Work[StudyDirectory]):
    """What the stages of a study need besides; each rank works on models of its own."""

    config: StudyConfig
    _drawn: tuple[str, dict[str, Tensor]] = ("", {})

    @property
    def kind(self) -> StudyKind:
        """The kind of study."""
        return study_kind(self.config.study)

    def grid(self, *names: str) -> Sequence[Shard]:
        """All models of the study, or of these data sets.

        Raises:
            UserError: as the kind's ``shards``.
        """
        known = {name: self.drawn(name) for name in names or self.config.data}
        sizes = {
            name: {"n_train": facts["train"]["n_used"], "channels": facts["channels"], "side": facts["side"]}
            for name, facts in known.items()
        }
        return self.kind.shards(self.config, sizes)

    def source(self, shard: Shard) -> dict[str, str]:
        """What a model's result is made from: the checksum of its images, if it is trained."""
        return {"data": self.drawn(shard.dataset)["sha256"]} if isinstance(shard, Cell) else {}

    def is_there(self, shard: Shard) -> bool:
        """Whether the result of a model is there."""
        return self.directory.checked(cell_file(shard), **self.source(shard)) is not None

    def left(self) -> list[Shard]:
        """The models whose results are not there."""
        return [shard for shard in self.grid() if not self.is_there(shard)]

    def images(self, name: str) -> dict[str, Tensor]:
        """``train`` and ``test`` of a data set, uint8 (n, c, side, side); those of the last call are kept."""
        if self._drawn[0] != name:
            self._drawn = name, self.directory.load(data_file(name))[0]
        return self._drawn[1]


def cell_file(shard: Shard) -> str:
    """Where a model's result is kept."""
    return layout.CELL.at(shard=shard.name)


def data_file(name: str) -> str:
    """Where a data set's images are kept until every model is there."""
    return layout.STUDY_IMAGES.at(dataset=name)
