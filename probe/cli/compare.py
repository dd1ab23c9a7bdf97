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
            metavar="RUN_DIR", help="Folders of finished runs; differences are to the first.", parser=given_path
        ),
    ],
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Let data sets of one name hold other images: independent samples.")
    ] = False,
    out: OutDir = Path("runs/compare"),
    as_json: Json = False,
) -> None:
    """Errors of runs on the same images, paired; solver outcomes, settings that differ, similarity of dictionaries.

    Writes compare.html, compare.md, compare.csv, compare.json, ratios.png and ratios.svg.
    """
    from probe.report.compare import write_comparison

    content = write_comparison(runs, out, unpaired=unpaired)
    if as_json:
        print(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False))
    else:
        print((out / "compare.md").read_text("utf-8"), end="")
