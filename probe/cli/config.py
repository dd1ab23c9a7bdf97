"""``probe config [KEY]``: every configuration key, and example files."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from probe.cli.options import Json


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

    Prints the meaning, the allowed values and the default of each key, and the kinds of work that have it.
    """
    from probe import configuration
    from probe.errors import UserError

    if example is not None:
        if key is not None:
            raise UserError(f"--example writes a whole file; leave out {key!r}.")
        print(configuration.example(example), end="")
        return
    found, every = configuration.keys(key), tuple(configuration.models())
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
        return
    for one in found:
        kinds = "all kinds" if one.kinds == every else ", ".join(one.kinds)
        print(f"{one.key}  [{kinds}]")
        default = "must be set" if one.default is None else f"default {one.default}"
        print(f"    {one.type}; {default}" + (f"\n    {one.meaning}" if one.meaning else ""))
