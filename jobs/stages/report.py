"""Stage ``report``: rank 0 checks that everything is there and belongs together, and writes report/."""

import logging
import shutil
from typing import Any

from jobs.job import Job
from jobs.provenance import now
from jobs.run_directory import WORK
from jobs.stages.attractors import end_points_sha256
from jobs.stages.dictionary import dictionary_sha256
from jobs.stages.tables import has_table
from jobs.trackers import numbers
from probe.errors import UserError

log = logging.getLogger("probe")


def report(job: Job) -> dict[str, Any]:
    """The report, on every rank; from results alone: no model is loaded, and no code of one is run.

    Raises:
        UserError: a result is missing, or was made from others than those that are there.
    """
    content = job.on_rank_0(lambda: _write(job))
    with job.tracked() as tracker:
        tracker.log(_headlines(content))
    return content


def _headlines(content: dict[str, Any]) -> dict[str, float]:
    """For a tracker: what the dictionary holds, and of each data set all means by method at 5 % of the atoms."""
    found = numbers(content["dictionary"], "dictionary/")
    for name, data in content["datasets"].items():
        level = next(one for one in data["levels"] if one["atoms"] == data["five_percent"])
        found |= numbers(level["methods"], f"{name}/") | numbers(data["autoencoder_floor"], f"{name}/autoencoder/")
    return found


def _write(job: Job) -> dict[str, Any]:
    from probe.report import write_report

    ends = end_points_sha256(job)
    dictionary = ends and dictionary_sha256(job, ends)
    missing = [name for name in job.config.datasets if not (dictionary and has_table(job, name, dictionary))]
    if missing or not dictionary:
        raise UserError(
            f"{job.run.path} is not complete ({', '.join(missing) if dictionary else 'no dictionary'} missing); "
            "the stages before are `probe attractors`, `probe dictionary` and `probe reconstruct`."
        )
    if "finished" not in job.run.manifest:
        job.run.update_manifest(finished=now())
    content = write_report(job.run.path)
    if (job.run.path / WORK).exists():
        shutil.rmtree(job.run.path / WORK)
    for warning in content["warnings"]:
        log.warning(f"warning: {warning}")
    log.info(f"report: {job.run.path / 'report' / 'report.html'}")
    return content
