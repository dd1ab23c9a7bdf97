"""``probe compare|export|figure|theory RUN_DIR``: what is written from finished runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import Json, OutDir, RunDir, TrustCode, count, path_argument, path_option
from probe.cli.output import print_json
from probe.methods import METRICS, metrics
from probe.names import printable

KINDS = ("pdf", "svg", "png")
NAMES = [metric.name for metric in METRICS]


def compare(
    runs: Annotated[
        list[Path], path_argument("RUN_DIR", "Directories of finished runs; differences are to the first one.")
    ],
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Allow different images under one data set name, as independent samples.")
    ] = False,
    common: Annotated[
        bool, typer.Option("--common", help="Compare on the data sets that all runs have, if they have different ones.")
    ] = False,
    out: OutDir = Path("runs/compare"),
    as_json: Json = False,
) -> None:
    """Compare finished runs on the same images.

    Errors are paired by image; solver outcomes, differing settings and the similarity of dictionaries are shown as
    well. Writes compare.html, compare.md, compare.csv, compare.json, ratios.png and ratios.svg.
    """
    from probe.report.compare import write_comparison

    content = write_comparison(runs, out, unpaired=unpaired, common=common)
    if as_json:
        print(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False))
    else:
        print((out / "compare.md").read_text("utf-8"), end="")


def export(
    run_dir: RunDir,
    out: Annotated[Path | None, path_option("--out", "DIR", "Folder for the files; default RUN_DIR/export.")] = None,
    as_json: Json = False,
) -> None:
    """Write a run's numbers as CSV and as a model card section.

    Writes levels.csv (a row per data set, level, method and metric) and model_card.md (a section for a Hugging Face
    model card), and prints the paths.
    """
    from probe.files import write_atomically
    from probe.report.run.build import read_report
    from probe.report.run.export import levels_csv, model_card

    found, folder = read_report(run_dir), out or run_dir / "export"
    files = {"levels": folder / "levels.csv", "model_card": folder / "model_card.md"}
    write_atomically(files["levels"], levels_csv(found))
    write_atomically(files["model_card"], model_card(found))
    paths = {name: str(file) for name, file in files.items()}
    print(json.dumps(paths) if as_json else "\n".join(paths.values()))


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
        Path | None, path_option("--out", "FILE", "A .pdf, .svg or .png; default RUN_DIR/report/figures/paper.pdf.")
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


def theory(
    run_dir: RunDir,
    points: Annotated[int, count("Points of each kind that get a Jacobian.", least=2)] = 16,
    probes: Annotated[int, count("Random probes of a Jacobian's antisymmetric part.", least=2)] = 8,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Measure the paper's theory on a finished run.

    Proposition 3.2, Lipschitz constants of f, Theorem 1 (is f(z) - z a score?), whether the field is a gradient, and
    Proposition A.9 (predicted against actual steps). Writes RUN_DIR/theory/: theory.html, theory.md, figures/ and
    theory.json. Prints the verdicts.
    """
    from jobs.kinds import RUN
    from jobs.run.theory import measure
    from jobs.worker import work

    content, world = work(run_dir, RUN, lambda its: measure(its, points=points, probes=probes), trusted=trust_code)
    if world.rank or content is None:
        return
    if as_json:
        print_json(content)
        return
    from probe.report.theory.write import summary

    print(summary(content), end="")
