"""A number that is known from elsewhere, and whether the tool gives it."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from probe.errors import UserError


@dataclass(frozen=True)
class Truth:
    """A number that is known from elsewhere.

    Attributes:
        name: for ``probe verify --only NAME``.
        what: which number of what.
        source: who published it, or what it follows from.
        expected, tolerance: the number, and how far the tool may be from it.
        measure: the number as the tool's own functions find it; the same at every call.
    """

    name: str
    what: str
    source: str
    expected: float
    tolerance: float
    measure: Callable[[], float]


@dataclass(frozen=True)
class Checked:
    """A truth after it was measured.

    Attributes:
        found: what the tool says; None if it failed with ``error``.
        holds: whether ``found`` lies within the tolerance of ``expected``.
        seconds: of this process's time on the processors.
    """

    name: str
    what: str
    source: str
    expected: float
    tolerance: float
    found: float | None
    holds: bool
    seconds: float
    error: str = ""


def chosen(truths: Sequence[Truth], names: Sequence[str]) -> list[Truth]:
    """The truths of these names, or all if there are no names.

    Raises:
        UserError: there is no truth of that name.
    """
    known = [one.name for one in truths]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"there is no truth {unknown[0]!r}; the truths are {', '.join(known)}.")
    return [one for one in truths if not names or one.name in names]


def check(truths: Iterable[Truth]) -> Iterator[Checked]:
    """Measure one truth after the other. A measure that fails is a truth that does not hold; the others still count."""
    for one in truths:
        began, found, error = time.process_time(), None, ""
        try:
            found = float(one.measure())
        except Exception as failure:  # whatever it is, the table says it
            error = f"{type(failure).__name__}: {failure}"
        # NaN is within no tolerance. 1e-12: tolerances are decimals, and 0.1 + 0.05 is not 0.15.
        holds = found is not None and abs(found - one.expected) <= one.tolerance + 1e-12
        seconds = time.process_time() - began
        yield Checked(one.name, one.what, one.source, one.expected, one.tolerance, found, holds, seconds, error)
