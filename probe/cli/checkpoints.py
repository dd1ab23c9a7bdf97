"""``probe checkpoints FOLDER``: attractors across training."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import Json, OutDir, Overrides
from probe.cli.watch import watching
from probe.names import given_path

if TYPE_CHECKING:
    from probe.autoencoders import Autoencoder
    from probe.config import ModelConfig

PAPER = ("solver.tolerance=1e-6", "solver.max_steps=3000")
"""The iteration of the paper's Section 3."""


def checkpoints(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder of model folders, in order of their names.", parser=given_path),
    ],
    train: Annotated[str, typer.Option(metavar="SPEC", help="The training images: a preset, parquet:PATH, ...")],
    test: Annotated[str, typer.Option(metavar="SPEC", help="Unseen images of the same kind.")],
    n: Annotated[int, typer.Option("--n", min=4, max=1_000_000, help="Starts of each kind, and test images.")] = 500,
    memory: Annotated[
        int, typer.Option(min=4, max=1_000_000, help="Training images among which mem searches the closest.")
    ] = 10_000,
    side: Annotated[
        int | None,
        typer.Option(min=1, max=8192, help="Image side, padded with black to the model's (28 to 32)."),
    ] = None,
    overrides: Overrides = None,
    out: OutDir = Path("runs/checkpoints"),
    as_json: Json = False,
) -> None:
    """Distinct attractors, memorization, Chamfer similarity, FPR95 of noise and spectral norms at every checkpoint.

    Writes checkpoints.png, film.png (and .svg), checkpoints.md and checkpoints.json.
    """
    from probe.config import parse_config, read_yaml

    config = parse_config(read_yaml(None, [*PAPER, *(overrides or ())]))
    folders = _folders(folder)

    from jobs.provenance import describe_process
    from probe.files import write_atomically
    from probe.report.figures.across_training import film_strip, training_figure, training_table
    from probe.report.figures.files import write_figures
    from probe.studies.inputs import drawn
    from probe.studies.sweeps.across_training import across_training, most_evaluations

    with watching(f"checkpoints: loading {len(folders)} models, drawing up to {memory + n} images"):
        models = _models(folders, config.model)
        first = next(iter(models.values()))
        drawn_side = side or first.side or config.resolution
        images = {"train": drawn(first, train, memory, drawn_side), "test": drawn(first, test, n, drawn_side)}
    seen, unseen = images["train"].images, images["test"].images
    most = len(models) * most_evaluations(len(seen), len(unseen), solver=config.solver, starts=n)
    print(
        f"checkpoints: {len(models)} models, up to {n} starts of each of 4 kinds, each followed twice for at most "
        f"{config.solver.max_steps} steps: up to about {most:,} evaluations of f; lower --n or solver.max_steps for "
        "less",
        file=sys.stderr,
    )
    settings = {"solver": config.solver, "dictionary": config.dictionary, "starts": n, "seed": config.seeds.seed}
    with watching("checkpoints", most) as watch:
        counted = {name: watch.model(model) for name, model in models.items()}
        measured = dict(across_training(counted, seen, unseen, on_part=watch.say, **settings))
    records = {name: one.values for name, one in measured.items()}
    films = {name: one.film.numpy() for name, one in measured.items()}
    strip = film_strip(seen[: len(next(iter(films.values())))].numpy(), films)
    about = {name: {"source": one.source, "sha256": one.sha256, "n": len(one.ids)} for name, one in images.items()}
    content = {"images": about, "solver": config.solver.model_dump(), "checkpoints": records, **describe_process()}
    table, text = training_table(records), json.dumps(content, allow_nan=False, indent=1) + "\n"
    write_figures(out, {"checkpoints": training_figure(records, str(folder)), "film": strip})
    write_atomically(out / "checkpoints.md", table)
    write_atomically(out / "checkpoints.json", text)
    print(text if as_json else table, end="")


def _folders(folder: Path) -> list[Path]:
    from probe.errors import UserError

    found = sorted(file.parent for file in folder.glob("*/config.json"))
    if not found:
        raise UserError(f"{folder} contains no folder with a config.json; give the folder that holds the checkpoints.")
    return found


def _models(folders: list[Path], spec: "ModelConfig") -> "dict[str, Autoencoder]":
    from probe import load_autoencoder
    from probe.names import shown

    return {shown(one.name): load_autoencoder(spec.model_copy(update={"source": str(one)})) for one in folders}
