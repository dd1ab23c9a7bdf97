"""``probe export RUN_DIR``: a run's numbers for tables and model cards."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import Json, RunDir
from probe.names import given_path


def export(
    run_dir: RunDir,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for the files; default RUN_DIR/export.", parser=given_path),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a run's numbers as CSV and as a model card section.

    Writes levels.csv (a row per data set, level, method and metric) and model_card.md (a section for a Hugging Face
    model card), and prints the paths.
    """
    from probe.files import write_atomically
    from probe.report.run.build import read_report
    from probe.report.run.export import levels_csv, model_card

    report, folder = read_report(run_dir), out or run_dir / "export"
    files = {"levels": str(folder / "levels.csv"), "model_card": str(folder / "model_card.md")}
    write_atomically(Path(files["levels"]), levels_csv(report))
    write_atomically(Path(files["model_card"]), model_card(report))
    print(json.dumps(files) if as_json else "\n".join(files.values()))
