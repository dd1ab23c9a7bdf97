"""Processes that share a directory and know nothing of each other, such as the tasks of a Slurm array.

Each begins when it likes, and may be killed at any time. They meet in the file system alone: what one process must do
alone is done under the lock of the directory by whoever comes first, and a part belongs to the process that holds its
lock. The kernel ends a lock with its process, so that what a killed process held goes to another.
"""

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from jobs.lock import MARKER, exclusive, if_free, is_held
from jobs.lock import PATIENCE as LOCK_PATIENCE
from jobs.world import World
from probe.errors import UserError
from probe.results.layout import CLAIM

T = TypeVar("T")
PATIENCE, MARKED = 86400.0, 3600.0
"""Seconds that a process waits for another to do what one does alone, such as merging, which may take hours. The
kernel's lock ends with its process; a file that marks one may be left, so that is waited for ``MARKED`` seconds."""
POLL = 1.0
"""Seconds between looks at parts that other processes hold."""
LEAVING = 600.0 if "SLURM_JOB_ID" in os.environ else LOCK_PATIENCE
"""Seconds to wait for processes that find nothing to do; one that came late loads the model before it sees that."""
TASKS = "tasks"


class Independent(World):
    """One of several independent processes: a world of one rank, whose work is shared with others.

    Attributes:
        path: the directory that they share.
    """

    independent = True

    def __init__(self, path: Path, task: int = 0, tasks: int = 1):
        super().__init__()
        self.path, self.rank, self.processes = path, task, max(tasks, 1)
        self._alone = False
        self._held: dict[str, tuple[object, ExitStack]] = {}

    def __str__(self) -> str:
        return f"task {self.rank} of an array of {self.processes}"

    @property
    def leads(self) -> bool:
        """Each leads itself."""
        return True

    @contextmanager
    def alone(self, patience: float | None = None) -> Iterator[None]:
        """Hold the directory.

        Raises:
            UserError: another process still holds it after ``patience`` seconds, by default ``PATIENCE``.
        """
        if self._alone:
            yield
            return
        if patience is None:
            patience = MARKED if (self.path / MARKER).exists() else PATIENCE
        with exclusive(self.path, patience):
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

    def on_rank_0(self, work: Callable[[], T]) -> T:
        """Do something that another process may have done already, while no other process does."""
        with self.alone():
            return work()

    def missing(self, parts: Sequence[T], is_there: Callable[[T], object]) -> list[T]:
        """The parts that are not there now."""
        return [part for part in parts if not is_there(part)]

    left = missing

    def claims(
        self, title: str, items: Sequence[T], is_there: Callable[[T], object], elsewhere: Callable[[T], object]
    ) -> Iterator[T]:
        """Items that nobody holds, each held by this process until it is there; ends when all are there, or when all
        others are in the hands of other processes and some of this process are not there yet."""
        first = self.rank * len(items) // self.processes % max(len(items), 1)  # where few others look
        left = deque([*items[first:], *items[:first]])
        while left:
            for _ in range(len(left)):
                item = left.popleft()
                if is_there(item):
                    elsewhere(item)
                elif self._hold(title, item):
                    if not is_there(item):
                        yield item
                        break
                    self._held.pop(_key(item))[1].close()  # it was made a moment ago
                    elsewhere(item)
                else:
                    left.append(item)
            else:
                if left and self._held:
                    return
                if left:
                    time.sleep(POLL)
            self.let_go(is_there)

    def let_go(self, is_there: Callable[[T], object] = lambda item: True) -> None:
        """Release the items that are there; by default all."""
        for key, (item, lock) in list(self._held.items()):
            if is_there(item):  # type: ignore[arg-type]
                del self._held[key]
                lock.close()

    @contextmanager
    def present(self) -> Iterator[None]:
        """Be seen at work by ``refuse_beside``."""
        with if_free(self.path / CLAIM.at(stage=TASKS, part=f"{self.rank}", file="")):
            yield

    def _hold(self, title: str, item: object) -> bool:
        lock = ExitStack()
        if not lock.enter_context(if_free(self.path / CLAIM.at(stage=title, part=_key(item), file=""))):
            lock.close()
            return False
        self._held[_key(item)] = item, lock
        return True


def refuse_beside(path: Path, patience: float = LEAVING) -> None:
    """Refuse a directory that independent processes share; one that is ending is waited for.

    Raises:
        UserError: they are still there after ``patience`` seconds.
    """
    until = time.monotonic() + patience
    while present := tasks_present(path):
        if time.monotonic() >= until:
            raise UserError(
                f"{path} is being worked on by task {present[0]} of a Slurm array; wait for it, or cancel it with "
                f"`probe cancel {path}`."
            )
        time.sleep(POLL)


def tasks_present(path: Path) -> list[str]:
    """The numbers of the independent processes at work in a directory."""
    folders = (path / CLAIM.at(stage=TASKS, part="", file="")).glob("*")
    return [folder.name for folder in sorted(folders) if is_held(folder)]


def is_passed_on(path: Path) -> bool:
    """Whether a process that works on all holds a directory. A task that holds it may only be joining the parts of its
    stage, which are not whole before that."""
    return is_held(path) and not tasks_present(path)


def _key(item: object) -> str:
    """A name of an item for a file system, the same in all processes. Two of one name only wait for each other."""
    return re.sub(r"[^\w.]+", "-", repr(item)).strip("-")[:150]
