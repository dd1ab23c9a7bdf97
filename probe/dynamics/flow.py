"""A batch of constant size through which starts flow: when a row ends, the next waiting one takes its place."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import compress

import torch
from torch import Tensor

State = dict[str, Tensor]
"""Tensors by name; the first dimension of each is the n rows."""


IDLE = 1 / 8
"""Share of a batch that may have ended before it shrinks: libraries plan again for every number of rows."""
FEW = 1 / 64
"""So may this share of a full batch, however small it has become: batches are large where rows are cheap."""

LONG = 0.01
"""Seconds of a step of a GPU from which its flags are read at once: the GPU then rests for some 0.1 ms until its next
kernels come, and no row that has ended takes part in another step."""


@dataclass
class Group:
    """Some rows: the numbers of their starts, and their state."""

    starts: list[int]
    state: State

    def take(self, rows: list[int]) -> "Group":
        """These rows alone."""
        index = indices(rows, next(iter(self.state.values())).device)
        return Group([self.starts[row] for row in rows], {k: v.index_select(0, index) for k, v in self.state.items()})

    @staticmethod
    def join(groups: "list[Group]") -> "Group":
        """Concatenate the rows of several groups."""
        if len(groups) == 1:
            return groups[0]
        names = groups[0].state
        return Group(
            [start for group in groups for start in group.starts],
            {name: torch.cat([group.state[name] for group in groups]) for name in names},
        )


def flow(
    waiting: Iterator[Group],
    size: int,
    advance: Callable[[State], None],
    *,
    lag: int | None = None,
    steady: bool = False,
    on_step: Callable[[list[int]], None] | None = None,
) -> Iterator[Group]:
    """Advance ``size`` rows at a time until each has ended; yields them as they end.

    Args:
        waiting: groups of rows, taken when there is room.
        advance: one step of all rows of a state, in place; sets ``ended`` (n,) where no further step is needed.
        lag: read ``ended`` as of ``lag`` steps ago, so that the host need not wait for the device. Rows that ended
            since then take part in a few more steps; ``advance`` must leave them unchanged. None: 0 on a CPU; on a GPU
            1, or 0 while a step takes ``LONG``.
        steady: when nothing is waiting, keep the number of rows or halve it (for compiled maps); otherwise the batch
            shrinks to the running rows once ``IDLE`` of them, and ``FEW`` of a full batch, have ended.
        on_step: called after each step with the starts that are in the batch.
    """
    queue, flags = _Queue(waiting), _Flags(lag)
    batch = queue.take(size)
    gone: set[int] = set()
    while batch is not None:
        advance(batch.state)
        ended = flags.look(batch.state["ended"], batch.starts) - gone
        if on_step is not None:
            on_step(batch.starts)
        ended = ended and ended & set(batch.starts)
        if not ended:
            continue
        yield batch.take([row for row, start in enumerate(batch.starts) if start in ended])
        gone |= ended
        left = [row for row, start in enumerate(batch.starts) if start not in gone]
        more = queue.take(size - len(left))
        rows = len(left) + (len(more.starts) if more else 0)
        fewest = min((1 - IDLE) * len(batch.starts), len(batch.starts) - FEW * size)
        if not steady and max(fewest, 0) < rows < len(batch.starts) and more is None:
            continue
        if steady and left and rows < size:
            padding = [row for row, start in enumerate(batch.starts) if start in gone]
            left += padding[: _rounded(rows, size) - rows]
        else:
            gone.clear()
        parts = [batch.take(left)] if left else []
        batch = Group.join(parts + ([more] if more else [])) if parts or more else None


def _rounded(rows: int, size: int) -> int:
    """The smallest of size, size / 2, size / 4, ... that is at least ``rows``."""
    while size // 2 >= rows:
        size //= 2
    return size


class _Queue:
    """Groups, cut to the size asked for."""

    def __init__(self, groups: Iterator[Group]):
        self.groups, self.rest = groups, deque[Group]()

    def take(self, count: int) -> Group | None:
        """Up to ``count`` rows; None if nothing is left."""
        parts: list[Group] = []
        while count > 0:
            group = self.rest.popleft() if self.rest else next(self.groups, None)
            if group is None:
                break
            if len(group.starts) > count:
                self.rest.append(group.take(list(range(count, len(group.starts)))))
                group = group.take(list(range(count)))
            parts.append(group)
            count -= len(group.starts)
        return Group.join(parts) if parts else None


class _Flags:
    """Flags on a device, read some steps later: by then they are copied and the host need not wait."""

    def __init__(self, lag: int | None):
        self.lag, self.pending = lag, deque[tuple[Tensor, list[int], torch.cuda.Event | None]]()
        self.behind, self.since = 0 if lag is None else lag, time.perf_counter()

    def look(self, flags: Tensor, starts: list[int]) -> set[int]:
        """Take the flags of this step; the starts that were flagged ``lag`` steps ago."""
        copy, event = flags, None
        if flags.device.type == "cuda":
            copy = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True).copy_(flags, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        elif self.behind:
            copy = flags.clone()
        self.pending.append((copy, starts, event))
        found = set[int]()
        while len(self.pending) > self.behind:
            copy, starts, event = self.pending.popleft()
            if event is not None:
                event.synchronize()
            found.update(compress(starts, copy.tolist()))
        if self.lag is None and flags.device.type == "cuda":
            now = time.perf_counter()
            self.behind, self.since = int(now - self.since < LONG), now
        return found


def indices(rows: list[int], device: torch.device) -> Tensor:
    """Row numbers on a device; the host does not wait until a GPU has them."""
    index = torch.tensor(rows, dtype=torch.long)
    return index.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else index.to(device)


def per_row(flags: Tensor, z: Tensor) -> Tensor:
    """Flags (n,) in a shape that broadcasts against z (n, ...)."""
    return flags.view(-1, *[1] * (z.ndim - 1))


def some(flags: Tensor) -> bool:
    """Whether any flag is set; always true on a GPU, where the host would have to wait to know.

    On a CPU, asking takes less time than the small operations that need not be done then.
    """
    return flags.device.type != "cpu" or bool(flags.any())
