"""The one thread that brings about what was asked: it starts, ends and adopts runs, and keeps the index true.

Whoever asks for something writes it into the run's ticket, and wakes the thread. It looks at every run that is not over
each second, derives its state from facts and does what follows; now and then it looks through the whole root. Nothing
that it knows is needed after a crash: a new one finds the same from the folders.
"""

import asyncio
import fcntl
import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from jobs.kinds import kind_named
from jobs.provenance import now
from probe.errors import Failure, UserError, reason_of
from probe.kinds import Kind
from probe.reading import Unreadable
from probe.results.layout import CONFIG, MANIFEST
from probe.serve.executors import Executor, Held, Life
from probe.serve.executors.local import Local
from probe.serve.executors.slurm import Queue, Slurm
from probe.serve.facts import is_held, look
from probe.serve.index import Index, Row
from probe.serve.rows import row_of
from probe.serve.scan import LONGEST, Absent, find, fingerprint, is_part, is_run, path_of
from probe.serve.settings import Settings
from probe.serve.states import OVER, State, derive
from probe.serve.ticket import TICKET, Ticket, read_ticket

TICK = 1.0
"""Seconds between two looks at the runs that are not over."""
SCAN_EVERY = 30.0
FOREIGN_EVERY = 5.0
QUOTA_EVERY = 10.0
SLICE = 0.25
"""Seconds of a tick that a scan of the root may take."""
GRACE = 10.0
"""Seconds that a cancelled run has to clean up before it is killed."""
AGAIN = 10.0
"""Seconds after which a start that failed is tried again."""
SETTLES = 2.0
"""Seconds for which a folder's time may not tell two changes apart."""
log = logging.getLogger("probe")


class Conflict(UserError):
    """What was asked does not go with what is there (HTTP 409)."""


class QueueFull(Failure):
    """The queue takes no more runs (HTTP 429)."""


class DiskFull(Failure):
    """The runs may take no more of the disk (HTTP 507)."""


class Submission(Protocol):
    """What is submitted, checked already; see probe.serve.submission."""

    id: str | None
    name: str
    key: str | None
    digest: str
    kind: Kind
    settings: dict[str, Any]
    executor: str


@dataclass
class Active:
    """A run of the service that is not over.

    Attributes:
        path: its folder.
        state: as derived last.
        losses: attempts in a row that were lost, as of the last look.
        done: units of all stages that are done, likewise.
        unsaved: whether the ticket could not be written as it is here.
        told: monotonic time at which this process first asked it to end.
        not_before: monotonic time before which it is not started again.
    """

    ticket: Ticket
    path: Path
    state: State
    losses: int = 0
    done: int = 0
    unsaved: bool = False
    told: float | None = None
    not_before: float = 0.0


@dataclass
class Scan:
    """A look through the root, done in slices.

    Attributes:
        found: runs that are still to be looked at.
        known: fingerprints and states of the index at its begin.
        there: ids that were found.
    """

    found: Iterator[tuple[str, Path]]
    known: dict[str, tuple[str, State]]
    there: set[str] = field(default_factory=set)


