"""Class-balanced draws: as many images of each class as of any other, as far as there are (``balance``)."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator

import numpy as np

from probe.config import DatasetConfig
from probe.data.source import Candidate, seeded_order
from probe.errors import UserError
from probe.names import shown

SPARE = 5000  # candidates kept beyond the shares of their classes, as many as a stream's buffer holds
ROWS_A_CLASS = 1000  # of a stream, read in search of one more image of a class, before the class counts as exhausted


def drawn_order(
    where: str, spec: DatasetConfig, items: Iterable[str | None] | int
) -> tuple[list[int], dict[str, int | None] | None]:
    """The order in which the items of a source are drawn, and how many there are of each class in a balanced draw.

    items: how many there are; for a balanced draw, the class of each.

    A balanced order takes the seeded one class by class in turn, the classes sorted by name. Items without a class are
    left out. UserError if none has one.
    """
    if isinstance(items, int):
        return seeded_order(items, spec.seed), None
    seen: dict[str | None, int] = {}  # a number for each class: a large set's labels need not be held
    given = np.fromiter((seen.setdefault(label, len(seen)) for label in items), np.int64)
    names = sorted({shown(label) for label in seen if label is not None})  # as candidates have them
    if not names:
        raise UserError(f"{where}: no image has a class to balance; remove balance, or name a column with classes.")
    number = {name: index for index, name in enumerate(names)}
    code = np.array([-1 if label is None else number[shown(label)] for label in seen])[given]
    order = np.array(seeded_order(len(code), spec.seed))
    order = order[code[order] >= 0]
    by_class = order[np.argsort(code[order], kind="stable")]
    counts = np.bincount(code[order], minlength=len(names))
    turn = np.arange(len(by_class)) - np.repeat(np.cumsum(counts) - counts, counts)  # 0, 1, ... within each class
    order = by_class[np.argsort(turn, kind="stable")]
    return order.tolist(), dict(zip(names, counts.tolist(), strict=True))


class Balance:
    """Candidates such that the next is always of the class of which fewest images were taken.

    An image that cannot be read, or repeats another, thus costs its class nothing while the class has others.
    Candidates of classes ahead wait in memory, at most ``most`` of each class; a few more serve where a class ends
    before its share, so that the others make up for it.
    """

    def __init__(self, candidates: Iterator[Candidate], classes: dict[str, int | None], most: int):
        self._candidates = candidates
        self._left = {name: float("inf") if count is None else count for name, count in classes.items()}
        self._waiting: dict[str, deque[Candidate]] = {name: deque() for name in classes}
        self._spare: dict[str, deque[Candidate]] = {name: deque() for name in classes}
        self._room = SPARE
        self._most = most
        self.taken: Counter[str] = Counter(dict.fromkeys(classes, 0))

    def __iter__(self) -> Iterator[Candidate]:
        while self._left:
            name = min(self._left, key=lambda name: self.taken[name])
            if (candidate := self._next(name)) is not None:
                self._left[name] -= 1
                yield candidate
            if candidate is None or self._left[name] <= 0:
                del self._left[name]

    def note(self, held_out: int) -> str | None:
        """A sentence on classes of which fewer images were taken than of others; None if there is none.

        held_out: how many of the images taken are held out; classes are balanced over these and the others together.
        """
        most = max(self.taken.values(), default=0)
        short = {name: count for name, count in self.taken.items() if count < most - 1}
        if not short:
            return None
        few = ", ".join(f"{count} of {name!r}" for name, count in sorted(short.items(), key=lambda one: one[1])[:5])
        more = f" and less of {len(short) - 5} more" if len(short) > 5 else ""
        total = self.taken.total()
        drawn = f"of the {total} images drawn ({total - held_out} and {held_out} held out)"
        return f"the classes are not balanced: {drawn}, only {few}{more} could be found, and up to {most} of others."

    def _next(self, name: str) -> Candidate | None:
        if self._waiting[name]:
            return self._waiting[name].popleft()
        endless = self._left[name] == float("inf")
        for tried, candidate in enumerate(self._candidates):
            if candidate.label == name:
                return candidate
            if candidate.label in self._waiting:
                self._keep(candidate, candidate.label)
            if endless and tried + 1 >= ROWS_A_CLASS:
                break
        # Its spare candidates are the last.
        self._waiting[name], self._spare[name] = self._spare[name], deque()
        self._left[name] = len(self._waiting[name])
        return self._waiting[name].popleft() if self._waiting[name] else None

    def _keep(self, candidate: Candidate, name: str) -> None:
        if len(self._waiting[name]) < self._most:
            self._waiting[name].append(candidate)
        elif self._room > 0:
            self._room -= 1
            self._spare[name].append(candidate)
