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
from pathlib import Path

from rich.console import Console

from jobs.provenance import now
from jobs.stopping import Ended
from jobs.world import World
from probe.files import write_atomically
from probe.results.layout import PROGRESS
from probe.terminal import amount, bar, span

LINE_EVERY = 30.0
"""Seconds between lines if stderr is no terminal."""
FILE_EVERY = 5.0
"""Seconds between updates of progress.json, which `probe status` reads."""
PARTS = 1_000_000
"""The ranks count millionths of units: the store adds integers."""
GRACE = 20.0
"""Seconds that a rank has to end after another ended; then its process exits, whatever it hangs in."""

log = logging.getLogger("probe")


class Meter:
    """How many units of a stage this rank has done. Once a second (``World.glance``) it adds that to the sum of all
    ranks, watches the others, and shows the sum on rank 0.

    Attributes:
        note: shown beside the numbers.
    """

    def __init__(self, folder: Path, world: World, title: str, unit: str, total: float, before: float):
        self.folder, self.world, self.title, self.unit = folder, world, title, unit
        self.total, self.before = total, before
        self.done, self.note = 0.0, ""
        self.over = threading.Event()
        self._finished = self._written = 0.0
        self._ended: Ended | None = None
        # Signals reach the main thread only; without a handler of ours there they would end the process.
        self._wakes = threading.current_thread() is threading.main_thread()
        self._key, self._told = world.next_key("done"), 0
        self._began = self._shown = time.monotonic()
        console = Console(stderr=True)
        self._notebook = _notebook_line() if world.leads else None
        self._live = console.is_terminal and world.leads and self._notebook is None
        self._bar = bar(console, live=self._live)
        self._task = self._bar.add_task(title, total=total, note="")

    def update(self, part: float, note: str = "") -> None:
        """``part`` units of the current shard are done; fractions count. Raises ``Ended`` if another rank has ended and
        no signal can wake this thread."""
        if self._ended:
            raise self._ended
        self.done, self.note = self._finished + part, note

    def finish(self, units: float) -> None:
        """The current shard is done."""
        self._finished += units
        self.update(0.0, self.note)

    def watch(self) -> None:
        """Beat until ``over`` is set or another rank ends, which ends this one too."""
        with self._bar:
            last = False
            while not last:
                last = self.over.wait(0.2 if self._live else self.world.glance)
                try:
                    self._beat()
                except (Ended, RuntimeError) as end:
                    if not last:
                        self._end(end)
                    return

    def _end(self, end: BaseException) -> None:
        log.warning(f"{end}")
        if self._wakes:
            os.kill(os.getpid(), signal.SIGUSR1)  # the main thread then asks the world what happened
        else:
            self._ended = end if isinstance(end, Ended) else Ended(1, str(end))
        if not self.over.wait(GRACE):
            sys.stderr.flush()
            os._exit(1)

    def _beat(self) -> None:
        world, done = self.world, self.done
        if world.size > 1:
            world.watch()
            parts = round(PARTS * done)
            if world.leads or parts != self._told:
                done, self._told = world.tell(self._key, parts - self._told) / PARTS, parts
            if not world.leads:
                return
        done = min(done, self.total - self.before)  # parts of current shards are estimates, and may add up to more
        seconds = time.monotonic() - self._began
        rate = done / seconds if seconds > 0 else 0.0
        self._show(self.before + done, rate, (self.total - self.before - done) / rate if rate else None)

    def _show(self, done: float, rate: float, left: float | None) -> None:
        many = f"{self.world}, " if self.world.size > 1 else ""
        text = f"{rate:.2f} {self.unit}/s, {many}{self.note}".rstrip(", ")
        self._bar.update(self._task, completed=int(done), note=text)
        moment = time.monotonic()
        time_left = "" if left is None else f", {span(left)} left"
        line = f"{self.title}: {int(done)}/{self.total:g} {self.unit}, {text}{time_left}"
        if self._notebook:
            self._notebook(line)
        elif not self._live and moment - self._shown >= LINE_EVERY:
            self._shown = moment
            log.info(line)
        if moment - self._written >= FILE_EVERY or self.over.is_set():
            self._written = moment
            content = {"stage": self.title, "unit": self.unit, "done": int(done), "total": self.total, "rate": rate}
            content |= {"seconds_left": left, "ranks": self.world.size, "updated": now()}
            with suppress(OSError):  # a full disk is reported where results are written
                write_atomically(self.folder / PROGRESS, json.dumps(content))


@contextmanager
def progress(folder: Path, world: World, title: str, unit: str, total: float, before: float = 0) -> Iterator[Meter]:
    """Show a stage's progress while the block runs, and interrupt the block if another rank ends. ``total`` are the
    units of the whole stage, ``before`` those that were done before."""
    meter, began = Meter(folder, world, title, unit, total, before), time.monotonic()
    pulse = threading.Thread(target=meter.watch, daemon=True, name="pulse")
    pulse.start()
    try:
        yield meter
    finally:
        meter.over.set()
        pulse.join()
    if world.leads and total > before:
        log.info(f"{title}: {amount(total - before, unit)} in {time.monotonic() - began:.1f} s")


def _notebook_line() -> Callable[[str], None] | None:
    """Shows a text in one line of a notebook's output, in place of the text before; None outside of notebooks."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if not hasattr(shell, "kernel"):  # nor is the terminal's IPython a notebook
        return None
    handle = importlib.import_module("IPython.display").display({"text/plain": ""}, raw=True, display_id=True)
    return lambda text: handle.update({"text/plain": text}, raw=True)
