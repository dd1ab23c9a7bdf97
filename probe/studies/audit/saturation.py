"""The range of decoded values: how much of a picture is clipped.

| symbol | meaning | shape |
|---|---|---|
| x | images, in the model's range | (n, channels, ...) |
| y | D(E(x)), not clamped | (n, channels, ...) |
| level | one step of an 8-bit picture: the model's range / 255 | |
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.results.audit import Finding, judged, skipped
from probe.studies.audit.latent_thresholds import LEVELS
from probe.studies.audit.subject import Subject
from probe.studies.audit.thresholds import THRESHOLDS


@dataclass(frozen=True)
class Range:
    """How decoded values lie to the model's range.

    Attributes:
        outside: share of values that a picture clips: more than half a level outside.
        saturated: share of values that are black or white in 8 bits: at an end, or beyond.
        original: the same share of the images themselves.
        beyond: how far the worst value lies outside, as a share of the range.
    """

    outside: float
    saturated: float
    original: float
    beyond: float

    @property
    def excess(self) -> float:
        """Share of values that decoding has saturated: those of y less those of x, at least 0."""
        return max(self.saturated - self.original, 0.0)


def value_range(x: Tensor, y: Tensor, image_range: tuple[float, float]) -> Range:
    """The range of the decoded y beside the images x; values that are not finite count as outside."""
    low, high = image_range
    half = (high - low) / LEVELS / 2
    y = y.double()

    def share(found: Tensor) -> float:
        return float(found.double().mean())

    inside = (y >= low - half) & (y <= high + half)
    beyond = torch.maximum(low - y, y - high).max() / (high - low)
    return Range(
        share(~inside),
        share(~((y > low + half) & (y < high - half))),
        share((x <= low + half) | (x >= high - half)),
        max(float(beyond), 0.0),
    )


def saturation(subject: Subject) -> list[Finding]:
    """Decoded values at the ends of the model's range, or beyond."""
    if subject.model.kind == "audio":
        return [skipped("saturation", "Sound has no range of values to keep to.")]
    low, high = subject.model.image_range
    found, threshold = value_range(subject.x.cpu(), subject.rebuilt, (low, high)), THRESHOLDS["saturated"]
    numbers = {
        "outside": found.outside,
        "saturated": found.saturated,
        "images": found.original,
        "beyond": found.beyond,
    }
    sentence = (
        f"{100 * found.saturated:.2g} % of the decoded values are black or white, and {100 * found.original:.2g} % of "
        f"the images'. {100 * found.outside:.2g} % lie outside {low:g} to {high:g}, by {found.beyond:.2g} of the range "
        "at most."
    )
    if threshold.verdict(found.excess) != "OK":
        sentence += " Detail in lights and shadows is lost."
    return [judged("saturation", "saturation", found.excess, threshold, sentence, numbers)]
