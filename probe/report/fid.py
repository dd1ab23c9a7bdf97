"""What to know of an rFID, wherever one is reported."""

from probe.metrics.frechet import ENOUGH, GROUPS

JACKKNIFE = f"jackknife over {GROUPS} groups of images (it says nothing of the bias at this n)"
"""How its interval is made."""
PIXELS = "clamped, rounded to 8 bits"
"""What Inception sees of a decoded picture."""


def biased(name: str, n: int) -> list[str]:
    """A warning if rFID is of few images."""
    if n >= ENOUGH:
        return []
    return [
        f"{name}: rFID of {n} images is too large by a bias that falls with n; compare it with rFID of as many images "
        f"only, or use {ENOUGH} or more (published numbers: often 50,000)."
    ]