class Supervisor:
    """One server's hold of a root. Methods may be called from any thread; ``changes`` from any event loop."""

    def __init__(self, settings: Settings):
        """Take the root.

        Raises:
            UserError: another server has it.
            Failure: it cannot be written.
        """
        self.settings = settings
        self._held = _hold(settings.own)
        shutil.rmtree(settings.own / "new", ignore_errors=True)
        self.index = Index(settings.index_path)
        if settings.rebuild:
            self.index.clear()
        self.queue = Queue()
        self.executors: dict[str, Executor] = {"local": Local(settings)}
        if settings.cluster:
            self.executors["slurm"] = Slurm(settings, self.queue)
        self._active: dict[str, Active] = {}
        self._lock = threading.RLock()
        self._woken, self._over = threading.Event(), threading.Event()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._keys: dict[str, str] = {}
        self._done_last: dict[str, float] = {}
        self._wrong: dict[str, str] = {}
        self._ignored: dict[str, str] = {}
        self._scanning: Scan | None = None
        self.adopted = threading.Event()
        """Set once all runs are known that lived or waited at the start."""

    # What is asked

    def submit(self, request: Submission) -> Row:
        """Take a run into the queue; ``created`` of the row is False where the same was submitted before.

        Raises:
            Conflict: another run has this id, or this key was used for another submission.
            QueueFull, DiskFull: no more runs are taken for now.
            UserError: the id cannot be one, or there is no such executor; or as ``Directory.create``.
        """
        if request.executor not in self.executors:
            there = " and ".join(self.executors)
            raise UserError(f"executor {request.executor!r} is not one of this server, which has {there}.")
        if self._thread.is_alive():
            self.adopted.wait()  # keys of earlier submissions are known then
        limits, ours = self.settings.limits, self.index.ids(ours=True)
        full = limits.full(chain([self.settings.own / "trash"], (path_of(self.settings.root, id) for id in ours)))
        with self._lock:
            if self.index.made_new:  # it was damaged just now, and knows no keys yet
                self._read_keys()
            if known := self._known(request):
                return known
            waiting = sum(run.state is State.QUEUED for run in self._active.values())
            if waiting >= limits.queue:
                raise QueueFull(f"{waiting} runs wait already, and the queue takes no more; submit it again later.")
            if full:
                raise DiskFull(full)
            allow = self.settings.allow
            ticket = Ticket(
                id=request.id or _new_id(request.name),
                name=request.name,
                kind=request.kind,
                executor=request.executor,
                settings=request.settings,
                key=request.key,
                digest=request.digest,
                submitted=now(),
                order=time.time_ns(),
                trust=allow.python or allow.remote_code,
            )
            path = path_of(self.settings.root, ticket.id)
            self._make(ticket, path)
            if ticket.key:
                self._keys[ticket.key] = ticket.id  # the index may fail just now, and the client ask again
            row = self._settle(Active(ticket, path, State.QUEUED))
            self._keys.pop(ticket.key or "", None)
        self.wake()
        return replace(row, created=True)

    def _known(self, request: Submission) -> Row | None:
        """The run of an earlier submission that was the same."""
        if request.id is not None and (not is_part(request.id) or len(request.id) > LONGEST):
            raise UserError(
                f"id {request.id[:LONGEST]!r} cannot name a run: take at most {LONGEST} letters, digits, '.', '_' and "
                "'-', not beginning with a dot."
            )
        row = self.index.by_key(request.key) if request.key else None
        if row is None and request.key and request.key in self._keys:
            with suppress(Absent):
                row = self.get(self._keys[request.key])
        if row and request.id not in (None, row.id):
            raise Conflict(f"Idempotency-Key was used for run {row.id}; take another key for {request.id}.")
        if row is None and request.id:
            with suppress(Absent):
                row = self.get(request.id)
        if row and row.digest != request.digest:
            which = "this Idempotency-Key" if request.key and row.key == request.key else f"the id {row.id}"
            raise Conflict(f"{which} was used for another submission; take another one.")
        return row

    def _make(self, ticket: Ticket, path: Path) -> None:
        """The run's folder, with its ticket and configuration: all of it or nothing."""
        directory = kind_named(ticket.kind).directory
        new = self.settings.own / "new" / ticket.id
        shutil.rmtree(new, ignore_errors=True)
        try:
            directory.create(new, directory.parse(ticket.settings))
            ticket.write(new)
            os.rename(new, path)
        except OSError as error:
            if os.path.lexists(path):
                raise Conflict(f"the id {ticket.id} is taken by a folder of that name; choose another one.") from None
            raise Failure(f"{path} cannot be written: {error.strerror or error}.") from None
        except UserError as error:
            # It tells who runs a command to choose another folder, which nobody can do here.
            if not isinstance(full := error.__context__, OSError):
                raise
            raise Failure(f"{path} cannot be written: {full.strerror or full}.") from None
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def cancel(self, id: str) -> Row:
        """End a run, or never begin it; nothing for one that is over.

        Raises:
            Absent, Conflict: there is no such run; it is not the service's.
        """
        with self._lock:
            run = self._ours(id)
            if run.state in OVER or run.ticket.wanted == "cancel":
                return self.get(id)
            return self._cancel(run, "")

    def _cancel(self, run: Active, reason: str) -> Row:
        run.ticket = run.ticket.cancelled(reason)
        try:
            run.ticket.write(run.path)
        except OSError as error:  # a full disk, which ending the run may be meant against
            log.warning(f"{run.path / TICKET} cannot be written yet: {error.strerror or error}")
            run.unsaved = True
        row = self._settle(run)
        self.wake()
        return row

    def resume(self, id: str) -> Row:
        """Take a run that failed, was cancelled or lost into the queue again; nothing for one that is done or not over.

        Raises:
            Absent, Conflict: there is no such run; it is not the service's, or it is stopping.
        """
        with self._lock:
            run = self._ours(id)
            if run.state is State.STOPPING:
                raise Conflict(f"{id} is stopping; resume it once it has stopped.")
            if run.state in OVER and run.state is not State.DONE:
                run.ticket, run.told = run.ticket.resumed(), None
                self._write(run)
                self._settle(run)
                self.wake()
            return self.get(id)

    def delete(self, id: str) -> None:
        """Move a run to the trash, ROOT/.probe-serve/trash.

        Raises:
            Absent, Conflict: there is no such run; it is not the service's, or something is at work in it.
        """
        with self._lock:
            run = self._ours(id)
            if run.state in (State.RUNNING, State.STOPPING) or self._life(run.ticket, run.path).alive:
                raise Conflict(f"{id} is {run.state}; cancel it, and delete it once it has stopped.")
            trash = self.settings.own / "trash"
            try:
                trash.mkdir(parents=True, exist_ok=True)
                os.rename(run.path, trash / f"{id}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
            except OSError as error:
                raise Failure(f"{run.path} cannot be moved to the trash: {error.strerror or error}.") from None
            self._active.pop(id, None)
            self.index.remove(id)
        self._tell()

    def get(self, id: str) -> Row:
        """A run as it was seen last. Raises ``Absent``."""
        if row := self.index.get(id):
            return row
        path = path_of(self.settings.root, id)
        if is_run(path):  # the scan has not come to it yet
            with self._lock:
                if run := self._active.get(id):
                    self._settle(run)
                else:
                    self._read(id, path)
        if row := self.index.get(id):
            return row
        raise Absent(f"there is no run {id[:LONGEST]!r}.")

    def folder(self, id: str) -> Path:
        """The folder of a known run. Raises ``Absent``."""
        return path_of(self.settings.root, self.get(id).id)

    def slots(self) -> tuple[int, int]:
        """Slots of this machine: in use, and all."""
        return len(self._taken("local")), self.executors["local"].size() or 0

    def _ours(self, id: str) -> Active:
        """A run of the service, over or not, as its ticket says now."""
        path = path_of(self.settings.root, self.get(id).id)
        run = self._active.get(id) or self._read_ours(id, path)
        if run.ticket.executor not in self.executors and run.ticket.attempts and run.state is not State.DONE:
            raise Conflict(
                f"{id} is a run of {run.ticket.executor}, which this server does not have: ask one that does."
            )
        return run

    def _read_ours(self, id: str, path: Path) -> Active:
        ticket = read_ticket(path)
        if ticket is None or ticket.id != id:  # of a copy of a run
            raise Conflict(f"{id} was not made by this service, which only shows it.")
        run = Active(ticket, path, State.LOST)
        self._settle(run)
        return run

    # The thread

    def start(self) -> None:
        """Adopt what is there, and go on with it."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and leave the workers at work: the next server adopts them."""
        self._over.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(30)
        self._tell()
        self.index.close()
        os.close(self._held)

    def wake(self) -> None:
        """Look at once."""
        self._woken.set()

    def _run(self) -> None:
        self._carefully("adopting runs", self._adopt)
        self.adopted.set()
        while not self._over.is_set():
            self._woken.clear()
            self._carefully("a round", self._tick)
            self._woken.wait(TICK)

    def _tick(self) -> None:
        if self.index.made_new:
            self._fill_index()
        for run in list(self._active.values()):
            if run.state is not State.QUEUED or run.ticket.wanted == "cancel" or self._is_elsewhere(run):
                self._carefully(run.ticket.id, partial(self._look, run))
        for run in sorted(self._active.values(), key=lambda run: run.ticket.order):
            if run.state is State.QUEUED and not self._over.is_set():
                self._carefully(run.ticket.id, partial(self._begin, run))
        if self._is_time("quotas", QUOTA_EVERY):
            for run in list(self._active.values()):
                if run.state is State.RUNNING:
                    self._carefully(run.ticket.id, partial(self._weigh, run))
        if self._is_time("foreign", FOREIGN_EVERY):
            for id in self.index.ids(*(set(State) - OVER), ours=False):
                self._carefully(id, partial(self._read, id, path_of(self.settings.root, id)))
        if self._scanning or self._is_time("scan", SCAN_EVERY):
            self._scan()

    def _fill_index(self) -> None:
        """Tell an index that was made anew, perhaps because it was damaged just now, of all runs again."""
        self._read_keys()
        self.index.made_new, self._scanning = False, None
        self._done_last.pop("scan", None)
        for run in list(self._active.values()):
            with self._lock:
                self._carefully(run.ticket.id, partial(self._settle, run))

    def _is_time(self, what: str, every: float) -> bool:
        if time.monotonic() - self._done_last.get(what, -every) < every:
            return False
        self._done_last[what] = time.monotonic()
        return True

    def _is_elsewhere(self, run: Active) -> bool:
        """Whether it waits in another queue than ours, which moves on by itself."""
        executor = self.executors.get(run.ticket.executor)
        return run.ticket.last is not None and executor is not None and executor.size() is None

    def _carefully(self, what: str, do: Callable[[], object]) -> None:
        """Nothing that is wrong with one run may keep the others from going on."""
        try:
            do()
            self._wrong.pop(what, None)
        except Exception as error:
            reason = reason_of(error, 300)
            if self._wrong.get(what) != reason:
                expected = isinstance(error, UserError | Failure | OSError)
                log.warning(f"{what}: {reason}", exc_info=None if expected else error)
                self._wrong[what] = reason
            with suppress(Exception):
                if row := self.index.get(what):
                    self._put(replace(row, reason=reason))

    def _look(self, run: Active) -> None:
        """Derive a run's state, and do what follows from it."""
        with self._lock:
            if not self._is_there(run):
                return
            if run.unsaved:
                with suppress(Failure):
                    self._write(run)
            row = self._derive(run)
            if run.state is State.STOPPING:
                run.told = run.told or time.monotonic()
                hard = time.monotonic() - run.told >= GRACE
                self.executors[run.ticket.executor].cancel(run.ticket, run.path, hard)
            self._keep(run, row)

    def _begin(self, run: Active) -> None:
        """Start a run if there is a slot for it."""
        with self._lock:
            executor = self.executors.get(run.ticket.executor)
            if not self._is_there(run) or run.state is not State.QUEUED or run.ticket.wanted != "run":
                return
            if executor is None:
                raise UserError(f"it waits for a server with the executor {run.ticket.executor!r}, which is not here.")
            if self._is_elsewhere(run) and executor.life(run.ticket, run.path).alive:
                return
            slot = executor.room(self._taken(run.ticket.executor))
            if slot is None or time.monotonic() < run.not_before:
                return
            before = run.ticket
            run.ticket = before.attempted(slot, run.done, run.losses)
            try:
                self._write(run)
                executor.start(run.ticket, run.path)
            except Held:
                pass  # something of it lives, as the next look shows
            except (Failure, UserError):
                run.ticket, run.not_before = before, time.monotonic() + AGAIN
                with suppress(Failure):
                    self._write(run)
                raise
            self._settle(run)

    def _is_there(self, run: Active) -> bool:
        """Whether it was neither deleted meanwhile nor removed by hand, in which case it is forgotten."""
        if self._active.get(run.ticket.id) is not run:
            return False
        if not run.path.is_dir():
            self._active.pop(run.ticket.id)
            self.index.remove(run.ticket.id)
            return False
        return True

    def _taken(self, executor: str) -> set[int]:
        """Slots of the runs that live."""
        runs = [run for run in list(self._active.values()) if run.ticket.executor == executor and run.ticket.attempts]
        return {run.ticket.attempts[-1].slot for run in runs if run.state in (State.RUNNING, State.STOPPING)}

    def _weigh(self, run: Active) -> None:
        """Cancel a run that takes more of the disk than it may."""
        if reason := self.settings.limits.over_quota(run.path):
            with self._lock:
                if run.state is State.RUNNING and run.ticket.wanted == "run":
                    self._cancel(run, reason)

    def _settle(self, run: Active) -> Row:
        """Derive the state of a run of the service, and keep it."""
        return self._keep(run, self._derive(run))

    def _derive(self, run: Active) -> Row:
        mark = _mark(run.path)
        facts, status = look(run.path, run.ticket, self._life, self.queue.states)
        run.state, reason = derive(run.ticket, facts)
        began = facts.life is None or facts.life.began
        run.done, run.losses = facts.done, run.ticket.losses(facts.done) if began else run.ticket.lost
        return row_of(run.ticket.id, run.path, run.ticket, run.state, reason, facts, status, mark)

    def _keep(self, run: Active, row: Row) -> Row:
        if run.state in OVER and not run.unsaved:
            self._active.pop(run.ticket.id, None)
        else:
            self._active[run.ticket.id] = run
        return self._put(row)

    def _life(self, ticket: Ticket, path: Path) -> Life:
        executor = self.executors.get(ticket.executor)
        if executor is None or not ticket.attempts:
            return Life(alive=False, began=False)
        return executor.life(ticket, path)

    def _write(self, run: Active) -> None:
        try:
            run.ticket.write(run.path)
        except OSError as error:
            raise Failure(f"{run.path / TICKET} cannot be written: {error.strerror or error}.") from None
        run.unsaved = False

    def _put(self, row: Row) -> Row:
        before = self.index.rev
        kept = self.index.put(row)
        if self.index.rev != before:
            self._tell()
        return kept

    # The root

    def _adopt(self) -> None:
        """Know all runs that live or wait before another one is started; those of old lists follow with the scan."""
        self.index.made_new = False
        self._read_keys()
        waiting = set(self.index.ids(*(set(State) - OVER), ours=True))
        for id, path in find(self.settings.root):
            if self._over.is_set():
                return
            if id in waiting or is_held(path):
                self._carefully(id, partial(self._read, id, path))

    def _read_keys(self) -> None:
        """Know the keys of submissions that the index does not know: it is new, or a kill came between."""
        known = self.index.fingerprints()
        for id, path in find(self.settings.root):
            with suppress(Unreadable):
                if id not in known and (ticket := read_ticket(path)) and ticket.id == id and ticket.key:
                    self._keys[ticket.key] = id

    def _scan(self) -> None:
        """Look through a part of the root for runs that are new, changed or gone; the rest with the next ticks."""
        scan = self._scanning = self._scanning or Scan(find(self.settings.root), self.index.fingerprints())
        until = time.monotonic() + SLICE
        for id, path in scan.found:
            scan.there.add(id)
            before, state = scan.known.get(id, (self._ignored.get(id, ""), State.LOST))
            if id not in self._active and not (state in OVER and before and before == _mark(path)):
                self._carefully(id, partial(self._read, id, path))
            if time.monotonic() > until or self._over.is_set():
                self.wake()
                return
        self._scanning = None
        for id in scan.known.keys() - scan.there:
            with self._lock:
                if id not in self._active and not is_run(path_of(self.settings.root, id)):
                    self.index.remove(id)

    def _read(self, id: str, path: Path) -> None:
        """A run that is not active, as its folder says; it may become active so."""
        with self._lock:
            if id in self._active:
                return
            damaged = ""
            try:
                ticket = read_ticket(path)
            except Unreadable as error:
                ticket, damaged = None, str(error)
            if ticket and ticket.id == id:
                self._repair(ticket, path)
                self._settle(Active(ticket, path, State.LOST))
                return
            mark = _mark(path)
            facts, status = look(path, None, states_of=self.queue.states)
            if facts.unreadable and not (path / MANIFEST).exists():
                self._ignored[id] = mark  # a config.yaml of something else
                self.index.remove(id)
                return
            state, reason = derive(None, facts)
            self._put(row_of(id, path, None, state, damaged or reason, facts, status, mark))

    def _repair(self, ticket: Ticket, path: Path) -> None:
        """Write a configuration that is gone again, from the ticket."""
        if not (path / CONFIG).exists():
            directory = kind_named(ticket.kind).directory
            directory.create(path, directory.parse(ticket.settings))

    # Who waits for changes

    def _tell(self) -> None:
        for loop, event in list(self._waiting):
            with suppress(RuntimeError):  # its loop is closed
                loop.call_soon_threadsafe(event.set)

    async def changes(self, after: int, timeout: float) -> bool:
        """Wait for a change after a revision; False where there is none within ``timeout`` seconds."""
        event = asyncio.Event()
        mine = (asyncio.get_running_loop(), event)
        self._waiting.add(mine)
        try:
            if self.index.rev > after:
                return True
            async with asyncio.timeout(timeout):
                await event.wait()
            return self.index.rev > after
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(mine)


def _hold(own: Path) -> int:
    """The lock of the root, as a descriptor that no worker inherits."""
    try:
        own.mkdir(parents=True, exist_ok=True)
        held = os.open(own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"{own} cannot be written: {error.strerror or error}.") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise UserError(
            f"{own.parent} is served by another server already; stop that one, or choose another --root."
        ) from None
    return held


def _mark(path: Path) -> str:
    """The fingerprint of a folder as it is now; empty if it has changed just now, and may again unseen."""
    found = fingerprint(path)
    newest = max(map(int, found.split()))
    return found if time.time_ns() - newest > SETTLES * 1e9 else ""


def _new_id(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}{'-' + slug if slug else ''}"
