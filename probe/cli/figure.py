"""``probe figure RUN_DIR --paper``: the paper's Figure 4 of a run."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import Json, RunDir
from probe.methods import METRICS, metrics
from probe.names import given_path, printable

KINDS = ("pdf", "svg", "png")
NAMES = [metric.name for metric in METRICS]


def figure(
    run_dir: RunDir,
    paper: Annotated[bool, typer.Option("--paper", help="Figure 4: a panel per data set, log axes.")] = False,
    metric: Annotated[
        str,
        typer.Option(
            metavar="|".join(NAMES),
            help="What is drawn against the number of atoms; a plug-in's metric works, too.",
            autocompletion=lambda: NAMES,
        ),
    ] = "pixel_mse",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="A .pdf, .svg or .png; default RUN_DIR/report/figures/paper.pdf.",
            parser=given_path,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the paper's figure of a finished run, for print.

    Prints the path of the file.
    """
    from probe.errors import UserError

    file = out or run_dir / "report" / "figures" / "paper.pdf"
    kind = file.suffix.removeprefix(".").lower()
    if not paper:
        raise UserError("`probe figure` needs a layout: add --paper for the paper's Figure 4.")
    if kind not in KINDS:
        raise UserError(f"--out {file}: a figure is a {', '.join(KINDS[:-1])} or {KINDS[-1]} file.")

    from probe.files import write_atomically
    from probe.report.figures.drawing import render
    from probe.report.figures.run import paper_figure
    from probe.report.run.build import read_report
    from probe.report.run.tables import known_metrics

    report = read_report(run_dir)
    known = dict.fromkeys(name for data in report.datasets.values() for name in known_metrics(data))
    if metric not in (known or metrics()):
        raise UserError(f"{run_dir} has no metric {printable(metric)!r}; choose one of {', '.join(known or NAMES)}.")
    write_atomically(file, render(paper_figure(report, metric), kind))  # type: ignore[arg-type]
    print(json.dumps({"figure": str(file)}) if as_json else file)
