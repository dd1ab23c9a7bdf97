"""The stages of a run, in order: images, attractors, dictionary, reconstruct, report.

Each does what is missing, and nothing twice, with any number of ranks.
"""

from typing import Any

from jobs.run import attractors, dictionary, images, reconstruct, report
from jobs.run.directory import RunDirectory
from jobs.run.job import Job
from jobs.world import World
from probe.dynamics import EndPoints

STAGES = ("images", "attractors", "dictionary", "reconstruct", "report")


class Stages:
    """The stages over one run directory, for one rank; the model is loaded once."""

    def __init__(self, run: RunDirectory, world: World | None = None, trusted: bool = True):
        self.job = Job(run, world, trusted)
        self.run = run

    def all(self) -> dict[str, Any]:
        """Every stage in order; the report.

        The images come first: a mistyped path or a gated repository should not be found after hours of iteration.
        """
        self.images()
        self.attractors()
        self.dictionary()
        self.reconstruct()
        return self.report()

    def images(self) -> None:
        """Draw the test images of every data set, or compare them with those that were drawn."""
        images.draw(self.job)

    def attractors(self) -> None:
        """Iterate every start that is still missing."""
        attractors.find_end_points(self.job)

    def end_points(self) -> EndPoints:
        """All starts in order."""
        return attractors.load_end_points(self.job)

    def dictionary(self) -> None:
        """Merge and certify the end points, and decode the largest basins."""
        dictionary.build(self.job)

    def dictionary_summary(self) -> dict[str, Any]:
        """The counts of the dictionary stage."""
        return dictionary.load_summary(self.job)

    def reconstruct(self) -> None:
        """Solve the sparse reconstructions of every data set."""
        reconstruct.reconstruct(self.job)

    def report(self) -> dict[str, Any]:
        """Write report/ from the results; the report."""
        return report.report(self.job)
