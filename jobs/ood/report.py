"""Stage ``report`` of an OOD experiment: rank 0 joins the tables and writes report/."""

import shutil
from typing import Any

import pandas as pd

from jobs.ood.work import OodWork, score_file
from jobs.trackers import log_training, numbers
from probe.results import layout


def report(work: OodWork) -> dict[str, Any]:
    """Join the tables and write report/; the report, on every rank.

    Raises:
        UserError: a table or the training attractors are missing or damaged.
    """
    return work.on_rank_0(lambda: _report(work))


def _report(work: OodWork) -> dict[str, Any]:
    from probe.report.ood import write_ood_report

    ood = work.directory
    ood.needed(layout.REFERENCES.name, data=work.drawn("train")["sha256"])
    for name in work.sets:
        ood.needed(score_file(name), **work.source(name))
    tables = [ood.load_table(score_file(name)) for name in work.sets]
    ood.save_table(layout.SCORE_TABLE.name, pd.concat(tables, ignore_index=True))
    content = work.finish(lambda: write_ood_report(ood.path))
    with work.tracked() as tracker:
        if work.config.train and content["training"]:
            log_training(tracker, work.config.train, content["training"]["loss"])
        tracker.log(numbers(content["attractors"], "attractors/"))
        tracker.log(numbers({name: one["scores"] for name, one in content["sets"].items()}))
    shutil.rmtree(ood.path / layout.WORK, ignore_errors=True)
    return content
