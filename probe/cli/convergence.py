"""``probe convergence MODEL|RUN_DIR``: predicted against actual steps."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import Json, OutDir, Overrides
from probe.cli.watch import watching

if TYPE_CHECKING:
    from probe.studies.sweeps.convergence import Convergence


def convergence(
    source: Annotated[str, typer.Argument(metavar="MODEL|RUN_DIR", help="As model.source, or the folder of a run.")],
    overrides: Overrides = None,
    out: OutDir = Path("runs/convergence"),
    as_json: Json = False,
) -> None:
    """Steps to an attractor against log(eps / ||z0 - z*||) / log(spectral radius) (Proposition A.9).

    Of a model, every Gaussian start is iterated plainly; of a run, its plain starts are taken. Writes convergence.png,
    convergence.svg and convergence.json.
    """
    from jobs.provenance import describe_process
    from probe.files import write_atomically
    from probe.report.figures.convergence import convergence_figure, sentence
    from probe.report.figures.run import render
    from probe.studies.sweeps.convergence import record

    folder = Path(source).expanduser()
    run = (folder / "manifest.json").is_file()
    found = _of_run(folder, overrides) if run else _of_model(source, overrides)
    content = {"source": source, **record(found), **describe_process()}
    text = json.dumps(content, allow_nan=False) + "\n"
    figure = convergence_figure(content, source)
    write_atomically(out / "convergence.png", render(figure, "png"))
    write_atomically(out / "convergence.svg", render(figure, "svg"))
    write_atomically(out / "convergence.json", text)
    print(text if as_json else f"{sentence(content)}\n{out}/convergence.png, .svg, .json\n", end="")


def _of_run(folder: Path, overrides: list[str] | None) -> "Convergence":
    from jobs.run.directory import RunDirectory
    from probe.errors import UserError
    from probe.results.layout import DICTIONARY
    from probe.studies.sweeps.convergence import of_run

    if overrides:
        raise UserError(f"--set changes nothing in {folder}, a run that was made; give its model for other settings.")
    run = RunDirectory.open(folder)
    return of_run(run.load(DICTIONARY.name)[0], run.config.seeds.count)


def _of_model(source: str, overrides: list[str] | None) -> "Convergence":
    from probe.config import parse_config, read_yaml

    settings = read_yaml(None, [f"model.source={json.dumps(source)}", *(overrides or ())])
    config = parse_config(settings)

    from probe import LatentMap, load_autoencoder
    from probe.studies.sweeps.convergence import convergence as study

    model = load_autoencoder(config.model)
    resolution = model.side if model.side and "resolution" not in settings else config.resolution
    starts, steps = config.seeds.count, config.solver.max_steps
    print(f"convergence: {starts} starts, each at most {steps} steps of f", file=sys.stderr)
    most = starts * (steps + 1) + config.solver.certificates * config.solver.products
    with watching("convergence", most) as watch:
        return study(
            LatentMap(watch.model(model), clamp=config.model.clamp),
            model.latent_shape(resolution),
            seeds=config.seeds,
            solver=config.solver,
            dictionary=config.dictionary,
            device=model.device,
            dtype=model.dtype,
        )
