"""Pages as Markdown, and its pieces: text in which nothing is markup, code spans, tables."""

import re
from collections.abc import Iterable, Sequence

from probe.names import printable
from probe.report.page import content
from probe.report.page.content import Block, Bullets, Code, Figure, Note, Page, Provenance, Section, Table, Verdicts
from probe.report.page.text import as_text


def markdown(page: Page) -> str:
    """The page; figures are links to PNG files beside it."""
    parts = [f"# {text(page.title)}", text(page.lead)]
    parts += ["## Warnings", bullets(page.warnings)] if page.warnings else []
    parts += [_block(block, 2) for block in page.blocks]
    parts += _provenance(page.provenance) if page.provenance else []
    return joined(parts)


def joined(parts: Iterable[str]) -> str:
    """Parts of a page, those that are empty left out."""
    return "\n\n".join(filter(None, parts)) + "\n"


def _block(block: Block, level: int) -> str:
    match block:
        case Section(title, blocks):
            return joined([f"{'#' * level} {text(title)}", *(_block(one, level + 1) for one in blocks)]).rstrip("\n")
        case Table(head, rows):
            return table([text(name) for name in head], rows)
        case Bullets(items) | Verdicts(items):
            return bullets(items)
        case Figure(path, alt, _):
            return f"![{text(alt)}]({path}.png)"
        case content.Film():
            return joined(_block(figure, level) for figure in block.figures).rstrip("\n")
        case Note():
            return "".join(code(part) if isinstance(part, Code) else text(part) for part in block.parts)
    return text(block)


def _provenance(found: Provenance) -> list[str]:
    facts = [[text(key.replace("_", " ")), text(as_text(value))] for key, value in found.facts.items()]
    pointer = f"The configuration is in {found.record}, `provenance`." if found.config is not None else ""
    return ["## Provenance", f"Command: {code(found.command)}", table(["", ""], facts, escaped=True), pointer]


def bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {text(item)}" for item in items)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, escaped: bool = False) -> str:
    """A table; cells are user text unless they are ``escaped`` already."""
    lines = [head, ["---"] * len(head), *([cell if escaped else text(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text(raw: str) -> str:
    """User text in which nothing is markup: neither HTML nor Markdown that a table or list would trip over."""
    line = printable(re.sub(r"\s+", " ", raw)).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in "\\`*_[|" else c for c in line)


def code(raw: str) -> str:
    """A code span on one line, in which only backticks and pipes could do harm."""
    line = printable(" ".join(raw.split())).replace("`", "'")
    return "`" + line.replace("\\|", "\\ |").replace("|", "\\|") + "`"  # two backslashes would end the cell
