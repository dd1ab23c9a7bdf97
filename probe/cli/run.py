"""``probe run CONFIG``: the whole job."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from probe.cli.options import ConfigFile, Json, Out, Overrides

if TYPE_CHECKING:
    from rich.console import Console


def run(config: ConfigFile, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
    """Find the attractors, build the dictionary, reconstruct the data sets, write the report.

    Prints latent MSE at 5 % of the atoms per data set and method. The same command goes on after a stop.
    """
    from probe.config import load_config

    settings = load_config(config, overrides or ())

    from jobs.worker import work

    report, world = work(out or Path("runs") / config.stem, lambda stages: stages.all(), settings)
    if world.rank == 0:
        show(report, as_json)


def show(report: dict, as_json: bool) -> None:
    """Print a report's 5 % table on stdout, or the whole report as JSON."""
    if as_json:
        print(json.dumps(report, indent=1))
        return
    if not report["datasets"]:
        print("\n".join(report["summary"]))
        return
    from probe.report import five_percent_table

    console().print(five_percent_table(report))


def console() -> "Console":
    """stdout; where it is a file, rich would fold tables at 80 columns."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160)
