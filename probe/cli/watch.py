"""Progress of commands that have no run directory: lines on stderr, from the first seconds on."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from probe.terminal import span

if TYPE_CHECKING:
    from torch import Tensor

    from probe.autoencoders import Autoencoder

FIRST, EVERY = 3.0, 10.0
"""Seconds until the first line, and between lines."""


@dataclass
class Watch:
    """What a command has done so far.

    Attributes:
        title: the command.
        most: an upper bound of the evaluations of f; None if unknown.
        note: the current part.
        done: evaluations of f, counted per row.
    """

    title: str
    most: int | None = None
    note: str = ""
    done: int = 0

    def __post_init__(self) -> None:
        self.began = time.monotonic()

    def say(self, note: str) -> None:
        """Name the part that begins now."""
        self.note = note

    def counting(self, f: "Callable[[Tensor], Any]") -> "Callable[[Tensor], Any]":
        """The same function, with its rows counted."""

        def counted(rows: "Tensor") -> Any:
            self.done += len(rows)
            return f(rows)

        return counted

    def model(self, model: "Autoencoder") -> "Autoencoder":
        """The same model; each use of its encoder counts as one evaluation of f."""
        return replace(model, encoder=self.counting(model.encoder))

    def line(self) -> str:
        """The progress in words."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        parts = [self.note or "running"]
        if self.done:
            parts.append(f"{self.done:,} evaluations of f in {span(seconds)} ({self.done / seconds:.3g} per second)")
            if self.most:
                left = max(self.most - self.done, 0)
                parts.append(f"at most about {left:,} left, {span(left * seconds / self.done)} at this speed")
        else:
            parts.append(span(seconds))
        return f"{self.title}: {', '.join(parts)}"


@contextmanager
def watching(title: str, most: int | None = None) -> Iterator[Watch]:
    """Print the progress of the block, after ``FIRST`` seconds and then every ``EVERY``."""
    watch, over = Watch(title, most), threading.Event()

    def run() -> None:
        wait = FIRST
        while not over.wait(wait):
            print(watch.line(), file=sys.stderr, flush=True)
            wait = EVERY

    thread = threading.Thread(target=run, daemon=True, name="watch")
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
