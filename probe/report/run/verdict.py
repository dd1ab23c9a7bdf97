"""Verdicts: sentences that follow from simultaneous paired intervals by a stated rule.

Why Student's t, widened where differences are skewed, and not the percentile bootstrap. Of 100 reports with 30
comparisons, each at confidence 1 - 0.05/30, this many contain a wrong interval (5 is correct). Simulated by drawing
from the 36 paired differences of the quickstart, whose skewness is 0.7 in the median and 2.0 at most, and from a
lognormal distribution (sigma 1; skewness 6.2); 16,000 to 40,000 samples, 10,000 resamples.

| images | 10 | 20 | 64 | 200 | 500 |
|---|---|---|---|---|---|
| all comparisons of median skewness: percentiles | 52 | 22 | 8 | 5 | 4 |
| t | 21 | 13 | 8 | 6 | 4 |
| t, widened above a skewness of 0.5 | 6 | 2 | 2 | 4 | 3 |
| all of the largest skewness: percentiles | 81 | 61 | 21 | 9 | 6 |
| t | 31 | 39 | 21 | 10 | 6 |
| t, widened | 26 | 33 | 8 | 3 | 3 |
| all lognormal: percentiles | 94 | 81 | 46 | 20 | 8 |
| t | 76 | 70 | 47 | 25 | 18 |
| t, widened | 48 | 30 | 12 | 6 | 7 |
"""

from collections.abc import Iterable, Mapping, Sequence

from probe.methods import BASELINE, METRICS, OURS, methods, metrics
from probe.metrics.interval import SKEWED, Ends
from probe.report.page.text import count, listed, number, with_interval
from probe.report.run.sample import MIN_IMAGES
from probe.report.run.schema import ControlComparison, Judged, LevelReport, Mean, Result

JUDGED: tuple[Judged, ...] = ("latent_mse", "pixel_mse")
"""What verdicts are drawn by; pixels, too, because latent coordinates do not contribute equally to an image."""
_NAMES = listed([one.label for one in METRICS if one.name in JUDGED])
_RULE = (
    "Every image is written with as many atoms as 5 % of the latent dimension d. By either metric ({metrics}), the "
    "dictionary beats a control if the simultaneous interval over images of the paired difference (dictionary minus "
    "control) lies below 0, loses to it if the interval lies above 0, and no difference is seen if the interval "
    "includes 0. Simultaneous intervals are Student's t intervals (for ratios of means Fieller intervals, which "
    "include 1 exactly when those of the differences include 0) at a confidence of 1 - 0.05/m; where the skewness of "
    "the paired differences exceeds {skewed} in size, both are widened to what Hall's transformation of t, which "
    "corrects for skewness, accepts as well. m = {m} is the number of comparisons that the report makes (each data "
    "set, by each of the two metrics, with each control), so that all of them hold together with 95 % (Bonferroni). "
    "Intervals in verdicts and in the picture of ratios are simultaneous; all others are plain 95 % bootstrap "
    "intervals. With several random bases, errors are averaged over the bases image by image; the bases are beaten (or "
    "lost to) only if each single one is, too. A control competes if it has seen no data: {controls}. Of those other "
    "than {baseline}, a verdict names the strongest (smallest mean error on that data set); the headline names the one "
    "that is beaten on the fewest data sets. Oracles have seen held-out images: they are compared, but do not compete "
    "({oracles}). Fewer than {few} images give no verdict. Intervals in verdicts are over images, for the starts that "
    "were drawn; how far another draw would move the numbers is said beside them. The dictionary's atoms are called "
    "attractors only if every one is certified."
)


def rule(m: int) -> str:
    """The rule in words, for a report that makes ``m`` comparisons."""
    known = methods().values()
    competing = [one.phrase for one in known if _competes(one.name)]
    oracles = [one.phrase for one in known if one.sees_data]
    phrases = {"controls": listed(competing), "baseline": methods()[BASELINE].phrase, "oracles": listed(oracles)}
    return _RULE.format(m=m, few=MIN_IMAGES, skewed=SKEWED, metrics=_NAMES, **phrases)


def comparisons_among(present: Iterable[str], n: int) -> int:
    """Number of comparisons on a data set with these methods and n images: with every control, by every metric that
    verdicts are drawn by."""
    found = set(present)
    if OURS not in found or n < MIN_IMAGES:
        return 0
    return len(JUDGED) * len(found & set(controls()))


def controls() -> list[str]:
    """All that the dictionary is compared with, in the order of tables."""
    return [name for name in methods() if name != OURS]


def _competes(name: str) -> bool:
    return name == BASELINE or methods()[name].challenges


def _challengers() -> list[str]:
    return [name for name, one in methods().items() if one.challenges]


def confidence(m: int) -> float:
    """Confidence of each of ``m`` intervals, such that all hold together with 95 %."""
    return 1 - 0.05 / max(m, 1)


def strongest(means: Mapping[str, float | None]) -> str | None:
    """The challenger with the smallest mean, by method."""
    finite = {name: mean for name in _challengers() if (mean := means.get(name)) is not None}
    return min(finite, key=finite.__getitem__) if finite else None


def result(mean: float | None, ends: Ends | None, n: int) -> Result:
    """The rule for one paired difference over n images."""
    if n < MIN_IMAGES:
        return "too few images"
    if mean is None or ends is None:
        return "no interval"
    if ends[1] < 0:
        return "beats"
    return "loses" if ends[0] > 0 else "no difference seen"


