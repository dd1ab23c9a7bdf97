"""Brightness and colour of pictures that were encoded and decoded.

| symbol | meaning | shape |
|---|---|---|
| x | images, in the model's range | (n, channels, ..., H, W) |
| y | D(E(x)), not clamped | (n, channels, ..., H, W) |
| level | one step of an 8-bit picture: the model's range / 255 | |
"""

from torch import Tensor

from probe.metrics.interval import Interval, mean_interval
from probe.results.audit import Finding, judged, skipped
from probe.studies.audit.latent_thresholds import LEVELS
from probe.studies.audit.subject import Subject
from probe.studies.audit.thresholds import THRESHOLDS

COLOURS = ("red", "green", "blue")


def shift(x: Tensor, y: Tensor, image_range: tuple[float, float]) -> Tensor:
    """Mean of y, clamped to the range, minus mean of x, in levels: (n, channels), float64."""
    low, high = image_range
    return (y.double().clamp(low, high) - x.double()).flatten(2).mean(2) / (high - low) * LEVELS


def colour(subject: Subject) -> list[Finding]:
    """Mean brightness and colour of D(E(x)) against x."""
    if subject.model.kind == "audio":
        return [skipped("colour", "Sound has no colours.")]
    shifts = shift(subject.x.cpu(), subject.rebuilt, subject.model.image_range)
    if not shifts.isfinite().all():
        bad = 1 - float(shifts.isfinite().all(1).double().mean())
        says = f"Decoded values are NaN in {100 * bad:.3g} % of the images."
        return [judged("colour", "not finite", bad, THRESHOLDS["not finite"], says)]
    grey = shifts.mean(1)
    brightness = mean_interval(grey.numpy(), seed=subject.seed)
    more = "brighter" if brightness.mean > 0 else "darker"
    sentence = f"Decoded pictures are {abs(brightness.mean):.3g} levels {more} than the images{_ends(brightness)}."
    findings = [_judged("brightness", brightness, sentence, {"mean": brightness.mean})]
    if shifts.shape[1] == len(COLOURS):
        findings.append(_cast([mean_interval(one.numpy(), seed=subject.seed) for one in (shifts - grey[:, None]).T]))
    return findings


def _cast(casts: list[Interval]) -> Finding:
    worst = max(range(len(casts)), key=lambda i: (_nearest(casts[i]), abs(casts[i].mean)))
    cast, much = casts[worst], "much" if casts[worst].mean > 0 else "little"
    sentence = f"Brightness apart, they have {abs(cast.mean):.3g} levels too {much} {COLOURS[worst]}{_ends(cast)}."
    return _judged("cast", cast, sentence, {name: one.mean for name, one in zip(COLOURS, casts, strict=True)})


def _judged(name: str, found: Interval, sentence: str, numbers: dict[str, float]) -> Finding:
    return judged("colour", name, _nearest(found), THRESHOLDS["brightness"], sentence, numbers)


def _nearest(interval: Interval) -> float:
    """The size of the end that is nearer to 0; 0 if 0 is inside; the mean's own size without an interval."""
    if interval.low is None or interval.high is None:
        return abs(interval.mean)
    return max(interval.low, -interval.high, 0.0)


def _ends(interval: Interval) -> str:
    return f" (95 % interval {interval.low:+.3g} to {interval.high:+.3g})" if interval.ci95 else ""
