"""``probe checkpoints FOLDER``: attractors across training."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import PAPER, Json, OutDir, Overrides, Side, count, path_argument
from probe.cli.output import print_json
from probe.cli.watch import watching
from probe.terminal import console

COST = (
    "checkpoints: {models} models, up to {n} starts of each of 4 kinds, each iterated twice for at most {steps} steps: "
    "up to about {most:,} evaluations of f; lower --n or solver.max_steps to reduce that"
)


def checkpoints(
    folder: Annotated[Path, path_argument("FOLDER", "Contains one model folder per checkpoint.")],
    train: Annotated[str, typer.Option(metavar="SPEC", help="The training images: parquet:PATH, folder:PATH, ...")],
    test: Annotated[str, typer.Option(metavar="SPEC", help="Test images of the same kind.")],
    n: Annotated[int, count("Starts of each kind, and test images.", "--n", least=4)] = 500,
    memory: Annotated[int, count("Training images to search for the nearest one.", least=4)] = 10_000,
    side: Side = None,
    overrides: Overrides = None,
    out: OutDir = Path("runs/checkpoints"),
    as_json: Json = False,
) -> None:
    """Measure attractors and memorization at every checkpoint.

    At each checkpoint, in the order of the folders' names: distinct attractors, memorization, Chamfer similarity, FPR95
    of noise and spectral norms. Writes checkpoints.png, film.png (and .svg), checkpoints.md and checkpoints.json.
    """
    from jobs.provenance import describe_process
    from probe.config import load_config
    from probe.report.study.across_training import write_checkpoints
    from probe.studies.sweeps.across_training import measure_read, most_evaluations, read_checkpoints

    config = load_config(None, [*PAPER, *(overrides or ())])
    with watching(f"checkpoints: loading the models, drawing up to {memory + n} images"):
        models, images = read_checkpoints(folder, config, train=train, test=test, memory=memory, starts=n, side=side)
    sizes = {part: len(one.images) for part, one in images.items()}
    most = len(models) * most_evaluations(**sizes, solver=config.solver, starts=n)
    print(COST.format(models=len(models), n=n, steps=config.solver.max_steps, most=most), file=sys.stderr)
    with watching("checkpoints", most) as watch:
        found = measure_read(models, images, config, n, watch.model, lambda share, note: watch.say(note))
    content = {**found.values, **describe_process()}
    table = write_checkpoints(out, content, {name: one.numpy() for name, one in found.tensors.items()}, str(folder))
    if as_json:
        print_json(content)
    else:
        console().print(table.rich())