def against_bases(together: Result, singles: Sequence[Ends | None]) -> tuple[Result, int]:
    """The result for all random bases, from that for their mean and each basis's interval; and how many are beaten."""
    beaten = sum(ends is not None and ends[1] < 0 for ends in singles)
    lost = sum(ends is not None and ends[0] > 0 for ends in singles)
    if (together == "beats" and beaten < len(singles)) or (together == "loses" and lost < len(singles)):
        return "no difference seen", beaten
    return together, beaten


def headline(subject: str, metric: Judged, found: Sequence[Sequence[ControlComparison]]) -> str:
    """One sentence on all data sets, from the comparisons of each: the random bases, and the hardest other control."""
    results: dict[str, list[Result]] = {}
    for one in (one for data in found for one in data if one.metric == metric and _competes(one.to)):
        results.setdefault(one.to, []).append(one.result)
    said = {result for each in results.values() for result in each}
    by = f"By {metrics()[metric].label}"
    if not results:
        return f"{by}, there is no verdict: there is nothing to compare the {subject} with."
    if said <= {"too few images", "no interval"}:
        return f"{by}, there is no verdict: {listed(sorted(said))}."
    sets = len(found)
    if said == {"beats"} and len(results) > 1:
        return f"{by}, the {subject} beat all {count(len(results), 'control')}{_on_all(sets)}."
    base, parts = results.pop(BASELINE, None), []
    if base:
        parts.append(_tally(methods()[BASELINE].phrase, base))
    if results:
        hardest = min(results, key=lambda name: (results[name].count("beats"), -results[name].count("loses")))
        parts.append(_tally(f"{methods()[hardest].phrase}, the hardest control to beat,", results[hardest]))
    verb = "beat " if sets > 1 else ""
    return f"{by}, the {subject} {verb}{', and '.join(parts)}.".replace(",.", ".")


def _on_all(sets: int) -> str:
    return f" on all {sets} data sets" if sets > 1 else ""


def _tally(control: str, results: Sequence[Result]) -> str:
    """``the 2-D DCT on 2 of 6 data sets (and lose on 3)``; of one data set ``lose to the 2-D DCT``."""
    n, beats, loses = len(results), results.count("beats"), results.count("loses")
    if n == 1:
        verbs = {"beats": "beat", "loses": "lose to", "no difference seen": "are not seen to differ from"}
        return f"{verbs.get(results[0], 'have no verdict against')} {control}"
    on = f"all {n} data sets" if beats == n else f"{beats or 'none'} of {n} data sets"
    lost = f" (and lose on {'all' if loses == n else loses})" if loses else ""
    return f"{control} on {on}{lost}"


def verdict(subject: str, metric: Judged, level: LevelReport | None, found: Sequence[ControlComparison]) -> str:
    """The sentence on a data set by one metric; ``subject`` is what to call the dictionary's atoms.

    Args:
        level: that of 5 % of d.
        found: the comparisons of the data set.
    """
    if level is None or OURS not in level.methods:
        return f"no verdict: the {subject} have no reconstruction from 5 % of d atoms"
    own, against = level.methods[OURS], {one.to: one for one in found if one.metric == metric}
    base, name = against.get(BASELINE), strongest({to: one.other for to, one in against.items()})
    if base:
        sentence = _against_base(subject, base, level.atoms)
    else:
        mean = f"{metrics()[metric].label} {number(own.of(metric).mean)}"
        sentence = f"no random orthogonal basis to compare with: {subject} have {mean} with {_atoms(level.atoms)}"
    if name:
        sentence += _against_challenger(base.result if base else None, against[name])
    if own.atoms_used < level.atoms:
        sentence += f"; no image used more than {own.atoms_used} of the {_atoms(level.atoms)} allowed"
    return sentence


def _atoms(n: int) -> str:
    return count(n, "atom")


def _against_base(subject: str, base: ControlComparison, atoms: int) -> str:
    phrase, means = methods()[BASELINE].phrase, f"{number(base.attractors)} against {number(base.other)}"
    said: dict[Result, str] = {
        "beats": f"{subject} beat {phrase}",
        "loses": f"{subject} lose to {phrase}",
        "no difference seen": f"no difference is seen between {subject} and {phrase}",
        "too few images": f"too few images for a verdict on {subject} against {phrase}",
        "no interval": f"no verdict on {subject} against {phrase}, because there is no interval",
    }
    before = f"{metrics()[base.metric].label} with {_atoms(atoms)} {means}, "
    return f"{said[base.result]} {_numbers(base, before)}"


def _against_challenger(base: Result | None, other: ControlComparison) -> str:
    name, beaten = methods()[other.to].phrase, base == "beats"
    said: dict[Result, str] = {
        "beats": f"{' and' if beaten else ', and they beat'} the strongest other control, {name}",
        "loses": f" but not {name}" if beaten else f", and they lose to {name}",
        "no difference seen": f", {'but' if beaten else 'and'} no difference is seen from {name}",
    }
    sentence = said.get(other.result, f"; the strongest other control is {name}")
    return f"{sentence} {_numbers(other, f'{number(other.other)}, ')}"


def _numbers(one: ControlComparison, before: str = "") -> str:
    """``(0.434 against 0.609, ratio 0.713 [0.695, 0.731])``; the difference if there is no ratio."""
    what, found = ("ratio", one.ratio) if one.ratio.mean is not None else ("difference", one.difference)
    numbers = f"{before}{what} {with_interval(Mean(mean=found.mean, ci95=found.simultaneous))}"
    if one.result == "no difference seen":
        if one.bases_beaten:
            numbers += f", {one.bases_beaten} of {one.bases} bases beaten"
        elif (ends := one.difference.simultaneous) and ends[0] > 0:
            numbers += f" to the mean of {one.bases} bases, but not every basis is seen to be better"
    return f"({numbers})"
