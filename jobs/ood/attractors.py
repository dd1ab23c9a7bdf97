"""Stage ``attractors`` of an OOD experiment: the end points of training images, on rank 0."""

from typing import Any

from jobs.ood.directory import REFERENCES, OodDirectory
from jobs.ood.work import OodWork
from jobs.stage import Counts
from probe.studies.ood.images import as_taken
from probe.studies.ood.scores import references


def find(work: OodWork) -> None:
    """Find the training attractors, if they are not there; the model is trained before, where it is to be.

    Raises:
        UserError: as ``OodWork.model``; or every start diverges.
    """
    work.begin()
    made_from = {"data": work.drawn("train")["sha256"]}
    if not work.on_rank_0(lambda: work.directory.claimed(REFERENCES, **made_from) is None):
        return
    model = work.model
    total = min(work.config.solver.starts, work.drawn("train")["n_used"])
    with work.leading("attractors", "starts", total) as meter:
        if not work.leads:
            return

        def on_step(ended: int, running: int, part: float) -> None:
            meter.update(ended + part, f"{running} running")

        found = references(model, as_taken(model, work.images("train")), work.config, on_step)
        tensors = {"latents": found.latents, "attractors": found.attractors}
        work.directory.save(REFERENCES, tensors, **made_from, facts=found.facts)


def count(ood: OodDirectory) -> Counts:
    """The file of training attractors."""
    return int((ood.path / REFERENCES).is_file()), 1


def summary(work: OodWork) -> dict[str, Any]:
    """What is known of the training attractors."""
    return work.directory.load(REFERENCES, "attractors")[1]["facts"]
