"""Numbers as text, the same on every page."""

import math
from typing import Any, Protocol


class Estimate(Protocol):
    """A number and its 95 % interval, None where they do not exist."""

    @property
    def mean(self) -> float | None: ...

    @property
    def ci95(self) -> tuple[float, float] | None: ...


def number(value: float | None) -> str:
    """Three significant digits; ``-`` if there is no number."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e5:
        return f"{value:.2e}"
    return _fixed(value, abs(value))


def _fixed(value: float, scale: float) -> str:
    """``value`` with as many decimals as show three significant digits of ``scale``."""
    return f"{value:.{min(6, max(0, 2 - math.floor(math.log10(scale))))}f}"


def interval(mean: Estimate) -> str:
    """``[low, high]``, or nothing without an interval; both ends with the decimals of the larger."""
    if mean.ci95 is None:
        return ""
    scale = max(map(abs, mean.ci95))
    if not 1e-4 <= scale < 1e5:
        return f"[{number(mean.ci95[0])}, {number(mean.ci95[1])}]"
    return f"[{_fixed(mean.ci95[0], scale)}, {_fixed(mean.ci95[1], scale)}]"


def with_interval(mean: Estimate) -> str:
    """``0.434 [0.421, 0.447]``."""
    return f"{number(mean.mean)} {interval(mean)}".rstrip()


def percent(part: float, whole: float = 1) -> str:
    return f"{100 * part / whole:.3g} %" if whole else "-"


def count(n: int, singular: str) -> str:
    """``1 atom``, ``2 atoms``."""
    return f"{n} {singular}" if n == 1 else f"{n} {singular}s"


def of_images(name: str, used: int, planned: int, unreadable: list[str], notes: list[str]) -> list[str]:
    """Warnings of a set: fewer images than planned, images that could not be read, and notes of its source."""
    found = [f"{name}: {used} of {planned} planned images were used."] if used < planned else []
    if unreadable:
        shown = ", ".join(unreadable[:3]) + (", ..." if len(unreadable) > 3 else "")
        found.append(f"{name}: {count(len(unreadable), 'image')} could not be read ({shown}).")
    return [*found, *(f"{name}: {note}" for note in notes)]


def listed(parts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def as_text(value: Any) -> str:
    """A value of the manifest; nested values become ``name: value`` pairs."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {as_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(as_text, value))
    if value is None:
        return "unknown"
    return number(value) if isinstance(value, float) else str(value)
