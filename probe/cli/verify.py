"""``probe verify``: the tool against numbers that are known from elsewhere."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import Json
from probe.cli.output import print_json
from probe.errors import Failure

if TYPE_CHECKING:
    from probe.verify.truth import Checked

Only = Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="Check this truth only; repeatable.")]


def verify(only: Only = None, as_json: Json = False) -> None:
    """Check this installation against known numbers.

    The numbers are published, known in closed form, or given by another implementation. Prints what was measured, the
    known number, the number found, and whether they agree. Exit status 1 if one does not.
    """
    from rich.console import Console
    from rich.progress import track

    from probe.verify.truth import check, chosen
    from probe.verify.truths import TRUTHS

    truths, terminal = chosen(TRUTHS, only or []), Console(stderr=True)
    rows = check(truths)
    if sys.stderr.isatty():
        rows = iter(track(rows, "truths", total=len(truths), console=terminal, transient=True))
    found = list(rows)
    if as_json:
        from jobs.provenance import describe_process

        print_json({**describe_process(), "truths": [asdict(one) for one in found]})
    else:
        _show(found)
    if wrong := [one.name for one in found if not one.holds]:
        raise Failure(
            f"{len(wrong)} of {len(found)} truths do not hold here: {', '.join(wrong)}; do not trust numbers of this "
            "kind from this installation, and report the table."
        )


def _show(rows: "Sequence[Checked]") -> None:
    """Print the table, and how many hold."""
    from rich.table import Table

    from probe.terminal import amount, console

    table = Table(title=amount(len(rows), "known truths"), title_justify="left")
    for name in ("name", "what", "known from"):
        table.add_column(name)
    for name in ("expected", "tolerance", "found"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for one in rows:
        found = one.error if one.found is None else f"{one.found:.4g}"
        verdict = "holds" if one.holds else "does not hold"
        table.add_row(one.name, one.what, one.source, f"{one.expected:.4g}", f"{one.tolerance:g}", found, verdict)
    console().print(table)
    holding = sum(one.holds for one in rows)
    print(f"{holding} of {len(rows)} {'holds' if len(rows) == 1 else 'hold'}.")
