"""The page of the run directory: every file with its columns and metadata, by kind of folder."""

import re

from probe.results import layout
from probe.results.layout import Column

TITLES = {
    "run": "Run (`probe run`)",
    "study": "Study (`probe study`)",
    "ood": "OOD experiment (`probe ood`)",
    "roundtrip": "Round trip (`probe roundtrip`)",
}
SYMBOLS = (layout.__doc__ or "").split("\n\n")[-1]
INTRODUCTION = f"""# Run directory

Every command that computes writes one folder. Each file appears whole or not at all, and rerunning the same command
resumes. Files in `{layout.WORK}/` are intermediate: they are removed once the results made from them exist. A result
file that is damaged or outdated is moved to `{layout.REPLACED}/` when its stage makes it again.

Tensors are stored as safetensors, tables as parquet. Both carry metadata: one JSON text per entry in safetensors, one
JSON object under the key `probe` in parquet. Every reading command checks the checksum.

Symbols: {SYMBOLS}"""


def page() -> str:
    """The page as Markdown."""
    parts = [
        INTRODUCTION,
        "## Metadata of every result file\n",
        _columns("entry", layout.STAMP),
        "## Files of every folder\n",
        _rows("file", "", [(one.pattern, "", one.says) for one in layout.COMMON]),
    ]
    for kind, title in TITLES.items():
        parts.append(f"## {title}\n")
        for one in layout.FILES[kind][len(layout.COMMON) :]:
            parts.append(f"### `{_without_formats(one.pattern)}`\n\n{one.says[0].upper()}{one.says[1:]}.\n")
            groups = layout.CELL_COLUMNS if one is layout.CELL else {"": one.columns}
            what = "column" if one.pattern.endswith(".parquet") else "tensor"
            parts += [_columns(f"{what}, {name}" if name else what, group) for name, group in groups.items() if group]
            parts += [_columns("metadata", one.about)] if one.about else []
    return "\n".join(parts)


def _columns(what: str, columns: tuple[Column, ...]) -> str:
    return _rows(what, "form", [(column.name, column.form, column.says) for column in columns])


def _rows(what: str, form: str, rows: list[tuple[str, str, str]]) -> str:
    heads = [what, form, "meaning"] if form else [what, "meaning"]
    lines = [heads, ["---"] * len(heads)]
    for name, shape, says in rows:
        lines.append([f"`{_without_formats(name)}`", *([shape] if form else []), says.replace("|", "\\|")])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _without_formats(pattern: str) -> str:
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", pattern)
