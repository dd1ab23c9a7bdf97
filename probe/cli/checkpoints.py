"""``probe checkpoints FOLDER``: attractors across training."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import PAPER, Json, OutDir, Overrides, save_figure
from probe.cli.watch import watching
from probe.names import given_path


def checkpoints(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Contains one model folder per checkpoint.", parser=given_path),
    ],
    train: Annotated[str, typer.Option(metavar="SPEC", help="The training images: parquet:PATH, folder:PATH, ...")],
    test: Annotated[str, typer.Option(metavar="SPEC", help="Test images of the same kind.")],
    n: Annotated[int, typer.Option("--n", min=4, max=1_000_000, help="Starts of each kind, and test images.")] = 500,
    memory: Annotated[
        int, typer.Option(min=4, max=1_000_000, help="Training images to search for the nearest one.")
    ] = 10_000,
    side: Annotated[
        int | None,
        typer.Option(min=1, max=8192, help="Draw images at this size and pad them to the model's (28 to 32)."),
    ] = None,
    overrides: Overrides = None,
    out: OutDir = Path("runs/checkpoints"),
    as_json: Json = False,
) -> None:
    """Measure attractors and memorization at every checkpoint.

    At each checkpoint, in the order of the folders' names: distinct attractors, memorization, Chamfer similarity, FPR95
    of noise and spectral norms. Writes checkpoints.png, film.png (and .svg), checkpoints.md and checkpoints.json.
    """
    from probe.config import load_config
    from probe.errors import UserError

    config = load_config(None, [*PAPER, *(overrides or ())])
    found = sorted(file.parent for file in folder.glob("*/config.json"))
    if not found:
        raise UserError(f"{folder} has no subfolder with a config.json; give the folder that contains the checkpoints.")

    from jobs.provenance import describe_process
    from probe import load_autoencoder
    from probe.files import write_atomically
    from probe.names import shown
    from probe.report.figures.checkpoints import film_strip, training_figure, training_table
    from probe.studies.inputs import drawn
    from probe.studies.sweeps.across_training import across_training, most_evaluations

    with watching(f"checkpoints: loading {len(found)} models, drawing up to {memory + n} images"):
        models = {
            shown(one.name): load_autoencoder(config.model.model_copy(update={"source": str(one)})) for one in found
        }
        first = next(iter(models.values()))
        drawn_side = side or first.side or config.resolution
        images = {"train": drawn(first, train, memory, drawn_side), "test": drawn(first, test, n, drawn_side)}
    seen, unseen = images["train"].images, images["test"].images
    most = len(models) * most_evaluations(len(seen), len(unseen), solver=config.solver, starts=n)
    print(
        f"checkpoints: {len(models)} models, up to {n} starts of each of 4 kinds, each iterated twice for at most "
        f"{config.solver.max_steps} steps: up to about {most:,} evaluations of f; lower --n or solver.max_steps to "
        "reduce that",
        file=sys.stderr,
    )
    with watching("checkpoints", most) as watch:
        measured = dict(
            across_training(
                {name: watch.model(model) for name, model in models.items()},
                seen,
                unseen,
                solver=config.solver,
                dictionary=config.dictionary,
                starts=n,
                seed=config.seeds.seed,
                on_part=watch.say,
            )
        )
    records = {name: one.values for name, one in measured.items()}
    films = {name: one.film.numpy() for name, one in measured.items()}
    about = {name: {"source": one.source, "sha256": one.sha256, "n": len(one.ids)} for name, one in images.items()}
    content = {"images": about, "solver": config.solver.model_dump(), "checkpoints": records, **describe_process()}
    text, table = json.dumps(content, allow_nan=False, indent=1) + "\n", training_table(records)
    save_figure(out, "checkpoints", training_figure(records, str(folder)))
    save_figure(out, "film", film_strip(seen[: len(next(iter(films.values())))].numpy(), films))
    write_atomically(out / "checkpoints.md", table)
    write_atomically(out / "checkpoints.json", text)
    print(text if as_json else table, end="")
