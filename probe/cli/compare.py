"""``probe compare RUN_DIR...``: finished runs side by side."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import Json, OutDir
from probe.names import given_path


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_DIR",
            help="Directories of finished runs; differences are to the first one.",
            parser=given_path,
        ),
    ],
    unpaired: Annotated[
        bool,
        typer.Option("--unpaired", help="Allow different images under one data set name, as independent samples."),
    ] = False,
    out: OutDir = Path("runs/compare"),
    as_json: Json = False,
) -> None:
    """Compare finished runs on the same images.

    Errors are paired by image; solver outcomes, differing settings and the similarity of dictionaries are shown as
    well. Writes compare.html, compare.md, compare.csv, compare.json, ratios.png and ratios.svg.
    """
    from probe.report.compare import write_comparison

    content = write_comparison(runs, out, unpaired=unpaired)
    if as_json:
        print(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False))
    else:
        print((out / "compare.md").read_text("utf-8"), end="")
