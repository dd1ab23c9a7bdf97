"""stdout and stderr that accept any text and never end the work."""

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO

from probe.names import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

P = ParamSpec("P")
_CONTROL_SEQUENCE = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z])")  # colours, and a progress bar's cursor


class _Total:
    """A stream that accepts any text. What cannot be written is lost, and ``failed`` says why.

    Characters that its encoding lacks are escaped; so are control characters, except colours and cursor movements on a
    terminal.
    """

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.failed: OSError | None = None
        self._colours = stream.isatty()

    def write(self, text: str) -> int:
        try:
            self.stream.write(self._taken(text))
        except OSError as error:
            self._lose(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _taken(self, text: str) -> str:
        parts = _CONTROL_SEQUENCE.split(text) if self._colours else [text]
        parts[::2] = ["\r".join(map(printable, part.split("\r"))) for part in parts[::2]]  # \r: a progress bar's
        encoding = self.stream.encoding or "utf-8"
        return "".join(parts).encode(encoding, "backslashreplace").decode(encoding)

    def _lose(self, error: OSError) -> None:
        """Discard the buffer and all that follows; otherwise Python tries again when it exits."""
        self.failed = self.failed or error
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


def total_output(command: Callable[P, int]) -> Callable[P, int]:
    """Wrap a command so that failed printing does not end it; its status becomes 1 if stdout could not be written.

    A reader that leaves (``| head -1``) and a closed stdout (``>&-``) are no failures.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        _open_standard_streams()
        before = sys.stdout, sys.stderr
        out, err = _Total(sys.stdout), _Total(sys.stderr)
        sys.stdout, sys.stderr = out, err
        try:
            status = command(*args, **kwargs)
        except SystemExit as end:
            if not _lost(out) or end.code not in (None, 0):
                raise
            status = 0
        finally:
            lost = _lost(out)
            err.flush()
            if lost:
                print(f"probe: stdout cannot be written: {lost}; what was computed is kept.", file=err, flush=True)
            sys.stdout, sys.stderr = before
        return status or (1 if lost else 0)

    return run


def _lost(out: _Total) -> str | None:
    """Why stdout could not be written; None if it could, or if its reader left."""
    out.flush()
    return None if out.failed is None or isinstance(out.failed, BrokenPipeError) else out.failed.strerror


def _open_standard_streams() -> None:
    """Point closed streams at /dev/null, so that the next file opened does not get their number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def console() -> "Console":
    """stdout for rich, without markup in brackets; in a file tables are not folded at 80 columns."""
    from rich.console import Console

    return Console(markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)


def bar(console: "Console", *, live: bool) -> "Progress":
    """Bars of stages, each with a field ``note``; nothing is shown unless ``live``."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    what = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*what, *times, console=console, disable=not live)


def amount(n: float, units: str) -> str:
    """``1 data set``, ``3 data sets``, of a stage's unit."""
    return f"{n:g} {units.removesuffix('s') if n == 1 else units}"


def digits(value: float) -> str:
    """Three digits, never with an exponent, and two decimals at most: ``120``, ``5.18``, ``0.4``."""
    return f"{value:.0f}" if value >= 99.5 else f"{round(value, 2):.3g}"


def size(count: float) -> str:
    """A number of bytes: ``25 KiB``, ``1.6 GiB``."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = 0
    while count >= 1000 and power < len(units) - 1:
        count, power = count / 1024, power + 1
    return f"{digits(count)} {units[power]}"


def length(seconds: float) -> str:
    """A duration in one unit, for tables of times that are compared: ``0.4 s``, ``43 s``, ``12.4 min``, ``5.18 h``."""
    if seconds >= 2 * 3600:
        return f"{digits(seconds / 3600)} h"
    return f"{digits(seconds / 60)} min" if seconds >= 120 else f"{round(seconds, 1 if seconds < 9.95 else None):g} s"


def span(seconds: float) -> str:
    """A duration in at most two units: ``40 s``, ``3 min 20 s``, ``2 h 5 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
