"""The theory page of a run: theory.json, theory.md, theory.html and figures, from the record of ``probe.studies``."""

import json
from pathlib import Path
from typing import Any

from probe.files import write_atomically
from probe.report.figures.run import render
from probe.report.page.pictures import uri
from probe.report.run.html import environment, flat
from probe.report.run.markdown import code, table, text
from probe.report.theory import figures
from probe.report.theory.sections import Section, sections


def write_theory(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Write the folder, theory.json last; every file whole or not at all.

    Returns:
        The content of theory.json.
    """
    page = sections(content)
    files: dict[str, bytes] = {}
    for name, figure in figures.drawn(content).items():
        files |= {f"{name}.png": render(figure, "png"), f"{name}.svg": render(figure, "svg")}
    for name, data in files.items():
        write_atomically(folder / "figures" / name, data)
    content = {**content, "verdicts": {part.name: part.sentences for part in page}}
    write_atomically(folder / "theory.md", _markdown(content, page, files))
    write_atomically(folder / "theory.html", _html(content, page, files))
    write_atomically(folder / "theory.json", json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return content


def summary(content: dict[str, Any]) -> str:
    """For a terminal: the verdicts, and the table of each section in Markdown."""
    parts = [
        "\n".join([part.title, *(f"- {one}" for one in part.sentences), "", table(part.head, part.rows, escaped=True)])
        for part in sections(content)
    ]
    return "\n\n".join(parts) + "\n"


def _subject(content: dict[str, Any]) -> str:
    model = content["model"]
    return f"{model['class']} from {model['source']}, d = {model['d']}"


def _markdown(content: dict[str, Any], page: list[Section], files: dict[str, bytes]) -> str:
    parts = [f"# Theory: {text(_subject(content))}"]
    for part in page:
        parts += [f"## {text(part.title)}", "\n".join(f"- {text(one)}" for one in part.sentences)]
        parts += [table(part.head, part.rows), text(part.rule)]
        if f"{part.name}.png" in files:
            parts.append(f"![{part.name}](figures/{part.name}.png)")
    parts += ["## Provenance", f"{code(str(content['command']))}, git revision {code(str(content['git_revision']))}"]
    return "\n\n".join(parts) + "\n"


def _html(content: dict[str, Any], page: list[Section], files: dict[str, bytes]) -> str:
    facts = ("model", "images", "settings", "git_revision", "versions", "platform")
    return (
        environment()
        .get_template("theory/theory.html.j2")
        .render(
            subject=_subject(content),
            page=page,
            pictures={Path(name).stem: uri("image/svg+xml", files[name]) for name in files if name.endswith(".svg")},
            command=content["command"],
            provenance=[(key.replace("_", " "), flat(content[key])) for key in facts],
        )
    )
