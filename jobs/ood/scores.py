"""Stage ``scores`` of an OOD experiment: a table of scores per set; each set goes to one rank."""

import pandas as pd

from jobs.ood.directory import OodDirectory
from jobs.ood.work import OodWork, data_file, score_file
from jobs.progress import Meter
from jobs.stage import Counts
from probe.dynamics import Outcome
from probe.errors import UserError
from probe.results import layout
from probe.studies.ood.images import as_taken
from probe.studies.ood.scores import References, Scorer


def score(work: OodWork) -> None:
    """Score every set whose table is missing; each goes to one rank, the next to whoever is free.

    Raises:
        UserError: as ``OodWork.model``; or there are no training attractors.
    """
    work.begin()
    if work.on_rank_0(lambda: work.references_sha256) is None:
        raise UserError(
            f"{work.directory.path} has no training attractors; run `probe attractors {work.directory.path}` first."
        )
    sizes = {name: work.drawn(name)["n_used"] for name in work.sets}
    todo = work.missing(list(sizes), lambda name: work.directory.claimed(score_file(name), **work.source(name)))
    if not todo:
        return
    model = work.model  # all ranks load it together, also those that will find no set left
    tensors, about = work.directory.load(layout.REFERENCES.name)
    scorer = Scorer(model, References(tensors["latents"], tensors["attractors"], about["facts"]), work.config)
    before = sum(sizes.values()) - sum(sizes[name] for name in todo)
    for name, meter in work.share("scores", "images", todo, size=sizes.__getitem__, before=before):
        _score(work, scorer, name, meter)


def count(ood: OodDirectory) -> Counts:
    """Tables that are there."""
    sets = {"test", *ood.config.outside, *ood.manifest.get("data", {})} - {"train"}
    return len(list(ood.path.glob(layout.SCORE.glob))), len(sets)


def _score(work: OodWork, scorer: Scorer, name: str, meter: Meter) -> None:
    tensors, about = work.directory.load(data_file(name))
    columns = scorer(
        as_taken(work.model, tensors["images"]), lambda ended: meter.update(ended, f"{name}: {ended} ended")
    )
    rows = pd.DataFrame({key: values.numpy() for key, values in columns.items()})
    rows["outcome"] = [Outcome(code).label for code in rows["outcome"]]
    rows.insert(0, "set", name)
    rows.insert(1, "image", range(len(rows)))
    rows.insert(2, "id", about["ids"])
    work.directory.save_table(score_file(name), rows, **work.source(name))
