"""The files of a leaderboard: leaderboard.html, .md, .csv and .json."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from probe.board.build import build, place
from probe.board.schema import Board, Cell, Group, Row
from probe.errors import UserError
from probe.names import csv_text
from probe.report.model import dump
from probe.report.page.content import Block, Bullets, Note, Page, Section, Table
from probe.report.page.html import html
from probe.report.page.markdown import markdown
from probe.report.page.text import count

NAME = "leaderboard"
LOWER = "Mean latent MSE at 5 % of d, as a ratio to that of {control}: lower is better, and below 1 better than it."
RANDOM = LOWER.format(control="the random orthogonal basis") + " Intervals are over images and draws of starts."
STRONGEST = (
    LOWER.format(control="the best control on the data set, named with the interval") + " Intervals are over images."
)
HEAD = (
    "group", "rank_best", "rank_worst", "run", "model", "weights_sha256", "d", "seed", "atoms", "certified",
    "converged", "converged_low", "converged_high", "dataset", "dataset_rank_best", "dataset_rank_worst",
    "ratio_random", "ratio_random_low", "ratio_random_high",
    "ratio_strongest", "ratio_strongest_low", "ratio_strongest_high", "unranked",
)  # fmt: skip


def write_leaderboard(runs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Write the leaderboard of run directories, by id.

    Returns:
        The content of leaderboard.json (``probe.board.schema.Board``).

    Raises:
        UserError: no run can be listed; the sentence says why for the first one.
    """
    from probe.report.page.write import write  # reads matplotlib

    board = build(runs)
    if not board.groups:
        first = f" ({board.refused[0].reason.rstrip('.')})" if board.refused else ""
        raise UserError(f"no run to rank in {count(len(runs), 'folder')}{first}.")
    content, shown = dump(board), page(board)
    files = {
        f"{NAME}.html": html(shown, {}),
        f"{NAME}.md": markdown(shown),
        f"{NAME}.csv": csv_text([HEAD, *_rows(board)]),
    }
    write(out, files, NAME, content)
    return content


def page(board: Board) -> Page:
    """The page: a section for each protocol, then what could not be listed and how ranks are made."""
    blocks: list[Block] = [Section(group.title, list(_group(group))) for group in board.groups]
    if board.refused:
        folders = Table(["folder", "why"], [[one.id, one.reason] for one in board.refused], facts=True)
        blocks.append(Section("Not listed", [folders]))
    runs, protocols = sum(len(group.rows) for group in board.groups), count(len(board.groups), "protocol")
    return Page("Leaderboard", f"{count(runs, 'finished run')}, {protocols}", [],
                [*blocks, Section("How to read it", [board.rule])])  # fmt: skip


def _group(group: Group) -> Iterator[Block]:
    datasets = list(dict.fromkeys(column.dataset for column in group.columns if column.dataset))
    general = [column for column in group.columns if not column.dataset]
    if group.apart:
        yield group.apart
    head = ["run", *(column.title for column in general), "model"]
    rows = [[row.name, *(row.cells[column.key].text for column in general), row.model] for row in group.rows]
    yield Table(head, rows, sortable=True)
    if notes := [note for row in group.rows for note in _notes(row)]:
        yield Bullets(notes)
    for kind, title, about in (("random", "Ratio to the random orthogonal basis", RANDOM),
                               ("strongest", "Ratio to the strongest control", STRONGEST)):  # fmt: skip
        yield Section(title, [Note(about), _ratios(group, datasets, kind)])
    if any(row.ranks for row in group.rows):
        ranks = [[row.name, *(place(row.ranks.get(name)) for name in datasets)] for row in group.rows]
        yield Section("Ranks on each data set alone", [Table(["run", *datasets], ranks, sortable=True)], folded=True)
    protocol = [Table(["key", "value"], [[key, value] for key, value in group.protocol.items()], facts=True)]
    yield Section("The protocol", protocol, folded=True)
    if group.differs:
        ids = [row.id for row in group.rows]
        values = [[one.key, *(one.values[run] for run in ids)] for one in group.differs]
        differs = Table(["", *(row.name for row in group.rows)], values, facts=True)
        yield Section("In what else the runs differ", [differs], folded=True)


def _ratios(group: Group, datasets: list[str], kind: str) -> Table:
    rows = [
        [row.name, row.cells["rank"].text, *(row.cells[f"{kind}.{name}"].text for name in datasets)]
        for row in group.rows
    ]
    return Table(["run", "rank", *datasets], rows, sortable=True)


def _notes(row: Row) -> Iterator[str]:
    if row.unranked:
        yield f"{row.name} has no rank. {row.unranked}"
    if row.repeats and row.id < min(row.repeats):
        yield f"The same weights: {', '.join(sorted([row.id, *row.repeats]))}. They count as one model."


def _rows(board: Board) -> Iterator[list[Any]]:
    """Rows of the CSV file: one for each run and data set."""
    for number, group in enumerate(board.groups, 1):
        datasets = dict.fromkeys(column.dataset for column in group.columns if column.dataset)
        for row in group.rows:
            cells = row.cells
            values = [cells[key].value for key in ("d", "seed", "atoms", "certified")]
            start = [number, *(row.rank or (None, None)), row.id, row.model, row.weights_sha256, *values]
            for name in datasets:
                ratios = [*_ends(cells[f"random.{name}"]), *_ends(cells[f"strongest.{name}"])]
                ranks = row.ranks.get(name, (None, None))
                yield [*start, *_ends(cells["converged"]), name, *ranks, *ratios, row.unranked]


def _ends(cell: Cell) -> list[float | None]:
    return [cell.value, cell.low, cell.high]
