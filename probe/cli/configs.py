"""``probe configs`` and ``probe configs show NAME``: the configurations in the package."""

from dataclasses import asdict
from typing import Annotated

import typer

from probe.cli.options import Json
from probe.cli.output import print_json

app = typer.Typer(help="List the configurations in the package.")


@app.callback(invoke_without_command=True)
def configs(ctx: typer.Context, as_json: Json = False) -> None:
    """List the configurations in the package.

    Prints a line for each: its name, the command that takes it (`probe run quickstart`), and what it is about. Those
    "in a clone" read files of the repository and beside it.
    """
    if ctx.invoked_subcommand is not None:
        return
    from rich.table import Table
    from rich.text import Text

    from probe.packaged import packaged
    from probe.terminal import console

    found = packaged()
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("configuration", no_wrap=True, min_width=max(len(one.name) for one in found))
    table.add_column("command", no_wrap=True, min_width=max(len(one.command) for one in found))
    table.add_column("about")
    for one in found:
        where = ("in a clone: ", "dim") if one.clone else ""
        table.add_row(one.name, one.command, Text.assemble(where, one.about))
    console().print(table)


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="As `probe configs` lists it.")]) -> None:
    """Print a configuration in the package.

    For example `probe configs show quickstart > mine.yaml`, to begin one of your own.
    """
    from probe.packaged import text_of

    print(text_of(name), end="")
