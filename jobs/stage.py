"""One stage of a kind of work, as the worker, ``probe status`` and Slurm see it.

All stages of a kind take the same thing, its ``Work``: the directory, the ranks, and whether code is trusted, with the
few things that need these together (parts that ranks share, trackers, the manifest's sessions, the model that is loaded
once). So the worker drives any stage of any kind alike. What a stage calls takes what it needs: the directory, the
model, the images.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from jobs.directory import Directory
from jobs.spent import accounted
from probe.results.layout import REPORT_JSON, File

Counts = tuple[int, int | None]
"""Units that are done, and units in all; None while that is unknown."""


@dataclass(frozen=True)
class Stage:
    """A stage of a run, study, OOD experiment or round trip.

    Attributes:
        name: as ``--stage``, ``probe status`` and Slurm call it.
        make: makes what is missing, on every rank alike; takes the ``Work`` of its kind. The last stage returns the
            report; one that ``leaves`` returns how many parts are left to other processes.
        count: what is done, read from the files of a directory alone.
        unit: what ``count`` counts.
        summary: what ``probe NAME`` prints after the stage.
        array: at most how many parts a configuration has, where independent processes can share them (see
            ``jobs.independent``), as the tasks of a Slurm array do.
        leaves: whether such a process leaves when others hold all parts, since parts take long; the one that finds all
            parts done goes on with the stages after it. Slurm runs such a stage always as an array.
        skipped: why the stage has nothing to do in a directory: a sentence; empty if it has.
        gpu: whether the stage uses a GPU; where it does not, Slurm is asked for none by default.
        planned: whether its time is planned: not that of reading images, and of the report, which shows the plan.
    """

    name: str
    make: Callable[[Any], Any]
    count: Callable[[Any], Counts]
    unit: str
    summary: Callable[[Any], Mapping[str, Any]] | None = None
    array: Callable[[Any], int] | None = None
    leaves: bool = False
    skipped: Callable[[Any], str] | None = None
    gpu: bool = True
    planned: bool = False

    def do(self, work: Any) -> Any:
        """``make``, and note what it took beside what was planned; what ``make`` returns."""
        with accounted(work, self) if self.planned else nullcontext():
            return self.make(work)


def count_drawn(directory: Directory[Any], images: File, names: Collection[str]) -> Counts:
    """Data sets that are drawn: noted in the manifest, or kept in files of ``images``."""
    there = {file.stem for file in directory.path.glob(images.glob)} | set(directory.data)
    return len(there & set(names)), len(names)


def count_report(directory: Directory[Any]) -> Counts:
    """The ``count`` of every kind's report."""
    return int((directory.path / REPORT_JSON).is_file()), 1


def images_used(work: Any) -> dict[str, int]:
    """The ``summary`` of images by data set, as the manifest of a run or OOD experiment counts them."""
    return {name: facts["n_used"] for name, facts in work.directory.data.items()}
