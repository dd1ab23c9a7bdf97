"""The list of runs, for quick answers: an SQLite file that is made again from the run directories whenever it is gone.

Nothing is known here alone. A file that is damaged, of another version or somebody else's is set aside and made anew.
"""

import base64
import binascii
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from probe.errors import Failure, UserError
from probe.serve.states import State

VERSION = 1
APPLICATION = 0x70726F62  # "prob"
BUSY = 10.0
"""Seconds to wait for another connection, such as a backup."""
MOST = 200
"""Runs on a page."""
log = logging.getLogger("probe")

TABLE = """
create table runs (
    id text primary key, rev integer not null, submitted text not null, state text not null, kind text not null,
    model text, key text, digest text, ours integer not null, fingerprint text not null, content text not null
) strict;
create unique index revs on runs (rev);
create index keys on runs (key) where key is not null;
create index pages on runs (submitted desc, id, state, kind, model);
create index states on runs (state, submitted desc, id);
"""


@dataclass(frozen=True)
class Row:
    """A run as it was seen last; the fields of its JSON are described in docs/guides/serve.md.

    Attributes:
        fingerprint: of the folder as it was read; "" if it must be read again.
        created: whether the request that returned this row made the run; not kept.
    """

    id: str
    name: str
    kind: str
    state: State
    reason: str
    model: str | None
    executor: str | None
    submitted: str
    ours: bool
    started: str | None = None
    finished: str | None = None
    updated: str | None = None
    progress: dict[str, Any] | None = None
    stages: list[dict[str, Any]] = field(default_factory=list)
    outcomes: dict[str, int] | None = None
    error: dict[str, Any] | None = None
    slurm: dict[str, Any] | None = None
    summary: dict[str, Any] | None = None
    key: str | None = None
    digest: str | None = None
    fingerprint: str = ""
    rev: int = 0
    created: bool = False

    def as_json(self, root_path: str = "") -> dict[str, Any]:
        """What the API says about the run; ``root_path`` goes before its links."""
        there = f"{root_path}/v1/runs/{self.id}"
        links = {"self": there} | {name: f"{there}/{name}" for name in ("events", "logs", "artifacts")}
        links["report"] = f"{there}/report.html"
        return {**{name: getattr(self, name) for name in SHOWN}, "links": links}


SHOWN = (
    *("id", "name", "kind", "state", "reason", "model", "executor", "submitted", "started", "finished", "updated"),
    *("rev", "ours", "progress", "stages", "outcomes", "error", "slurm", "summary"),
)
IN_CONTENT = (
    *("name", "reason", "executor", "started", "finished", "progress", "stages", "outcomes", "error", "slurm"),
    *("summary", "updated"),
)
COLUMNS = ("id", "rev", "submitted", "state", "kind", "model", "key", "digest", "ours", "fingerprint", "content")


