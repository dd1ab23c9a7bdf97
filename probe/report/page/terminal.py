"""Pages on a terminal: their sentences, and their tables as other commands print them."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from probe.names import printable
from probe.report.page.content import Block, Bullets, Figure, Film, Note, Page, Section, Table, Verdicts


def terminal(page: Page) -> Group:
    """The page for rich, without figures, folded sections and provenance, which the files have."""
    notes = Bullets(page.warnings)
    return Group(_title(page.title), *_shown([page.lead, *([notes] if notes.items else []), *page.blocks]))


def _shown(blocks: Sequence[Block]) -> Iterator[RenderableType]:
    for block in blocks:
        match block:
            case Section(title, inside, folded):
                if not folded:
                    yield Group("", _title(title), *_shown(inside))
            case Table():
                yield block.rich()
            case Bullets(items) | Verdicts(items):
                yield Text("\n".join(f"- {printable(one)}" for one in items))
            case Note():
                yield Text(printable("".join(block.parts)))
            case Figure() | Film():
                pass
            case str():
                yield Text(printable(block))


def _title(text: str) -> Text:
    return Text(printable(text), "bold")
