"""What the service was asked about a run: ROOT/ID/.service.json, whole or absent."""

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import TypeAdapter, ValidationError

from jobs.provenance import now
from probe.files import write_atomically
from probe.kinds import Kind
from probe.reading import Unreadable, read_object

TICKET = ".service.json"
VERSION = 1


@dataclass(frozen=True)
class Attempt:
    """One start of the worker.

    Attributes:
        number: 1, 2, ...
        begun: when, ISO 8601 in UTC. Noted before the worker starts.
        slot: of its executor.
        done: units of all stages that were done before.
    """

    number: int
    begun: str
    slot: int
    done: int = 0


@dataclass(frozen=True)
class Ticket:
    """What was asked, and what was tried. Whether it runs is no part of it: that is a fact, and never remembered.

    Attributes:
        id: the name of its folder in the root.
        name: for people.
        executor: ``local`` or ``slurm``.
        settings: the configuration that was submitted.
        key: Idempotency-Key of the submission.
        digest: checksum of what was submitted: the same key or id with another digest is a conflict.
        order: nanoseconds since the epoch at which it joined the queue.
        trust: whether the operator's policy allows the code that its model brings.
        wanted: whether it shall run.
        asked: when that was last changed.
        lost: attempts in a row that were lost before they had done anything.
        settled: attempts up to this number were answered by a resume: how they ended no longer counts.
        reason: why it shall not run, where that was not a client's wish.
    """

    id: str
    name: str
    kind: Kind
    executor: str
    settings: dict[str, Any]
    key: str | None
    digest: str
    submitted: str
    order: int
    trust: bool = False
    attempts: tuple[Attempt, ...] = ()
    wanted: Literal["run", "cancel"] = "run"
    asked: str | None = None
    lost: int = 0
    settled: int = 0
    reason: str = ""
    version: int = field(default=VERSION)

    @property
    def last(self) -> Attempt | None:
        """The last attempt that counts; None before the first, and after a resume."""
        last = self.attempts[-1] if self.attempts else None
        return last if last and last.number > self.settled else None

    def cancelled(self, reason: str = "") -> Self:
        """The run shall end, or never begin."""
        return replace(self, wanted="cancel", asked=now(), reason=reason)

    def resumed(self) -> Self:
        """The run shall go on, at the end of the queue; what was before does not count."""
        return replace(
            self, wanted="run", asked=now(), reason="", lost=0, settled=len(self.attempts), order=time.time_ns()
        )

    def losses(self, done: int) -> int:
        """Attempts in a row, the last one included, that were lost before they got ahead.

        Args:
            done: units of all stages that are done now.
        """
        return 0 if self.last is None or done > self.last.done else self.lost + 1

    def attempted(self, slot: int, done: int, lost: int) -> Self:
        """One more attempt begins, after so many losses in a row."""
        attempt = Attempt(len(self.attempts) + 1, now(), slot, done)
        return replace(self, attempts=(*self.attempts, attempt), lost=lost)

    def write(self, path: Path) -> None:
        """Write it into the run directory ``path``. Raises OSError."""
        write_atomically(path / TICKET, json.dumps(asdict(self), indent=1) + "\n")


_TICKET = TypeAdapter(Ticket)


def read_ticket(path: Path) -> Ticket | None:
    """The ticket of a run directory; None where the service did not make it.

    Raises:
        Unreadable: the file holds something else.
    """
    file = path / TICKET
    if not file.is_file():
        return None
    content = read_object(file)
    if content.get("version") != VERSION:
        raise Unreadable(file, f"it is of version {content.get('version')!r}, and this service knows {VERSION}")
    try:
        return _TICKET.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise Unreadable(file, f"its entry {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
