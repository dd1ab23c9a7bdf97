"""Where the end points' advantage over the random basis comes from: their mean, their covariance, or they themselves.

Four dictionaries in a row, each with one more thing that the end points have; a part is the step from one to the next.
All are shares of the random basis's mean latent MSE at 5 % of d, positive where the error falls.
"""

import math
from itertools import pairwise
from statistics import median
from typing import Any

from rich.table import Table as RichTable
from rich.text import Text

from probe.methods import BASELINE, OURS, methods
from probe.report.page.content import Table
from probe.report.page.text import listed, with_interval
from probe.report.run.sample import Key, Sample
from probe.report.run.schema import Decomposition, Mean, Report

CHAIN = (BASELINE, "random_mean", "matched_gaussian", OURS)
PARTS = ("mean", "covariance", "atoms")
NOTE = (
    f"Percent of the latent MSE of {methods()[BASELINE].phrase} at 5 % of d, with 95 % intervals over images, paired. "
    "total: how far the error of the end points lies below it. mean: what the first step takes off, from the random "
    "basis to the same with the mean of the end points as its first atom. covariance: the second step, to Gaussian "
    "vectors with the mean and covariance of the end points, as many as these: where they are fewer than d, this step "
    "also pays for the smaller choice. The last column: the third step, to the end points. "
    "Negative: the error grows. For one draw of the starts; random bases and Gaussian vectors are drawn several times."
)


def decomposition(sample: Sample, atoms: int, subject: str) -> Decomposition | None:
    """Of a data set at a level; None where one of the four dictionaries has no finite error there.

    ``subject`` is what to call the dictionary's atoms.
    """
    keys = [Key("latent_mse", name, atoms) for name in CHAIN]
    if any(key not in sample for key in keys):
        return None
    total = sample.share(keys[0], keys[-1], of=keys[0])
    parts = [sample.share(before, after, of=keys[0]) for before, after in pairwise(keys)]
    if total.mean is None or any(part.mean is None for part in parts):
        return None
    found = Decomposition(total=total, **dict(zip(PARTS, parts, strict=True)), sentence="")
    return found.model_copy(update={"sentence": _sentence(found, atoms, subject)})


def overall(report: Report) -> str | None:
    """The parts over all data sets, as medians and ranges; None for fewer than two data sets with a decomposition."""
    found = [data.decomposition for data in report.datasets.values() if data.decomposition]
    if len(found) < 2:
        return None
    names = [f"{report.subject} take off", *_names(report.subject)]
    columns = ([100 * (getattr(one, part).mean or 0.0) for one in found] for part in ("total", *PARTS))
    said = [
        f"{name} {median(column):.0f} % ({min(column):.0f} to {max(column):.0f})"
        for name, column in zip(names, columns, strict=True)
    ]
    return (
        f"Of the latent MSE of {methods()[BASELINE].phrase} at 5 % of d, {said[0]} in the median of {len(found)} data "
        f"sets, and of that {listed(said[1:])}."
    )


def table(report: Report) -> Table | None:
    """A row per data set, in percent; None where no data set has a decomposition."""
    rows = [
        [name, *(with_interval(_percent(getattr(data.decomposition, part))) for part in ("total", *PARTS))]
        for name, data in report.datasets.items()
        if data.decomposition
    ]
    head = ["% of the random basis's error", "total", "mean", "covariance", f"the {report.subject} themselves"]
    return Table(head, rows) if rows else None


def decomposition_table(report: dict[str, Any]) -> RichTable | None:
    """``table`` for a terminal with the sentences below it, from the content of report.json; None without any."""
    parsed = Report.model_validate(report)
    if (parts := table(parsed)) is None:
        return None
    found = parts.rich("Where the advantage over the random basis comes from")
    pairs = [(name, data.decomposition) for name, data in parsed.datasets.items() if data.decomposition]
    found.caption = Text("\n".join(f"{name}: {one.sentence}." for name, one in pairs))  # Text: no markup in names
    found.caption_justify = "left"
    return found


def _sentence(found: Decomposition, atoms: int, subject: str) -> str:
    (total, *parts), names = _rounded(found), _names(subject)
    base, error = methods()[BASELINE].phrase, f"latent MSE with {atoms} atoms"
    # "beat" is a verdict: only where the whole interval lies above 0.
    clear = found.total.ci95 is not None and found.total.ci95[0] > 0
    if clear and total > 0 and min(parts) >= 0:
        first, *rest = (f"{part:g} {name}" for part, name in zip(parts, names, strict=True))
        shares = listed([first.replace(" ", " are ", 1), *rest])
        said = f"of the {total:g} % by which {subject} beat {base} ({error}), {shares}"
    else:
        where = f"{abs(total):g} % {'below' if total > 0 else 'above'} that" if total else "the same as that"
        verbs = [("takes off", "adds"), ("takes off", "adds"), ("take off", "add")]
        steps = [f"{n} {verb[part < 0]} {abs(part):g}" for n, verb, part in zip(names, verbs, parts, strict=True)]
        said = f"the {error} of {subject} is {where} of {base}: {listed(steps)}"
    unclear = [name for name, part in zip(names, PARTS, strict=True) if _may_be_none(getattr(found, part))]
    return f"{said}; {listed(unclear)} may contribute nothing, by the interval" if unclear else said


def _names(subject: str) -> list[str]:
    return ["their mean", "their covariance", f"the {subject} themselves"]


def _may_be_none(part: Mean) -> bool:
    return part.ci95 is not None and part.ci95[0] <= 0 <= part.ci95[1]


def _percent(part: Mean) -> Mean:
    ends = part.ci95 and (100 * part.ci95[0], 100 * part.ci95[1])
    return Mean(mean=None if part.mean is None else 100 * part.mean, ci95=ends)


def _rounded(found: Decomposition) -> list[float]:
    """Total and parts in percent, rounded so that the parts still add up: to whole numbers, or to tenths if all are
    below 5. What rounding down leaves over goes to the parts that lost most by it."""
    total, *parts = (100 * (getattr(found, name).mean or 0.0) for name in ("total", *PARTS))
    scale = 1 if max(map(abs, (total, *parts))) >= 5 else 10
    whole = [math.floor(part * scale) for part in parts]
    missing = round(total * scale) - sum(whole)
    most = sorted(range(len(parts)), key=lambda i: whole[i] - parts[i] * scale)
    for i in most[:missing]:
        whole[i] += 1
    return [sum(whole) / scale, *(part / scale for part in whole)]
