"""Progress of commands that have no run directory: lines on stderr, from the first seconds on."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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
        most: evaluations of f that there may be in all; None where that is not known.
        note: the part in work.
        done: evaluations of f, of one row each.
    """

    title: str
    most: int | None = None
    note: str = ""
    done: int = 0

    def __post_init__(self) -> None:
        self.began = time.monotonic()

    def say(self, note: str) -> None:
        """The part that begins now."""
        self.note = note

    def counting(self, f: "Callable[[Tensor], Any]") -> "Callable[[Tensor], Any]":
        """The same function, with its rows counted."""

        def counted(rows: "Tensor") -> Any:
            self.done += len(rows)
            return f(rows)

        return counted

    def model(self, model: "Autoencoder") -> "Autoencoder":
        """The same model; an evaluation of f, or an image that is encoded, is one use of the encoder."""
        return replace(model, encoder=self.counting(model.encoder))

    def line(self) -> str:
        """How far the command is."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        parts = [self.note or "at work"]
        if self.done:
            parts.append(f"{self.done:,} evaluations of f in {seconds:.0f} s ({self.done / seconds:.3g} a second)")
            if self.most:
                left = max(self.most - self.done, 0)
                parts.append(f"at most about {left:,} left, {_span(left * seconds / self.done)} at this speed")
        else:
            parts.append(f"{seconds:.0f} s")
        return f"{self.title}: {', '.join(parts)}"


@contextmanager
def watching(title: str, most: int | None = None) -> Iterator[Watch]:
    """Print how far the block is, after ``FIRST`` seconds and then every ``EVERY``."""
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


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
