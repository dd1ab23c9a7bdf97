"""Stage ``report`` of a study: rank 0 checks that every model is there and writes report/."""

import shutil
from typing import Any

from jobs.directory import WORK
from jobs.study.models import tell_trackers
from jobs.study.work import StudyWork, cell_file
from probe.errors import UserError


def report(work: StudyWork) -> dict[str, Any]:
    """Write report/ from the results; the report, on every rank.

    Raises:
        UserError: a model's result is missing.
    """
    return work.on_rank_0(lambda: _report(work))


def _report(work: StudyWork) -> dict[str, Any]:
    from probe.report.study import write_study_report

    study, grid, left = work.directory, work.grid(), work.left()
    for shard in left:
        if (study.path / cell_file(shard)).exists():
            study.needed(cell_file(shard), **work.source(shard))  # says what is wrong with it
    if left:
        raise UserError(
            f"{study.path} misses {len(left)} models, {left[0].name} first; run it again, or wait for the process "
            "that is working on them."
        )
    for shard in grid:  # those of other ranks, and those that were made when there was no tracker
        tell_trackers(work, shard, study.load(cell_file(shard))[1]["model"])
    content = work.finish(lambda: write_study_report(study.path, [cell_file(shard) for shard in grid]))
    shutil.rmtree(study.path / WORK, ignore_errors=True)
    return content
