"""The leaderboard of the service: all finished runs below its root."""

from pathlib import Path
from typing import Any

from probe.board.build import board as ranked
from probe.errors import UserError
from probe.serve.index import MOST, Row
from probe.serve.states import State
from probe.serve.supervisor import Supervisor


def board(supervisor: Supervisor) -> dict[str, Any]:
    """The JSON of ``GET /v1/board`` (``probe.board.schema.Board``). Reads reports that changed: call it in a thread."""
    found: dict[str, Path] = {}
    for row in _finished(supervisor):
        try:
            found[row.id] = supervisor.folder(row.id)
        except UserError:  # deleted meanwhile
            continue
    return ranked(found)


def _finished(supervisor: Supervisor) -> list[Row]:
    rows, cursor = supervisor.index.page([State.DONE], "run", limit=MOST)
    while cursor is not None:
        more, cursor = supervisor.index.page([State.DONE], "run", cursor=cursor, limit=MOST)
        rows += more
    return rows
