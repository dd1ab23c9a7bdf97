"""Runs on this machine: a number of slots, each with a GPU or with its share of the cores."""

import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path

from probe.serve.executors import Life, begin, environment, signal_all
from probe.serve.facts import is_held, process_of
from probe.serve.settings import Settings
from probe.serve.ticket import Ticket
from probe.threads import THREADS, USERS_THREADS


class Local:
    """Workers of this machine, each under the shim."""

    def __init__(self, settings: Settings):
        self.settings = settings

    def room(self, taken: Collection[int]) -> int | None:
        """As ``Executor``."""
        return next((slot for slot in range(self.settings.slots) if slot not in taken), None)

    def size(self) -> int | None:
        """As ``Executor``."""
        return self.settings.slots

    def start(self, ticket: Ticket, path: Path) -> None:
        """As ``Executor``."""
        attempt = ticket.attempts[-1]
        begin(path, attempt.number, self.command(ticket, path), self._environment(attempt.slot))

    def command(self, ticket: Ticket, path: Path) -> list[str]:
        """The worker. ``-P``: a jobs.py or torch.py where the server was started is not ours."""
        return [sys.executable, "-P", "-m", "jobs.worker", str(path), *(["--trust-code"] if ticket.trust else [])]

    def _environment(self, slot: int) -> dict[str, str]:
        """With one GPU, or with none and a share of the cores, unless the operator has set the number of threads."""
        settings, given = self.settings, environment()
        if settings.gpus:
            given["CUDA_VISIBLE_DEVICES"] = settings.gpus[slot % len(settings.gpus)]
        else:
            given["CUDA_VISIBLE_DEVICES"] = ""
        if not any(given.get(name) for name in USERS_THREADS):
            given[THREADS] = str(max(settings.cores // max(settings.slots, 1), 1))
        return given

    def cancel(self, ticket: Ticket, path: Path, hard: bool) -> None:
        """As ``Executor``: SIGTERM gives the worker the time to clean up."""
        signal_all(path, signal.SIGKILL if hard else signal.SIGTERM)

    def life(self, ticket: Ticket, path: Path) -> Life:
        """As ``Executor``: the lock says whether anything lives, else the shim's record how it ended."""
        if is_held(path):
            record = process_of(path)
            elsewhere = record and record.get("host") != os.uname().nodename
            return Life(alive=True, reason=f"on {record['host']}" if record and elsewhere else "")
        record = process_of(path)
        if record is None or record.get("attempt") != ticket.attempts[-1].number:
            return Life(alive=False, began=False)
        ended, status = record.get("ended"), record.get("exit")
        return Life(alive=False, ended=ended, exit=status if isinstance(status, int) else None)
