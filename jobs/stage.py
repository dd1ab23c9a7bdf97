"""One stage of a kind of work, as ``probe status``, Slurm and the service see it; ``jobs.doing`` says what it does."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from jobs.directory import Directory
from probe.results.layout import REPORT_JSON, File

Counts = tuple[int, int | None]
"""Units that are done, and units in all; None while that is unknown."""


@dataclass(frozen=True)
class Stage:
    """A stage of a run, study, OOD experiment or round trip.

    Attributes:
        name: as ``--stage``, ``probe status`` and Slurm call it.
        count: what is done, read from the files of a directory alone.
        unit: what ``count`` counts.
        array: at most how many parts a configuration has, where independent processes can share them (see
            ``jobs.independent``), as the tasks of a Slurm array do.
        leaves: whether such a process leaves when others hold all parts, since parts take long; the one that finds all
            parts done goes on with the stages after it. Slurm runs such a stage always as an array.
        skipped: why the stage has nothing to do in a directory: a sentence; empty if it has.
        gpu: whether the stage uses a GPU; where it does not, Slurm is asked for none by default.
        planned: whether its time is planned: not that of reading images, and of the report, which shows the plan.
    """

    name: str
    count: Callable[[Any], Counts]
    unit: str
    array: Callable[[Any], int] | None = None
    leaves: bool = False
    skipped: Callable[[Any], str] | None = None
    gpu: bool = True
    planned: bool = False


def count_drawn(directory: Directory[Any], images: File, names: Collection[str]) -> Counts:
    """Data sets that are drawn: noted in the manifest, or kept in files of ``images``."""
    there = {file.stem for file in directory.path.glob(images.glob)} | set(directory.data)
    return len(there & set(names)), len(names)


def count_report(directory: Directory[Any]) -> Counts:
    """The ``count`` of every kind's report."""
    return int((directory.path / REPORT_JSON).is_file()), 1
