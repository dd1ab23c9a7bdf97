"""Arguments and steps that several commands share."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.names import given_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from probe.config import Config

ConfigFile = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="Configuration file, for example configs/quickstart.yaml.", parser=given_path
    ),
]
RunDir = Annotated[
    Path, typer.Argument(metavar="RUN_DIR", help="The run directory: the folder given to --out.", parser=given_path)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key, e.g. --set solver.max_steps=100; repeatable."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="RUN_DIR", help="The run directory; default runs/NAME_OF_CONFIG.", parser=given_path),
]
OutDir = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the output files.", parser=given_path)]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Run the model's own code even if you have not run it before.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

PAPER = ("solver.tolerance=1e-6", "solver.max_steps=3000")
"""The iteration of the paper's Section 3."""


def config_of_model(source: str, overrides: list[str] | None, defaults: tuple[str, ...] = ()) -> "Config":
    """The configuration of a command that takes a model: ``defaults``, then ``--set``."""
    from probe.config import load_config

    return load_config(None, [f"model.source={json.dumps(source)}", *defaults, *(overrides or ())])


def save_figure(out: Path, name: str, figure: "Figure") -> None:
    """Write NAME.png and NAME.svg into a folder."""
    from probe.files import write_atomically
    from probe.report.figures.drawing import render

    write_atomically(out / f"{name}.png", render(figure, "png"))
    write_atomically(out / f"{name}.svg", render(figure, "svg"))
