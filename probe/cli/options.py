"""Arguments and steps that several commands share."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.names import given_path
from probe.packaged import given_config, given_folder_or_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from probe.config import Config


def path_argument(metavar: str, about: str) -> Any:
    """An argument that is a path."""
    return typer.Argument(metavar=metavar, help=about, parser=given_path)


def path_option(flag: str, metavar: str, about: str) -> Any:
    """An option that takes a path."""
    return typer.Option(flag, metavar=metavar, help=about, parser=given_path)


def count(about: str, *flags: str, least: int = 1) -> Any:
    """An option that takes a number of things, up to 1,000,000."""
    return typer.Option(*flags, min=least, max=1_000_000, help=about)


ABOUT_CONFIG = "A YAML file, or the name of a configuration in the package (`probe configs`)"


def config_argument(metavar: str, more: str = "", *, folders: bool = False) -> Any:
    """An argument that is a configuration: a file or a name; with ``folders``, also a run directory."""
    parser = given_folder_or_config if folders else given_config
    about = f"A run directory; or: {ABOUT_CONFIG}" if folders else ABOUT_CONFIG
    return typer.Argument(metavar=metavar, help=f"{about}{more}.", parser=parser)


ConfigFile = Annotated[Path, config_argument("CONFIG")]
RunDir = Annotated[Path, path_argument("RUN_DIR", "The run directory: the folder given to --out.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key, e.g. --set solver.max_steps=100; repeatable."),
]
Out = Annotated[Path | None, path_option("--out", "RUN_DIR", "The run directory; default runs/NAME_OF_CONFIG.")]
OutDir = Annotated[Path, path_option("--out", "DIR", "Folder for the output files.")]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Run the model's own code even if you have not run it before.")
]
Side = Annotated[
    int | None, typer.Option(min=1, max=8192, help="Draw images at this size and pad them to the model's (28 to 32).")
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
