"""One sentence per data set that follows from paired intervals by a stated rule."""

from probe.report.methods import CHALLENGERS, PHRASES
from probe.report.schema import BASELINE, Comparison, LevelReport, Mean, Result
from probe.report.words import count, interval, number

RULE = (
    "At 5 % of d, by latent MSE: the dictionary beats a control if the 95 % bootstrap interval over images of the "
    "paired difference (dictionary minus control) lies below 0, loses to it if the interval lies above 0, and no "
    "difference is seen if it includes 0. It is held first against the random orthogonal basis, then against the "
    "strongest (smallest mean) of Gaussian vectors, one step from noise and the DCT; against the random orthogonal "
    "basis also by pixel MSE, since latent coordinates do not weigh alike in an image. The PCA oracle does not take "
    "part. Intervals are for one draw of the starts and of the random bases, and not corrected for the number of "
    "data sets. The dictionary's atoms are called attractors only if every one is certified."
)


def opponents(level: LevelReport) -> list[str]:
    """The random orthogonal basis, then the strongest challenger, as far as they have rows."""
    means = {name: level.methods[name].latent_mse.mean for name in CHALLENGERS if name in level.methods}
    finite = {name: mean for name, mean in means.items() if mean is not None}
    strongest = [min(finite, key=finite.__getitem__)] if finite else []
    return [name for name in (BASELINE,) if name in level.methods] + strongest


def result(difference: Mean) -> Result:
    """The rule for one paired difference."""
    if difference.ci95 is None:
        return "no interval"
    low, high = difference.ci95
    if high < 0:
        return "beats"
    return "loses" if low > 0 else "no difference seen"


def verdict(subject: str, level: LevelReport | None, comparisons: list[Comparison]) -> str:
    """The sentence; ``subject`` is what the dictionary's atoms may be called."""
    if level is None or "attractors" not in level.methods:
        return f"no verdict: the {subject} have no reconstruction at 5 % of d"
    at = f"at 5 % of d ({count(level.atoms, 'atom')})"
    by_name = {comparison.to: comparison for comparison in comparisons}
    base = by_name.pop(BASELINE, None)
    sentence = _against_base(subject, at, base, level)
    for challenger in by_name.values():
        sentence += _against_challenger(base.result if base else None, challenger)
    sentence += _in_pixels(level)
    used = level.methods["attractors"].atoms_used
    if used < level.atoms:
        sentence += f"; no image used more than {used} of the {level.atoms} atoms allowed"
    return sentence


def _against_base(subject: str, at: str, base: Comparison | None, level: LevelReport) -> str:
    if base is None:
        mean = number(level.methods["attractors"].latent_mse.mean)
        return f"no random orthogonal basis to compare with: {subject} {at} have latent MSE {mean}"
    numbers = f"latent MSE {number(base.attractors)} against {number(base.other)}"
    difference = f"difference {number(base.difference.mean)} {interval(base.difference)}".rstrip()
    phrase = PHRASES[BASELINE]
    match base.result:
        case "beats":
            return f"{subject} beat {phrase} {at}: {numbers}, {difference}"
        case "loses":
            return f"{subject} lose to {phrase} {at}: {numbers}, {difference}"
        case "no difference seen":
            return f"no difference seen between {subject} and {phrase} {at}: {numbers}, {difference} includes 0"
    return f"no verdict on {subject} against {phrase} {at}, since there is no interval: {numbers}, {difference}"


def _against_challenger(base: Result | None, other: Comparison) -> str:
    name = PHRASES[other.to]
    shown = interval(other.difference)
    numbers = f"({number(other.other)}; difference {number(other.difference.mean)}{' ' + shown if shown else ''})"
    match other.result:
        case "beats":
            return f", and {'also' if base == 'beats' else 'they beat'} the strongest other control, {name} {numbers}"
        case "loses" if base == "beats":
            return f", but not {name} {numbers}"
        case "loses":
            return f", and they lose to {name} {numbers}"
        case "no difference seen":
            return f", {'but' if base == 'beats' else 'and'} no difference is seen from {name} {numbers}"
    return f"; the strongest other control is {name} {numbers}"


def _in_pixels(level: LevelReport) -> str:
    """The same comparison with the random orthogonal basis, by pixel MSE."""
    own, base = level.methods["attractors"], level.methods.get(BASELINE)
    if base is None or own.difference is None:
        return ""
    difference = f"{number(own.difference.pixel_mse.mean)} {interval(own.difference.pixel_mse)}".rstrip()
    numbers = f"({number(own.pixel_mse.mean)} against {number(base.pixel_mse.mean)}; difference {difference})"
    match result(own.difference.pixel_mse):
        case "beats":
            return f"; in pixel MSE they beat that basis {numbers}"
        case "loses":
            return f"; in pixel MSE they lose to that basis {numbers}"
        case "no difference seen":
            return f"; in pixel MSE no difference from that basis is seen {numbers}"
    return f"; in pixel MSE there is no interval {numbers}"
