"""The rows of a leaderboard in the order that a reader asks for."""

from collections.abc import Mapping
from typing import Any


def ordered(group: Mapping[str, Any], column: str, down: bool) -> dict[str, Any]:
    """A group with its rows sorted by a column, those without a number last; as it is where it has no such column.

    Args:
        group: of ``probe.board.build.board``.
        column: ``name``, ``model`` or the key of a column.
    """
    if column in ("name", "model"):
        rows = sorted(group["rows"], key=lambda row: str(row[column]).casefold(), reverse=down)
    else:
        cells = [(row["cells"].get(column, {}).get("value"), row) for row in group["rows"]]
        known = sorted(
            ((value, row) for value, row in cells if value is not None), key=lambda one: one[0], reverse=down
        )
        rows = [row for _, row in known] + [row for value, row in cells if value is None]
    return {**group, "rows": rows}
