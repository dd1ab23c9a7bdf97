"""``probe figure RUN_DIR --paper``: the paper's Figure 4 of a run."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from probe.cli.options import Json, RunDir
from probe.names import given_path

KINDS = ("pdf", "svg", "png")


def figure(
    run_dir: RunDir,
    paper: Annotated[bool, typer.Option("--paper", help="Figure 4: a panel per data set, log axes.")] = False,
    metric: Annotated[
        Literal["pixel_mse", "latent_mse"], typer.Option(help="The error of decoded images or of latents.")
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
    from probe.report.figures.paper import paper_figure
    from probe.report.figures.run import render
    from probe.report.run.build import read_report

    write_atomically(file, render(paper_figure(read_report(run_dir), metric), kind))  # type: ignore[arg-type]
    print(json.dumps({"figure": str(file)}) if as_json else file)
