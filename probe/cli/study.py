"""``probe study CONFIG``: train a grid of models, or build architectures, probe each, and report."""

from pathlib import Path
from typing import Annotated, Any

import typer

from probe.cli.launch import launch
from probe.cli.options import ConfigFile, Json, Out, Overrides


def study(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Out = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Share the models with other independent processes, as a Slurm array does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train or build a grid of models, probe each, and report.

    The kind of study (the key `study`) says what varies and what is measured. Prints mean and standard deviation over
    seeds, and the verdicts. Rerun the same command to resume.
    """
    from probe.config import read_yaml
    from probe.kinds import check_kind
    from probe.report.study.kinds import parse_study_config

    data = read_yaml(config, overrides or ())
    check_kind(data, "study", config)
    settings = parse_study_config(data)
    launch("study", settings, out or Path("runs") / config.stem, show, shared=shared, as_json=as_json)


def show(report: dict[str, Any]) -> None:
    """Print a table and the verdicts per data set."""
    from probe.report.study import study_table
    from probe.terminal import console

    for name, table in study_table(report).items():
        console().print(table)
        print("\n".join(report["datasets"][name]["verdicts_in_words"]))
