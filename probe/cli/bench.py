"""``probe bench dynamics|dedup``: speed against the tools that a user would otherwise take."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import Json, Overrides

if TYPE_CHECKING:
    from torch import Tensor

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


EndPointsOf = Annotated[
    Path | None, typer.Argument(metavar="[RUN_DIR]", help="Merge the end points of a run; without it random clusters.")
]


@app.command()
def dedup(
    run: EndPointsOf = None,
    points: Annotated[int, typer.Option(min=1, help="Points in random clusters.")] = 20_000,
    d: Annotated[int, typer.Option("--d", min=2, help="Their dimension.")] = 256,
    clusters: Annotated[int, typer.Option(min=1, help="Number of clusters.")] = 1000,
    repeats: Repeats = 3,
    as_json: Json = False,
) -> None:
    """Merging end points into atoms: FAISS range search, scikit-learn, an N x N matrix and ours, on the same points."""
    from jobs.provenance import describe_process
    from probe.bench import dedup as bench

    if run is None:
        known: int | None
        rows, known = bench.clusters(points, d, clusters)
        cosine, source = 0.99, "random clusters"
    else:
        rows, cosine = _end_points(run)
        known, source = None, str(run)
    found = bench.compare(rows, cosine, repeats=repeats)
    if as_json:
        about = {"source": source, "points": len(rows), "d": rows.shape[1], "clusters": known, "repeats": repeats}
        print(json.dumps({**about, **describe_process(), "rows": [asdict(row) for row in found]}, indent=1))
        return
    from rich.table import Table

    from probe.cli.run import console

    title = f"{len(rows)} points of {rows.shape[1]} dimensions, {source}, cosine > {cosine:g}"
    table = Table(title=title + (f"; {known} clusters" if known else ""), title_justify="left")
    for name in ("", "seconds", "atoms", "components", "times ours"):
        table.add_column(name, justify="left" if not name else "right")
    for row in found:
        cells = [row.note or "-" if row.seconds is None else f"{row.seconds:.2f}"]
        cells += ["-" if count is None else str(count) for count in (row.atoms, row.components)]
        table.add_row(row.tool, *cells, "-" if row.ratio is None else f"{row.ratio:.2f}")
    console().print(table)


def _end_points(run: Path) -> "tuple[Tensor, float]":
    """The end points of a run that may become atoms (n, d), and its threshold."""
    from jobs.run_directory import RunDirectory
    from jobs.stages import Stages
    from probe.errors import UserError
    from probe.studies.dictionary import admitted

    stages = Stages(RunDirectory.open(run))
    ends, rule = stages.end_points(), stages.run.config.dictionary
    rows = ends.end[admitted(ends, rule)].flatten(1).float()
    rows = rows[rows.any(1)]
    if not len(rows):
        raise UserError(f"{run} has no end point of the outcomes {list(rule.outcomes)}: there is nothing to merge.")
    return rows, rule.cosine