class Index:
    """All methods may be called from any thread; a call takes about a millisecond."""

    def __init__(self, file: Path):
        """Open the index, or make it.

        Raises:
            Failure: its folder cannot be written.
        """
        self.file = file
        self._lock = threading.RLock()
        self._closed = False
        self.made_new = False
        """Whether it is empty since the file was made, and nobody has filled it; see the supervisor."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._open()
        except (OSError, sqlite3.Error) as error:
            raise Failure(f"{file} cannot be opened: {error}; choose another place with --index.") from None
        # Ahead of every revision of a former life, also of rows that were removed since.
        self.rev: int = max(self._one("select coalesce(max(rev), 0) from runs"), time.time_ns() // 1_000_000) + 1000

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_wrong(error):
                raise
            self._set_aside(str(error))
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            if connection.execute("select count(*) from sqlite_master").fetchone()[0] == 0:
                self._make(connection)
            about = [connection.execute(f"pragma {name}").fetchone()[0] for name in ("application_id", "user_version")]
            if about != [APPLICATION, VERSION]:
                raise sqlite3.DatabaseError("it is not an index of this version")
            if (said := connection.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(said)
            mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
            if mode != "wal":  # a file system without shared memory, such as NFS
                log.warning(f"{self.file}: this file system takes no write-ahead log; --index can name a local disk.")
            connection.execute("pragma synchronous = normal")
        except BaseException:
            connection.close()
            raise
        return connection

    def _make(self, connection: sqlite3.Connection) -> None:
        os.chmod(self.file, 0o600)
        connection.executescript(
            f"begin; {TABLE} pragma application_id = {APPLICATION}; pragma user_version = {VERSION}; commit;"
        )
        self.made_new = True

    def _set_aside(self, reason: str) -> None:
        aside = self.file.with_name(f"{self.file.name}.damaged-{time.time_ns()}")
        os.rename(self.file, aside)
        for ending in ("-wal", "-shm"):
            with suppress(OSError):
                os.unlink(f"{self.file}{ending}")
        log.warning(f"{self.file} is made again from the runs: {reason}; the old file is kept as {aside.name}")

    @contextmanager
    def _working(self) -> Iterator[sqlite3.Connection]:
        """The connection; a file that proves to be damaged is made again, once the call has failed."""
        with self._lock:
            if self._closed:
                raise Failure("the server stops; ask again once it is back.")
            try:
                yield self._connection
            except sqlite3.OperationalError as error:
                if not _is_wrong(error):
                    raise Failure(f"{self.file} cannot be written: {error}.") from None
                self._renew(str(error))
                raise Failure(f"{self.file} was damaged, and is made again; ask again.") from None
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError:
                    raise  # a mistake of ours
                self._renew(str(error))
                raise Failure(f"{self.file} was damaged, and is made again; ask again.") from None

    def _renew(self, reason: str) -> None:
        with suppress(sqlite3.Error):
            self._connection.close()
        with suppress(OSError):
            self._set_aside(reason)
        self._connection = self._connect()

    def _one(self, query: str, *values: object) -> Any:
        with self._working() as connection:
            return connection.execute(query, values).fetchone()[0]

    def put(self, row: Row) -> Row:
        """Keep a row, unless it says what is known already; the row with its revision."""
        with self._working() as connection:
            there = self.get(row.id)
            if there and replace(there, rev=0, updated=None) == replace(row, rev=0, updated=None, created=False):
                return there
            same = there and replace(there, fingerprint="", rev=0, updated=None) == replace(
                row, fingerprint="", rev=0, updated=None, created=False
            )
            if there and same:  # nothing that anybody sees
                connection.execute("update runs set fingerprint = ? where id = ?", (row.fingerprint, row.id))
                return replace(there, fingerprint=row.fingerprint)
            self._advance()
            kept = replace(row, rev=self.rev)
            content = json.dumps({name: getattr(kept, name) for name in IN_CONTENT})
            values = [content if name == "content" else getattr(kept, name) for name in COLUMNS]
            marks = ", ".join("?" * len(COLUMNS))
            connection.execute(f"insert or replace into runs ({', '.join(COLUMNS)}) values ({marks})", values)
            return kept

    def _advance(self) -> None:
        self.rev = max(self.rev + 1, time.time_ns() // 1_000_000)

    def remove(self, id: str) -> None:
        """Forget a run, which is a change."""
        with self._working() as connection:
            if connection.execute("delete from runs where id = ?", (id,)).rowcount:
                self._advance()

    def clear(self) -> None:
        """Forget all runs, so that they are read again."""
        with self._working() as connection:
            connection.execute("delete from runs")
            self.made_new = True

    def get(self, id: str) -> Row | None:
        """A run; None if it is not known."""
        return next(iter(self._rows("where id = ?", id)), None)

    def by_key(self, key: str) -> Row | None:
        """The run that was submitted with an idempotency key."""
        return next(iter(self._rows("where key = ?", key)), None)

    def since(self, rev: int) -> list[Row]:
        """The next runs, at most ``MOST``, that changed after a revision, in the order of their changes."""
        return self._rows("where rev > ? order by rev limit ?", rev, MOST)

    def ids(self, *states: State, ours: bool) -> list[str]:
        """Runs that the service made, or others; only those in these states, if any are given."""
        where = f"and state in ({', '.join('?' * len(states))})" if states else ""
        with self._working() as connection:
            query = f"select id from runs where ours = ? {where}"
            return [id for (id,) in connection.execute(query, (ours, *map(str, states))).fetchall()]

    def counts(self) -> dict[State, int]:
        """How many runs are in each state."""
        with self._working() as connection:
            found = dict(connection.execute("select state, count(*) from runs group by state").fetchall())
        return {state: found.get(str(state), 0) for state in State}

    def fingerprints(self) -> dict[str, tuple[str, State]]:
        """Of all runs, what is needed to see whether one must be read again."""
        with self._working() as connection:
            rows = connection.execute("select id, fingerprint, state from runs").fetchall()
        return {id: (fingerprint, State(state)) for id, fingerprint, state in rows}

    def page(
        self,
        state: Collection[str] = (),
        kind: str | None = None,
        model: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Row], str | None]:
        """Runs, those submitted last first, and the cursor of the next page; None after the last.

        Args:
            state, kind, model: only such runs.
            cursor: as returned for the page before.

        Raises:
            UserError: there is no such cursor.
        """
        limit = min(max(limit, 1), MOST)
        conditions: list[str] = ["1"]
        values: list[str] = []
        if state:
            conditions.append(f"state in ({', '.join('?' * len(state))})")
            values.extend(map(str, state))
        for name, value in (("kind", kind), ("model", model)):
            if value is not None:
                conditions.append(f"{name} = ?")
                values.append(value)
        if cursor is not None:
            submitted, id = _read_cursor(cursor)
            conditions.append("submitted <= ? and (submitted < ? or id > ?)")
            values.extend((submitted, submitted, id))
        where = f"where {' and '.join(conditions)} order by submitted desc, id limit ?"
        rows = self._rows(where, *values, limit + 1)
        more = len(rows) > limit
        return rows[:limit], _cursor(rows[limit - 1]) if more else None

    def _rows(self, where: str, *values: object) -> list[Row]:
        with self._working() as connection:
            found = connection.execute(f"select {', '.join(COLUMNS)} from runs {where}", values).fetchall()
        return [_row(dict(zip(COLUMNS, one, strict=True))) for one in found]

    def close(self) -> None:
        """Close the file. Whoever asks later is refused."""
        with self._lock:
            self._closed = True
            self._connection.close()


def _row(columns: dict[str, Any]) -> Row:
    content = json.loads(columns.pop("content"))
    return Row(**{**columns, **content, "state": State(columns["state"]), "ours": bool(columns["ours"])})


def _cursor(row: Row) -> str:
    return base64.urlsafe_b64encode(json.dumps([row.submitted, row.id]).encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[str, str]:
    try:
        submitted, id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if isinstance(submitted, str) and isinstance(id, str) and f"{submitted}{id}".isascii():
            return submitted, id
    except (ValueError, TypeError, binascii.Error):
        pass
    raise UserError("cursor is not one that this list gave; ask for the first page without one.")


def _is_wrong(error: sqlite3.Error) -> bool:
    """Whether it is the file's fault, and not that of a full disk, a busy one or missing rights."""
    return any(word in str(error) for word in ("no such table", "no such column", "malformed", "not a database"))
