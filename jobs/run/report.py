"""Stage ``report``: rank 0 checks that everything is there and belongs together, and writes report/."""

import logging
from typing import Any

from jobs.provenance import now
from jobs.run.attractors import end_points_sha256
from jobs.run.dictionary import FILE as DICTIONARY
from jobs.run.dictionary import dictionary_sha256
from jobs.run.job import Job
from jobs.run.semantics import FILE as SEMANTICS
from jobs.run.tables import has_table, table_files
from jobs.trackers import numbers
from probe.errors import UserError

log = logging.getLogger("probe")


def report(job: Job) -> dict[str, Any]:
    """The report, on every rank; from results alone: no model is loaded, and no code of one is run.

    Raises:
        UserError: a result is missing, damaged, or was made from others than those that are there. Nothing is changed.
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
    from probe.report.run import write_report

    run = job.run
    ends = end_points_sha256(job)
    missing = [n for n in job.config.datasets if not all((run.path / file).exists() for file in table_files(n))]
    made = ends and (run.path / DICTIONARY).exists()
    if missing or not ends or not made:
        raise UserError(
            f"{run.path} is not complete ({', '.join(missing) if made else 'no dictionary'} missing); "
            "the stages before are `probe attractors`, `probe dictionary` and `probe reconstruct`."
        )
    dictionary = dictionary_sha256(job, ends, run.needed)
    for name in job.config.datasets:
        has_table(job, name, dictionary, look=run.needed)
    if job.config.clip and (run.path / SEMANTICS).exists():
        run.needed(SEMANTICS)
    if "finished" not in job.run.manifest:
        job.run.update_manifest(finished=now())
    content = write_report(job.run.path)
    for warning in content["warnings"]:
        log.warning(f"warning: {warning}")
    log.info(f"report: {job.run.path / 'report' / 'report.html'}")
    return content
