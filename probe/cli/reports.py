"""``probe compare|leaderboard|export|figure|theory RUN_DIR``: what is written from finished runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import Json, OutDir, RunDir, TrustCode, count, path_argument, path_option
from probe.cli.output import print_json, print_page
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
    from probe.report.compare.page import page, write_comparison
    from probe.report.compare.schema import ComparisonReport

    content = write_comparison(runs, out, unpaired=unpaired, common=common)
    if as_json:
        print(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False))
        return
    print_page(lambda: page(ComparisonReport.model_validate(content)), lambda: (out / "compare.md").read_text("utf-8"))


def leaderboard(
    folders: Annotated[
        list[Path],
        path_argument("FOLDER", "Directories of finished runs, or folders that hold such directories."),
    ],
    out: OutDir = Path("runs/leaderboard"),
    as_json: Json = False,
) -> None:
    """Rank finished runs of one protocol.

    A run is ahead of another only where the 95 % intervals of their ratios to the random orthogonal basis do not
    overlap; runs of different protocols are shown apart. Reads report.json alone. Writes leaderboard.html,
    leaderboard.md, leaderboard.csv and leaderboard.json.
    """
    from probe.board.page import page, write_leaderboard
    from probe.board.runs import find_runs
    from probe.board.schema import Board

    content = write_leaderboard(find_runs(folders), out)
    if as_json:
        print(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False))
        return
    print_page(lambda: page(Board.model_validate(content)), lambda: (out / "leaderboard.md").read_text("utf-8"))


def export(
    run_dir: RunDir,
    out: Annotated[Path | None, path_option("--out", "DIR", "Folder for the files; default RUN_DIR/export.")] = None,
    dataset: Annotated[
        Path | None,
        path_option(
            "--dataset", "DIR", "Instead, write the rows of all images there, as a Hugging Face data set folder."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a run's numbers as CSV, LaTeX, a card, or a data set.

    Writes levels.csv (a row per data set, level, method and metric), table.tex (errors from 5 % of d atoms, with
    booktabs) and model_card.md (a section for a Hugging Face model card), and prints the paths. With --dataset it
    writes a folder that load_dataset and load_from_disk of datasets read: a row per data set, image, method and level,
    and a card.
    """
    from probe.files import write_atomically
    from probe.report.run.export import levels_csv, model_card
    from probe.report.run.latex import table_tex
    from probe.report.run.schema import read_report

    found, folder = read_report(run_dir), out or run_dir / "export"
    if dataset is not None:
        from probe.report.run.images import write_dataset

        written = str(write_dataset(run_dir, found, dataset))
        print(json.dumps({"dataset": written}) if as_json else written)
        return
    files = {"levels.csv": levels_csv(found), "table.tex": table_tex(found), "model_card.md": model_card(found)}
    for name, content in files.items():
        write_atomically(folder / name, content)
    paths = {name.partition(".")[0]: str(folder / name) for name in files}
    print(json.dumps(paths) if as_json else "\n".join(paths.values()))


def figure(
    run_dir: RunDir,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIGURE]...", help="Which figures, e.g. forest_latent_mse; default all of the run."),
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="The figure `paper` alone: the paper's Figure 4.")] = False,
    metric: Annotated[
        str,
        typer.Option(
            metavar="|".join(NAMES),
            help="What `paper` draws against the number of atoms; a plug-in's metric works, too.",
            autocompletion=lambda: NAMES,
        ),
    ] = "pixel_mse",
    out: Annotated[
        Path | None,
        path_option("--out", "PATH", "A folder, or one .pdf, .svg or .png; default RUN_DIR/report/figures."),
    ] = None,
    kind: Annotated[str, typer.Option("--kind", metavar="|".join(KINDS), help="Of the files in a folder.")] = "pdf",
    as_json: Json = False,
) -> None:
    """Draw a finished run's figures, for print.

    Those of its report (ratios to every control, the decomposition, errors against the number of atoms, histograms,
    pictures) and `paper`, the layout of the paper's Figure 4: a panel per data set, log axes. Prints the paths.
    """
    from probe.errors import UserError

    wanted = ["paper"] if paper else names
    file = out if out and out.suffix else None
    kind = file.suffix.removeprefix(".").lower() if file else kind
    if kind not in KINDS:
        raise UserError(f"{file or f'--kind {kind}'}: a figure is a {', '.join(KINDS[:-1])} or {KINDS[-1]} file.")
    if file and len(wanted or ()) != 1:
        raise UserError(f"--out {file} is one file: name one figure, or give a folder.")

    from probe.files import write_atomically
    from probe.report.figures.drawing import render
    from probe.report.figures.run import paper_figure
    from probe.report.run.schema import read_report
    from probe.report.run.tables import known_metrics
    from probe.report.run.write import drawings
    from probe.results.run import read_results

    report = read_report(run_dir)
    known = dict.fromkeys(name for data in report.datasets.values() for name in known_metrics(data))
    if metric not in (known or metrics()):
        raise UserError(f"{run_dir} has no metric {printable(metric)!r}; choose one of {', '.join(known or NAMES)}.")
    figures = {} if wanted == ["paper"] else drawings(report, read_results(run_dir))
    figures["paper"] = paper_figure(report, metric)
    for name in wanted or ():
        if name not in figures:
            raise UserError(f"{run_dir} has no figure {printable(name)!r}; choose from {', '.join(figures)}.")
    paths = {name: file or (out or run_dir / "report" / "figures") / f"{name}.{kind}" for name in wanted or figures}
    for name, path in paths.items():
        write_atomically(path, render(figures[name], kind))  # type: ignore[arg-type]
    shown = {name: str(path) for name, path in paths.items()}
    print(json.dumps(shown) if as_json else "\n".join(shown.values()))


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
    from probe.report.theory.write import page, summary

    print_page(lambda: page(content), lambda: summary(content))
