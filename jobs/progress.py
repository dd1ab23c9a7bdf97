"""Progress of a stage over all ranks: a bar on a terminal, else a line now and then; and progress.json."""

import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jobs.provenance import now
from jobs.stopping import Ended
from jobs.world import World
from probe.files import write_atomically
from probe.results.layout import PROGRESS
from probe.terminal import span

LINE_EVERY = 30.0
"""Seconds between lines if stderr is no terminal."""
FILE_EVERY = 5.0
"""Seconds between updates of progress.json, which `probe status` reads."""
GRACE = 20.0
"""Seconds that a rank has to end after another ended; then its process exits, whatever it hangs in."""

log = logging.getLogger("probe")


class Meter:
    """How many units of a stage this rank has done.

    Attributes:
        ended: another rank's end, raised by the next call where no signal can wake this thread.
    """

    ended: Ended | None = None

    def __init__(self) -> None:
        self.done = 0.0
        self.note = ""
        self._finished = 0.0

    def update(self, part: float, note: str = "") -> None:
        """``part`` units of the current shard are done; fractions count."""
        if self.ended:
            raise self.ended
        self.done, self.note = self._finished + part, note

    def finish(self, units: float) -> None:
        """The current shard is done."""
        self._finished += units
        self.update(0.0, self.note)


@contextmanager
def progress(folder: Path, world: World, title: str, unit: str, total: float, before: float = 0) -> Iterator[Meter]:
    """Show a stage's progress while the block runs, and interrupt the block if another rank ends.

    Args:
        total, before: units of the whole stage, and those that were done before.
    """
    meter, began, over = Meter(), time.monotonic(), threading.Event()
    # Signals reach the main thread only; without a handler of ours they would end the process.
    wakes = threading.current_thread() is threading.main_thread()
    pulse = _Pulse(folder, world, world.next_key("done"), title, unit, total, before, meter, over, wakes)
    thread = threading.Thread(target=pulse.run, daemon=True, name="pulse")
    thread.start()
    try:
        yield meter
    finally:
        over.set()
        thread.join()
    if world.leads and total > before:
        log.info(f"{title}: {total - before:g} {unit} in {time.monotonic() - began:.1f} s")


@dataclass
class _Pulse:
    """Once a second: publish this rank's progress, watch the others, and show the sum on rank 0."""

    folder: Path
    world: World
    key: str
    title: str
    unit: str
    total: float
    before: float
    meter: Meter
    over: threading.Event
    wakes: bool

    def __post_init__(self) -> None:
        self.began = self.shown = time.monotonic()
        self.written = 0.0
        console = Console(stderr=True)
        self.notebook = _notebook_line() if self.world.leads else None
        self.live = console.is_terminal and self.world.leads and self.notebook is None
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
        self.task = self.rich.add_task(self.title, total=self.total, note="")

    def run(self) -> None:
        with self.rich:
            while True:
                last = self.over.wait(0.2 if self.live else 1.0)
                try:
                    self.beat()
                except (Ended, RuntimeError) as end:
                    if last:
                        return
                    log.warning(f"{end}")
                    if self.wakes:
                        os.kill(os.getpid(), signal.SIGUSR1)  # the main thread then asks the world what happened
                    else:
                        self.meter.ended = end if isinstance(end, Ended) else Ended(1, str(end))
                    if not self.over.wait(GRACE):
                        sys.stderr.flush()
                        os._exit(1)
                    return
                if last:
                    return

    def beat(self) -> None:
        world, done = self.world, self.meter.done
        if world.size > 1:
            world.watch()
            world.tell(self.key, done)
            if world.rank:
                return
            done = sum(world.heard(self.key))
        done = min(done, self.total - self.before)  # parts of current shards are estimates, and may add up to more
        seconds = time.monotonic() - self.began
        rate = done / seconds if seconds > 0 else 0.0
        left = (self.total - self.before - done) / rate if rate else None
        self.show(self.before + done, rate, left)

    def show(self, done: float, rate: float, left: float | None) -> None:
        many = f"{self.world}, " if self.world.size > 1 else ""
        text = f"{rate:.2f} {self.unit}/s, {many}{self.meter.note}".rstrip(", ")
        self.rich.update(self.task, completed=int(done), note=text)
        moment = time.monotonic()
        time_left = "" if left is None else f", {span(left)} left"
        line = f"{self.title}: {int(done)}/{self.total:g} {self.unit}, {text}{time_left}"
        if self.notebook:
            self.notebook(line)
        elif not self.live and moment - self.shown >= LINE_EVERY:
            self.shown = moment
            log.info(line)
        if moment - self.written >= FILE_EVERY or self.over.is_set():
            self.written = moment
            content = {
                "stage": self.title,
                "unit": self.unit,
                "done": int(done),
                "total": self.total,
                "rate": rate,
                "seconds_left": left,
                "ranks": self.world.size,
                "updated": now(),
            }
            with suppress(OSError):  # a full disk is reported where results are written
                write_atomically(self.folder / PROGRESS, json.dumps(content))


def _notebook_line() -> Callable[[str], None] | None:
    """Shows a text in one line of a notebook's output, in place of the text before; None outside of notebooks."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):  # nor is the terminal's IPython a notebook
        return None
    handle = importlib.import_module("IPython.display").display({"text/plain": ""}, raw=True, display_id=True)
    return lambda text: handle.update({"text/plain": text}, raw=True)
