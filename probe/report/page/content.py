"""What a page is made of; ``page.html`` and ``page.markdown`` render it. All text is plain text, escaped there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rich import box
from rich.table import Table as RichTable

from probe.names import printable


class Code(str):
    """A path, a checksum, a command: text in a fixed-width font."""


@dataclass(frozen=True)
class Note:
    """A paragraph in small print; some of its parts may be ``Code``."""

    content: str | Sequence[str]

    @property
    def parts(self) -> Sequence[str]:
        return [self.content] if isinstance(self.content, str) else self.content


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]


@dataclass(frozen=True)
class Verdicts:
    """Sentences that say what was found; ``results``, if given, stand beside them in HTML as the short answer."""

    sentences: Sequence[str]
    results: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """Cells of text under a head; in HTML an interval (``1.2 [1.1, 1.3]``) goes on a second line.

    Attributes:
        facts: names and values as text, left aligned, instead of numbers.
        ours: the first row is the method that the page is about.
        sortable: in HTML a click on a head sorts the rows.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    facts: bool = False
    ours: bool = False
    sortable: bool = False

    def rich(self, title: str | None = None) -> RichTable:
        """For a terminal; where it is narrow, long words are folded, not cut."""
        table = RichTable(title=title, box=box.SIMPLE_HEAD, title_justify="left")
        for place, head in enumerate(self.head):
            numbers = place and not self.facts
            table.add_column(printable(head), justify="right" if numbers else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*map(printable, row))
        return table


@dataclass(frozen=True)
class Figure:
    """A picture beside the page: ``path`` without its ending (.svg is embedded in HTML, Markdown links to .png).

    A ``wide`` one keeps its size on a phone, and scrolls.
    """

    path: str
    alt: str
    wide: bool = False


@dataclass(frozen=True)
class Reel:
    """The frames of one picture.

    Attributes:
        name: of the picture.
        sheet: path beside the page of a WebP with a column of square tiles for each stop: the pictures of every cell
            below each other, and then, in the same order, their differences from the original.
        said: a short text for every cell and stop.
    """

    name: str
    sheet: str
    said: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Film:
    """Pictures that change with a slider, many at once: a table of cells, every one with the same stops.

    Where no script runs, and in print, HTML shows the figures instead, as Markdown does.

    Attributes:
        reels: one of them is shown at a time.
        stops: what each position of the slider is called; the first one is the original.
        cells: the row and the column of every cell.
        gain: what differences are multiplied by.
        figures: what there is without a slider.
    """

    reels: Sequence[Reel]
    stops: Sequence[str]
    cells: Sequence[tuple[str, str]]
    gain: int
    figures: Sequence[Figure]

    @property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(row for row, _ in self.cells))

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for _, column in self.cells))


@dataclass(frozen=True)
class Section:
    """Blocks under a title; ``folded`` ones are opened by a click in HTML."""

    title: str
    blocks: "Sequence[Block]"
    folded: bool = False


Block: TypeAlias = str | Note | Bullets | Verdicts | Table | Figure | Film | Section
"""A plain ``str`` is a paragraph."""


def each(blocks: Sequence[Block]) -> Iterator[Block]:
    """All blocks, and those in their sections."""
    for one in blocks:
        if isinstance(one, Section):
            yield from each(one.blocks)
        else:
            yield one


@dataclass(frozen=True)
class Provenance:
    """How a result was made.

    Attributes:
        facts: names and values, as the manifest has them.
        record: the JSON file that holds all of it.
        config: the complete configuration, if there is one.
    """

    command: str
    facts: Mapping[str, Any]
    record: str = "report.json"
    config: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, stated: Mapping[str, Any], **more: Any) -> "Provenance":
        """From ``provenance`` of a report.json; ``more`` facts come first."""
        facts = {key: value for key, value in stated.items() if key not in ("command", "config")}
        return cls(str(stated.get("command") or "unknown"), more | facts, config=stated["config"])


@dataclass(frozen=True)
class Page:
    title: str
    lead: str
    warnings: Sequence[str]
    blocks: Sequence[Block]
    provenance: Provenance | None = None
