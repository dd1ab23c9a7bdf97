"""What a leaderboard takes from the report of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from probe.errors import UserError
from probe.methods import OURS
from probe.report.protocol import configuration, flat, ranked
from probe.report.run.schema import NONE, DatasetErrors, Mean, Report, read_report
from probe.results import layout

KEPT = 4096
"""Reports whose numbers are kept in memory, a few kB each."""


@dataclass(frozen=True)
class Score:
    """The dictionary's latent MSE at 5 % of d on a data set.

    Attributes:
        random: as a ratio to the random orthogonal basis; its interval is over images and draws of starts.
        strongest: as a ratio to the strongest control; its interval is over images alone.
        to: that control; None without any.
        atoms: 5 % of d.
    """

    random: Mean
    strongest: Mean
    to: str | None
    atoms: int


@dataclass(frozen=True)
class Entry:
    """A finished run; ``unranked`` says why it can have no rank, and is empty if it can."""

    report: Report
    scores: dict[str, Score]
    protocol: dict[str, Any]
    settings: dict[str, Any]
    unranked: str


def entry(run: Path) -> Entry:
    """Read a run directory; a report that has not changed is not read again.

    Raises:
        UserError: it is no run, is not finished or damaged, or holds no errors to rank by.
    """
    try:
        state = (run / layout.REPORT_JSON).stat()
    except OSError:
        return _entry.__wrapped__(run)  # says what is wrong
    return _entry(run, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(KEPT)
def _entry(run: Path, *_: int) -> Entry:
    report = read_report(run)
    if not isinstance(report.provenance.get("config"), dict):
        raise UserError(f"{run / layout.REPORT_JSON} does not hold the run's configuration; run `probe report {run}`.")
    if not report.datasets:
        raise UserError(f"{run} reconstructed no data set, so there is nothing to rank it by.")
    scores = {name: _score(data) for name, data in report.datasets.items()}
    try:
        settings, protocol = flat(configuration(report).settings()), ranked(report, run)
    except UserError as error:
        raise UserError(f"{run / layout.REPORT_JSON} holds a configuration of another version: {error}") from None
    facts = {"revision": report.model.revision, **{key: report.provenance.get(key) for key in ("device", "dtype")}}
    unranked = _unranked(report, scores, settings)
    # What is not used weighs megabytes.
    light = report.model_copy(update={"datasets": {}, "gallery": [], "provenance": {}, "basins": None})
    return Entry(light, scores, protocol, settings | facts, unranked)


def _score(data: DatasetErrors) -> Score:
    level, starts = data.at_five_percent, data.starts
    ours = level.methods.get(OURS) if level else None
    contrast = ours.difference_strongest if ours else None
    random = Mean(mean=starts.ratio.mean, ci95=starts.ratio.over_both) if starts else _over_images(ours)
    strongest = contrast.latent_ratio.plain() if contrast else NONE
    return Score(random, strongest, contrast.to if contrast else None, data.five_percent)


def _over_images(ours: Any) -> Mean:
    """The ratio of a run that did not measure how far draws of starts differ: it has no interval that counts them."""
    return Mean(mean=ours.difference.latent_ratio.mean, ci95=None) if ours and ours.difference else NONE


def _unranked(report: Report, scores: Mapping[str, Score], settings: Mapping[str, Any]) -> str:
    """Why a run cannot be ranked; empty if it can."""
    starts, atoms = report.solver.n, report.dictionary.atoms
    if report.borrowed:
        place = report.borrowed.place
        return f"It codes images in the dictionary of another run, from {place}, not in its own end points."
    if settings["solver.certificates"] == 0:
        return "No certificates: solver.certificates is 0, so nobody knows whether its end points are attractors."
    for name, one in scores.items():
        if atoms < one.atoms:
            return f"Too few atoms: {atoms}, where 5 % of d are {one.atoms}; probe it with more starts than {starts}."
        if one.random.mean is None:
            return f"No ratio to the random orthogonal basis on {name}: an error is not finite, or the basis is absent."
        if one.random.ci95 is None and report.datasets[name].starts is None:
            return "Made by a version that did not measure how far draws of the starts differ."
        if one.random.ci95 is None:
            return f"Too few starts or images on {name} to say how far another draw would move its ratio."
    return ""
