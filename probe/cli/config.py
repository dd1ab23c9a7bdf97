"""``probe config [KEY]``: every configuration key, and example files."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import Json
from probe.cli.output import print_json

if TYPE_CHECKING:
    from probe.configuration import Key

OUTSIDE = "keys outside of sections"


def config(
    key: Annotated[
        str | None,
        typer.Argument(metavar="[KEY]", help="A key, a section, or a kind of work: solver.max_steps, solver, ood."),
    ] = None,
    example: Annotated[
        str | None,
        typer.Option("--example", metavar="KIND", help="Write a commented file: run, study, ood, or a kind of study."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List every configuration key, or write an example file.

    Prints the default, the meaning and the allowed values of each key, and the kinds of work that have it.
    """
    from probe import configuration
    from probe.errors import UserError

    if example is not None:
        if key is not None:
            raise UserError(f"--example writes a whole file; leave out {key!r}.")
        print(configuration.example(example), end="")
        return
    found = configuration.keys(key)
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        _print_sections(found, with_kinds=key not in configuration.models())


def _print_sections(found: "list[Key]", with_kinds: bool) -> None:
    """A table for each section, with the same columns in all of them."""
    from rich.table import Table
    from rich.text import Text

    from probe.terminal import console

    meanings: dict[str, str] = {}
    sections: dict[str, list[tuple[str, Key]]] = {OUTSIDE: []}
    for one in found:
        section, dot, name = one.key.partition(".")
        if not dot and "section" in one.type:
            meanings.setdefault(section, one.meaning)
        else:
            sections.setdefault(section if dot else OUTSIDE, []).append((name or section, one))
    widest = max((len(name) for members in sections.values() for name, _ in members), default=0)
    for section, members in sections.items():
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 0, 0, 2))
        table.add_column(width=widest, no_wrap=True)
        table.add_column(width=19, overflow="fold")
        table.add_column(overflow="fold")
        for name, one in members:
            values = f"{one.type} ({_kinds(one)})" if with_kinds else one.type
            meaning = Text.assemble(one.meaning, "\n" if one.meaning else "", (values, "dim"))
            table.add_row(Text(name), Text("must be set" if one.default is None else one.default), meaning)
        if members:
            title = f"{section}: {meanings[section]}" if section in meanings else section
            console().print(Text(title, style="bold"), table, "")


def _kinds(key: "Key") -> str:
    """The kinds of work that have a key; ``study`` for all kinds of study."""
    from probe.configuration import OTHERS, models

    studies = models().keys() - {*OTHERS}
    if not studies <= set(key.kinds):
        return ", ".join(key.kinds)
    return ", ".join(kind for kind in ("run", "study", "ood", "roundtrip") if kind == "study" or kind in key.kinds)
