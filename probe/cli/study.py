"""``probe study CONFIG``: train a grid of models, or build architectures, probe each, and report."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from probe.cli.options import ConfigFile, Json, Out, Overrides


def study(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Be one of several processes that share the models, as a Slurm array does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train every model of the grid, or build every architecture, measure it as the kind of study says, and report.

    Prints mean and standard deviation over seeds, and the verdicts. Rerun the same command to resume.
    """
    from probe.report.study.kinds import load_study_config

    settings = load_study_config(config, overrides or ())

    from jobs.worker import share_study, work_on_study

    path = out or Path("runs") / config.stem
    if shared:
        report = share_study(path, settings)
    else:
        done, world = work_on_study(path, lambda stages: stages.all(), settings)
        report = done if world.rank == 0 else None
    if report is not None:
        _show(report, as_json)


def _show(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=1))
        return
    from probe.report.study import study_table
    from probe.terminal import console

    for name, table in study_table(report).items():
        console().print(table)
        print("\n".join(report["datasets"][name]["verdicts_in_words"]))
