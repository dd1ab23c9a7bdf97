"""What a page is made of; ``page.html`` and ``page.markdown`` render it. All text is plain text, escaped there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rich import box
from rich.table import Table as RichTable


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
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    facts: bool = False
    ours: bool = False

    def rich(self, title: str | None = None) -> RichTable:
        """For a terminal."""
        table = RichTable(title=title, box=box.SIMPLE_HEAD, title_justify="left")
        for place, head in enumerate(self.head):
            table.add_column(head, justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


@dataclass(frozen=True)
class Figure:
    """A picture beside the page: ``path`` without its ending (.svg is embedded in HTML, Markdown links to .png)."""

    path: str
    alt: str


@dataclass(frozen=True)
class Section:
    title: str
    blocks: "Sequence[Block]"


Block: TypeAlias = str | Note | Bullets | Verdicts | Table | Figure | Section
"""A plain ``str`` is a paragraph."""


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
