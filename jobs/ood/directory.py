"""The directory of an OOD experiment of ``probe ood``, and what is there; torch is not imported."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.directory import Directory
from jobs.stage import Counts, count_drawn
from probe.results import layout
from probe.studies.ood.config import OodConfig, control_name, parse_ood_config

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class OodDirectory(Directory[OodConfig]):
    """A folder that holds one experiment: training attractors, and a table per set."""

    NOUN = "ood"
    RESULTS = (layout.OOD_MODEL, layout.REFERENCES.name, layout.SCORES)
    parse = staticmethod(parse_ood_config)

    @property
    def sets(self) -> list[str]:
        """Sets that are scored: ``test``, the OOD sets, and a control for each that comes from files."""
        outside = list(self.config.outside)
        return ["test", *outside, *(control for name in outside if (control := control_name(name)) in self.data)]

    def images(self, name: str) -> "Tensor":
        """The images of a set, uint8 (n, 3, R, R)."""
        return self.load(data_file(name), "images")[0]["images"]

    def source(self, name: str) -> dict[str, str | None]:
        """What the table of a set is made from."""
        return {"data": self.drawn(name)["sha256"], "references": self.references_sha256}

    @property
    def references_sha256(self) -> str | None:
        """Checksum of the training attractors; None where they are not there."""
        found: str | None = self.__dict__.get("_references")
        if not found and (about := self.checked(layout.REFERENCES.name, data=self.drawn("train")["sha256"])):
            found = self.__dict__["_references"] = about["sha256"]  # the file can be large: it is read through once
        return found


def data_file(name: str) -> str:
    """Where the images of a set are kept until the report is there."""
    return layout.OOD_IMAGES.at(set=name)


def score_file(name: str) -> str:
    """The table of a set."""
    return layout.SCORE.at(set=name)


def count_images(ood: OodDirectory) -> Counts:
    """Sets that are drawn, controls aside."""
    return count_drawn(ood, layout.OOD_IMAGES, ["train", "test", *ood.config.outside])


def count_attractors(ood: OodDirectory) -> Counts:
    """The file of training attractors."""
    return int((ood.path / layout.REFERENCES).is_file()), 1


def count_scores(ood: OodDirectory) -> Counts:
    """Tables that are there."""
    sets = {"test", *ood.config.outside, *ood.data} - {"train"}
    return len(list(ood.path.glob(layout.SCORE.glob))), len(sets)
