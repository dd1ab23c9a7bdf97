"""``probe bench dynamics``: speed against the tools that a user would otherwise take."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import Json, Overrides

app = typer.Typer(no_args_is_help=True, help="Measure speed against other tools, on the same data in one run.")
Configured = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG]", help="YAML file; without it the embedded autoencoder.")
]
Repeats = Annotated[int, typer.Option(min=1, help="How often each contender is measured; medians are shown.")]


@app.command()
def dynamics(
    config: Configured = None,
    overrides: Overrides = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Rows that the others take at once; as ours.")] = None,
    repeats: Repeats = 3,
    as_json: Json = False,
) -> None:
    """Certified attractors a second: a plain loop, torchdeq (if installed) and ours, from the same starts."""
    from probe.config import load_config

    settings = load_config(config, overrides or ())

    from jobs.provenance import describe_process
    from probe import LatentMap, load_autoencoder
    from probe.bench.dynamics import compare

    model = load_autoencoder(settings.model)
    shape = model.latent_shape(settings.resolution)
    f = LatentMap(model, clamp=settings.model.clamp)
    found = list(compare(f, settings, shape, rows=rows, repeats=repeats))
    if as_json:
        about = {"model": model.source, "latent_shape": shape, "starts": settings.seeds.count, "repeats": repeats}
        print(json.dumps({**about, **describe_process(), "rows": [asdict(row) for row in found]}, indent=1))
        return
    from rich.table import Table

    from probe.cli.run import console

    on = "cpu" if model.device.type == "cpu" else "gpu"
    table = Table(title=f"{model.source}, {settings.seeds.count} starts of {shape} on {on}", title_justify="left")
    names = ["", "seconds", "evaluations a start", "fixed points", "certified", "certified / s", "ratio"]
    for name in names + (["share of peak"] if on == "gpu" else []):
        table.add_column(name, justify="left" if not name else "right")
    for row in found:
        cells = [
            row.tool,
            f"{row.seconds:.2f}",
            f"{row.evaluations:.1f}",
            str(row.fixed),
            str(row.certified),
            f"{row.per_second:.2f}",
            f"{row.ratio:.2f}",
        ]
        table.add_row(*cells, *([f"{100 * row.flops_share:.0f} %"] if row.flops_share is not None else []))
    console().print(table)
