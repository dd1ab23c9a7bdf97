"""The page of the architecture: its drawing and its tables are read from the imports and docstrings of the code."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
GROUND = "ground floor"
"""Single files of probe/, which every room may import."""
ABOUT = {
    "cli": "the commands",
    "api": "Python, notebooks",
    "jobs": "stages, ranks, Slurm",
    "studies": "the experiments",
    "board": "ranks of runs",
    "report": "JSON, pages, figures",
    "plan": "costs beforehand",
    "training": "the paper's model",
    "autoencoders": "E and D",
    "dynamics": "f, the loop, outcomes",
    "dictionary": "atoms, controls",
    "sparse": "matching pursuit",
    "data": "images",
    "metrics": "one file each",
    "semantics": "CLIP",
    "results": "files of a run",
    "bench": "speed",
    "verify": "known truths",
}
WIDTH, HEIGHT, ACROSS, DOWN = 162, 52, 176, 104


def page() -> str:
    """The page as Markdown, with the drawing as inline SVG."""
    text = (Path(__file__).parent / "architecture.md").read_text()
    return text.replace("<!-- drawing -->", drawing(imports())).replace("<!-- rooms -->", rooms())


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a module path such as ("probe", "dynamics", "iterate")."""
    if parts[0] == "jobs":
        return "jobs"
    return parts[1] if len(parts) > 1 and (ROOT / "probe" / parts[1]).is_dir() else GROUND


def imports() -> Counter[tuple[str, str]]:
    """How many import statements of one room name another: those inside of functions too, those for types only not."""
    found: Counter[tuple[str, str]] = Counter()
    for file in sorted([*ROOT.glob("probe/**/*.py"), *ROOT.glob("jobs/**/*.py")]):
        room = room_of(file.relative_to(ROOT).with_suffix("").parts)
        for name in imported(ast.parse(file.read_text())):
            parts = tuple(name.split("."))
            if parts[0] in ("probe", "jobs") and room_of(parts) != room:
                found[room, room_of(parts)] += 1
    return found


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that a piece of code imports when it runs."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
    for inner in ast.iter_child_nodes(node):
        yield from imported(inner)


def levels(edges: set[tuple[str, str]]) -> dict[str, int]:
    """Each room's storey below the top, under all that import it; ValueError if rooms import each other in a circle."""
    storeys: dict[str, int] = {}

    def storey(room: str, below: tuple[str, ...] = ()) -> int:
        if room in below:
            raise ValueError(f"rooms import each other in a circle: {' <- '.join([*below, room])}")
        if room not in storeys:
            storeys[room] = max((1 + storey(one, (*below, room)) for one, to in edges if to == room), default=0)
        return storeys[room]

    for room in sorted({room for edge in edges for room in edge}):
        storey(room)
    return storeys


def direct(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges that no longer path implies."""

    def reached(room: str) -> set[str]:
        return {far for one, to in edges if one == room for far in (to, *reached(to))}

    return {(one, to) for one, to in edges if not any(to in reached(via) for a, via in edges if a == one and via != to)}


def one_way(counts: Counter[tuple[str, str]]) -> set[tuple[str, str]]:
    """The imports between rooms, the ground floor aside; of two rooms that import each other the more frequent."""
    return {(a, b) for (a, b), n in counts.items() if GROUND not in (a, b) and (n, a) >= (counts[b, a], b)}


def drawing(counts: Counter[tuple[str, str]]) -> str:
    """Rooms as boxes, the higher importing the lower; arrows that others imply are left out."""
    edges = one_way(counts)
    storeys, arrows = levels(edges), direct(edges)
    rows = [sorted(room for room in storeys if storeys[room] == level) for level in range(max(storeys.values()) + 1)]
    place: dict[str, tuple[float, int]] = {}
    widest = max(len(row) for row in rows)
    for y, row in enumerate(rows):
        middles = {room: _middle(room, arrows, place, (widest - 1) / 2) for room in row}
        for x, room in enumerate(sorted(row, key=lambda room: (middles[room], room))):
            place[room] = (x + (widest - len(row)) / 2, y)
    width, height = widest * ACROSS, len(rows) * DOWN + 40
    lines = [f'<svg class="rooms" viewBox="0 0 {width} {height}" role="img" aria-label="Rooms and their imports">']
    lines.append(
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    )
    lines.append('<path d="M0 0L8 4L0 8z"/></marker></defs>')
    for one, to in sorted(arrows):
        (x1, y1), (x2, y2) = (_point(place[room]) for room in (one, to))
        turn, end = y2 - (DOWN - HEIGHT), y2 - 2  # a long arrow goes down first, beside the rooms that it passes
        bend = (end - turn) / 2
        path = f"M{x1:g} {y1 + HEIGHT:g}L{x1:g} {turn:g}C{x1:g} {turn + bend:g} {x2:g} {end - bend:g} {x2:g} {end:g}"
        lines.append(f'<path class="arrow" d="{path}"/>')
    for room, where in place.items():
        x, y = _point(where)
        name = room if room == "jobs" else f"probe.{room}"
        lines.append(f'<rect x="{x - WIDTH / 2:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>')
        lines.append(f'<text x="{x:g}" y="{y + 22:g}">{name}</text>')
        lines.append(f'<text class="about" x="{x:g}" y="{y + 40:g}">{ABOUT.get(room, "")}</text>')
    y = len(rows) * DOWN - 12
    lines.append(f'<rect class="ground" x="11" y="{y}" width="{width - 22}" height="40" rx="6"/>')
    lines.append(
        f'<text x="{width / 2:g}" y="{y + 25}">ground floor: methods, precision, errors, configuration, names</text>'
    )
    return "\n".join([*lines, "</svg>"])


def _middle(room: str, arrows: set[tuple[str, str]], place: dict[str, tuple[float, int]], default: float) -> float:
    """The mean place of the rooms above that import this one."""
    above = [place[one][0] for one, to in arrows if to == room and one in place]
    return sum(above) / len(above) if above else default


def _point(where: tuple[float, int]) -> tuple[float, float]:
    return (where[0] + 0.5) * ACROSS, where[1] * DOWN + 8


def rooms() -> str:
    """A table of the rooms and the folders in them: the first sentence of each one's docstring, and its size."""
    text = "| folder | what is in it | files | lines |\n|---|---|---|---|\n"
    for init in sorted(
        [*ROOT.glob("probe/*/__init__.py"), *ROOT.glob("probe/*/*/__init__.py"), *ROOT.glob("jobs/**/__init__.py")]
    ):
        folder = init.parent
        files = [file for file in folder.glob("*.py") if file.name != "__init__.py" or file.stat().st_size > 300]
        lines = sum(len(file.read_text().splitlines()) for file in folder.glob("*.py"))
        about = (ast.get_docstring(ast.parse(init.read_text())) or "").split("\n\n")[0].replace("\n", " ")
        text += f"| `{folder.relative_to(ROOT)}/` | {about} | {len(files)} | {lines:,} |\n"
    return text


def circles(counts: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs of rooms that import each other."""
    return sorted((a, b) for a, b in counts if a < b and (b, a) in counts and GROUND not in (a, b))
