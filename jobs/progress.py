"""Progress on stderr: a bar with rate and remaining time on a terminal, a line a stage elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY = 30.0
"""Seconds between lines where stderr is a file."""


class Bar:
    """One stage's progress in units of its own."""

    def __init__(self, title: str, unit: str, total: int):
        self.title, self.unit, self.total = title, unit, total
        self.began = self.last = time.monotonic()
        self.note = ""
        console = Console(stderr=True)
        self.live = console.is_terminal
        self.rich = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not self.live,
        )
        self.task = self.rich.add_task(title, total=total, note="")

    def update(self, done: float, note: str = "", total: int | None = None) -> None:
        """``done`` units of the total are finished (fractions count); the total may turn out later."""
        self.total = self.total if total is None else total
        seconds = time.monotonic() - self.began
        rate = done / seconds if seconds > 0 else 0.0
        text = f"{rate:.2f} {self.unit}/s{', ' + note if note else ''}"
        self.rich.update(self.task, completed=int(done), total=self.total, note=text)
        if not self.live and time.monotonic() - self.last >= LINE_EVERY:
            self.last = time.monotonic()
            left = (self.total - done) / rate if rate else float("inf")
            log(f"{self.title}: {int(done)}/{self.total} {self.unit}, {text}, {left:.0f} s left")


@contextmanager
def bar(title: str, unit: str, total: int) -> Iterator[Bar]:
    """A progress bar that ends with a line saying what was done in what time."""
    shown = Bar(title, unit, total)
    with shown.rich:
        yield shown
    log(f"{title}: {shown.total} {unit} in {time.monotonic() - shown.began:.1f} s")


def log(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)
