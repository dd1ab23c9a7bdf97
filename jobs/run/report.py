"""Stage ``report``: rank 0 checks that everything is there and belongs together, and writes report/."""

from typing import Any

from jobs.run.attractors import end_points_sha256
from jobs.run.dictionary import dictionary_sha256
from jobs.run.directory import RunDirectory, table_files
from jobs.run.work import RunWork
from jobs.trackers import numbers
from probe.errors import UserError
from probe.results.layout import BASINS, BORROWED, DICTIONARY, SEMANTICS


def report(work: RunWork) -> dict[str, Any]:
    """The report, on every rank; from results alone: no model is loaded, and no code of one is run.

    Raises:
        UserError: a result is missing, damaged, or was made from others than those that are there. Nothing is changed.
    """
    from probe.report.run.write import write_report

    def write() -> dict[str, Any]:
        _check_complete(work.directory)
        return work.finish(lambda: write_report(work.directory.path))

    content = work.world.on_rank_0(write)
    with work.tracked() as tracker:
        tracker.log(_headlines(content))
    return content


def _headlines(content: dict[str, Any]) -> dict[str, float]:
    """For a tracker: what the dictionary holds, and of each data set all means by method at 5 % of the atoms."""
    found = numbers(content["dictionary"], "dictionary/")
    for name, data in content["datasets"].items():
        level = next(one for one in data["levels"] if one["atoms"] == data["five_percent"])
        found |= numbers(level["methods"], f"{name}/") | numbers(data["autoencoder_floor"], f"{name}/autoencoder/")
    return found


def _check_complete(run: RunDirectory) -> None:
    ends = end_points_sha256(run)
    missing = [n for n in run.reconstructed if not all((run.path / file).exists() for file in table_files(n))]
    made = ends and (run.path / DICTIONARY).exists()
    if missing or not ends or not made:
        raise UserError(
            f"{run.path} is not complete ({', '.join(missing) if made else 'no dictionary'} missing); "
            "the stages before are `probe attractors`, `probe dictionary` and `probe reconstruct`."
        )
    dictionary = dictionary_sha256(run, ends, run.needed)
    if (run.path / BASINS).exists():
        run.needed(BASINS.name, dictionary=dictionary)
    if run.config.dictionary.source:
        run.needed(BORROWED.name)
    for name in run.reconstructed:
        run.has_table(name, run.needed, dictionary=dictionary)
    if run.config.clip and (run.path / SEMANTICS).exists():
        run.needed(SEMANTICS.name)
