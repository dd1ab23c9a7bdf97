"""The verdict on each data set: one sentence that follows from simultaneous paired intervals by a stated rule.

Why Student's t and not the percentile bootstrap. Of 100 reports with 30 comparisons, each at confidence 1 - 0.05/30,
this many contain a wrong interval (5 is correct). Simulated by drawing from paired differences of TAEF2 at 32 pixels
and of the quickstart: 60 populations with a skewness of 0.6 in the median and 1.8 at most; 10,000 resamples.

| images | 10 | 20 | 64 | 200 | 500 |
|---|---|---|---|---|---|
| all comparisons of median skewness: t | 12 | 10 | 6 | 6 | 6 |
| percentiles | 50 | 22 | 7 | 7 | 4 |
| all of the largest skewness: t | 24 | 35 | 21 | 10 | 7 |
| percentiles | 86 | 63 | 21 | 4 | 4 |
"""

from collections.abc import Iterable, Mapping, Sequence

from probe.methods import BASELINE, OURS, methods
from probe.metrics.interval import SKEWED, Ends
from probe.report.page.text import count, listed, number, with_interval
from probe.report.run.sample import MIN_IMAGES
from probe.report.run.schema import ControlComparison, LevelReport, Mean, Result

_RULE = (
    "At 5 % of d, by latent MSE: the dictionary beats a control if the simultaneous interval over images of the paired "
    "difference (dictionary minus control) lies below 0, loses to it if the interval lies above 0, and no difference "
    "is seen if the interval includes 0. Simultaneous intervals are Student's t intervals (for ratios of means Fieller "
    "intervals, which include 1 exactly when those of the differences include 0) at a confidence of 1 - 0.05/m; where "
    "the skewness of the paired differences exceeds {skewed} in size, both are widened to what Hall's transformation "
    "of t, which corrects for skewness, accepts as well. m = "
    "{m} is the number of comparisons behind the verdicts, so that all of them hold together with 95 % (Bonferroni): "
    "for each data set by latent MSE with {controls}, and by pixel MSE with {baseline}, because latent coordinates do "
    "not contribute equally to an image. Intervals in verdicts are simultaneous; all others are plain 95 % bootstrap "
    "intervals. With several random bases, errors are averaged over the bases image by image; the bases are beaten (or "
    "lost to) only if each single one is, too. Of the other controls, the strongest (smallest mean latent MSE) is "
    "named; {oracles} does not take part. Fewer than {few} images give no verdict. Intervals in verdicts "
    "are over images, for the starts that were drawn; how far another draw would move the numbers is said beside them. "
    "The dictionary's atoms are called attractors only if every one is certified."
)


def rule(m: int) -> str:
    """The rule in words, for a report that makes ``m`` comparisons."""
    known = methods().values()
    compared = [one.phrase for one in known if one.name == BASELINE or one.challenges]
    oracles = [one.phrase for one in known if one.sees_data]
    baseline = methods()[BASELINE].phrase
    names = {"controls": listed(compared), "baseline": baseline, "oracles": listed(oracles)}
    return _RULE.format(m=m, few=MIN_IMAGES, skewed=SKEWED, **names)


def comparisons_among(methods: Iterable[str], n: int) -> int:
    """Number of comparisons behind the verdict of a data set with these methods and n images. All challengers count,
    because the strongest is found on the same images."""
    present = set(methods)
    if OURS not in present or n < MIN_IMAGES:
        return 0
    return sum(name in present for name in _challengers()) + 2 * (BASELINE in present)


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


def verdict(subject: str, level: LevelReport | None, comparisons: Sequence[ControlComparison]) -> str:
    """The sentence; ``subject`` is what to call the dictionary's atoms."""
    if level is None or OURS not in level.methods:
        return f"no verdict: the {subject} have no reconstruction at 5 % of d"
    own = level.methods[OURS]
    base = next((one for one in comparisons if one.metric == "latent_mse" and one.to == BASELINE), None)
    mean = number(own.latent_mse.mean)
    alone = f"no random orthogonal basis to compare with: {subject} at 5 % have latent MSE {mean}"
    sentence = _against_base(subject, base) if base else alone
    for one in comparisons:
        if one.to != BASELINE:
            sentence += _against_challenger(base.result if base else None, one)
        elif one.metric == "pixel_mse" and base:
            sentence += _in_pixels(base.result, one)
    if own.atoms_used < level.atoms:
        sentence += f"; no image used more than {own.atoms_used} of the {count(level.atoms, 'atom')} allowed"
    return sentence


def _against_base(subject: str, base: ControlComparison) -> str:
    phrase = methods()[BASELINE].phrase
    said: dict[Result, str] = {
        "beats": f"{subject} beat {phrase} at 5 %",
        "loses": f"{subject} lose to {phrase} at 5 %",
        "no difference seen": f"no difference is seen between {subject} and {phrase} at 5 %",
        "too few images": f"too few images for a verdict on {subject} against {phrase} at 5 %",
        "no interval": f"no verdict on {subject} against {phrase} at 5 %, because there is no interval",
    }
    return f"{said[base.result]} {_numbers(base, f'{number(base.attractors)} against {number(base.other)}, ')}"


def _against_challenger(base: Result | None, other: ControlComparison) -> str:
    name, beaten = methods()[other.to].phrase, base == "beats"
    said: dict[Result, str] = {
        "beats": f"{' and' if beaten else ', and they beat'} the strongest other control, {name}",
        "loses": f" but not {name}" if beaten else f", and they lose to {name}",
        "no difference seen": f", {'but' if beaten else 'and'} no difference is seen from {name}",
    }
    sentence = said.get(other.result, f"; the strongest other control is {name}")
    return f"{sentence} {_numbers(other, f'{number(other.other)}, ')}"


def _in_pixels(latent: Result, pixel: ControlComparison) -> str:
    """The same comparison with the random bases, by pixel MSE."""
    if pixel.result == "too few images":
        return ""
    if pixel.result == latent:
        return f"; likewise by pixel MSE {_numbers(pixel)}"
    said: dict[Result, str] = {
        "beats": "they beat it",
        "loses": "they lose to it",
        "no difference seen": "no difference is seen",
        "no interval": "there is no interval",
    }
    numbers = _numbers(pixel, f"{number(pixel.attractors)} against {number(pixel.other)}, ")
    return f"; by pixel MSE {said[pixel.result]} {numbers}"


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
