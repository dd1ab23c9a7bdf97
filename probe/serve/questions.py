"""Questions that need torch: each is answered by a command of its own, which the server only starts.

At most ``AT_ONCE`` run together, and none for longer than ``SECONDS``. Answers are kept in ROOT/.probe-serve/cache, by
the checksum of what was asked and of the reports that it is about.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import anyio
import yaml

from probe import __version__
from probe.errors import Failure, UserError
from probe.results.layout import REPORT_JSON
from probe.serve.settings import Settings
from probe.serve.supervisor import Supervisor

AT_ONCE = 2
MOST_WAITING = 16
SECONDS = 120.0
MODELS = 900.0
"""Seconds for the table of models, which takes a minute alone and several beside runs. It goes on where its client has
left, and is kept."""
LOOK = 0.5
"""Seconds after which a question looks whether the server stops."""
KEPT = 200
"""Answers in the cache; the oldest is removed beyond."""
MOST_RUNS = 50
"""Runs in one comparison."""


class Questions:
    """The commands of one server."""

    def __init__(self, settings: Settings, stops: threading.Event):
        """Nothing is asked yet; what is asked when the server ``stops`` is not answered."""
        self.folder, self._stops = settings.own / "cache", stops
        for left in self.folder.glob(".new-*"):  # by a server that was killed
            shutil.rmtree(left, ignore_errors=True)
        self._turns = anyio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._asked: dict[str, anyio.Lock] = {}

    async def answer(
        self, key: Sequence[Any], arguments: Sequence[str], given: str | None = None, seconds: float | None = None
    ) -> Path:
        """The folder with the answer of a command: ``stdout``, and what it wrote to its folder.

        Args:
            key: what the answer depends on.
            seconds: that it may take; default ``SECONDS``.
            arguments: of ``probe``; ``{out}`` stands for the folder, ``{given}`` for a file with the text ``given``.

        Raises:
            UserError, Failure: as the command says.
        """
        told = json.dumps([__version__, *key, list(arguments), given], sort_keys=True)
        name = hashlib.sha256(told.encode()).hexdigest()[:40]
        lock = self._asked.setdefault(name, anyio.Lock())
        try:
            async with lock:
                kept = self.folder / name
                if not await anyio.to_thread.run_sync(kept.is_dir):
                    await self._ask(kept, arguments, given, seconds or SECONDS)
                return kept
        finally:
            if not lock.statistics().tasks_waiting:
                self._asked.pop(name, None)

    async def _ask(self, kept: Path, arguments: Sequence[str], given: str | None, seconds: float) -> None:
        if self._waiting >= MOST_WAITING:
            raise Failure("too many comparisons and plans are asked for; ask again in a minute.")
        self._waiting += 1
        try:
            async with self._turns:
                work = await anyio.to_thread.run_sync(self._new_folder)
                try:
                    await self._run(work, arguments, given, seconds)
                    await anyio.to_thread.run_sync(self._keep, work, kept)
                finally:
                    await anyio.to_thread.run_sync(lambda: shutil.rmtree(work, ignore_errors=True))
        finally:
            self._waiting -= 1

    def _new_folder(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))

    def _keep(self, work: Path, kept: Path) -> None:
        if not kept.is_dir():
            os.rename(work, kept)
        answers = sorted((one for one in self.folder.iterdir() if not one.name.startswith(".")), key=_age)
        for one in answers[:-KEPT]:
            shutil.rmtree(one, ignore_errors=True)

    async def _run(self, work: Path, arguments: Sequence[str], given: str | None, seconds: float) -> None:
        """Run the command; its process group ends with the wait for it."""
        file = work / "configuration.yaml"
        if given is not None:
            file.write_text(given)
        words = [word.format(out=work, given=file) if word in ("{out}", "{given}", "{out}/answer.json") else word
                 for word in arguments]  # fmt: skip
        command = [sys.executable, "-P", "-m", "probe.cli.main", *words]
        with (work / "stdout").open("wb") as out, (work / "stderr").open("wb") as err:
            process = await anyio.open_process(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        try:
            with anyio.fail_after(seconds):
                while process.returncode is None:
                    with anyio.move_on_after(LOOK):
                        await process.wait()
                    if self._stops.is_set():
                        raise Failure("the server stops; ask again once it is back.")
        except TimeoutError:
            raise Failure(
                f"`probe {arguments[0]}` took longer than {seconds:g} s; run it on the command line."
            ) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                with anyio.CancelScope(shield=True):
                    await process.wait()
        if process.returncode:
            raise _error(process.returncode, (work / "stderr").read_text("utf-8", "replace"), arguments[0])


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _error(status: int, stderr: str, command: str) -> Exception:
    """What a command said on its last line, as it would be raised here."""
    lines = [line for line in stderr.splitlines() if line.startswith("probe: ")]
    said = lines[-1].removeprefix("probe: ") if lines else ""
    if status == 2:
        return UserError(said or f"`probe {command}` refused what it was asked.")
    return Failure(said or f"`probe {command}` failed with status {status}.")


async def comparison(supervisor: Supervisor, questions: Questions, ids: Sequence[str]) -> Path:
    """The folder with compare.json, compare.html and compare.md of finished runs.

    Raises:
        Absent: there is no such run.
        UserError: they cannot be compared, in the sentence of ``probe compare``.
    """
    if not 2 <= len(ids) <= MOST_RUNS:
        raise UserError(f"name 2 to {MOST_RUNS} finished runs to compare, as ?runs=a,b.")
    folders = [await anyio.to_thread.run_sync(supervisor.folder, id) for id in ids]
    reports = [await anyio.to_thread.run_sync(_checksum, folder / REPORT_JSON) for folder in folders]
    return await questions.answer(["compare", *reports], ["compare", *map(str, folders), "--out", "{out}", "--json"])


def _checksum(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


async def plan(questions: Questions, settings: dict[str, Any], options: Sequence[str]) -> dict[str, Any]:
    """What ``probe plan`` says: ``plans`` as its JSON, ``text`` as it prints them."""
    given = yaml.safe_dump(settings, sort_keys=False)
    folder = await questions.answer(["plan"], ["plan", "{given}", *options, "--json", "{out}/answer.json"], given)
    return await anyio.to_thread.run_sync(
        lambda: {
            "plans": json.loads((folder / "answer.json").read_text()),
            "text": (folder / "stdout").read_text("utf-8", "replace"),
        }
    )


async def models(questions: Questions) -> list[dict[str, Any]]:
    """The table of classes that can be probed, as ``probe models --json`` prints it."""
    folder = await questions.answer(
        ["models", _version("torch"), _version("diffusers")], ["models", "--json"], None, MODELS
    )
    return await anyio.to_thread.run_sync(lambda: json.loads((folder / "stdout").read_text()))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
