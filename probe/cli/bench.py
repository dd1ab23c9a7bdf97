"""``probe bench dynamics|sparse|dedup``: speed against the tools that a user would otherwise take."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import Json, Overrides
from probe.names import given_path

if TYPE_CHECKING:
    from torch import Tensor

app = typer.Typer(no_args_is_help=True, help="Measure speed against other tools, on the same data in one run.")
Configured = Annotated[
    Path | None,
    typer.Argument(metavar="[CONFIG]", help="YAML file; without it the embedded autoencoder.", parser=given_path),
]
Repeats = Annotated[
    int, typer.Option(min=1, max=1_000_000, help="How often each contender is measured; medians are shown.")
]


@app.command()
def dynamics(
    config: Configured = None,
    overrides: Overrides = None,
    rows: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Rows that the others take at once; as ours.")
    ] = None,
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

    from probe.terminal import console

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


@app.command()
def sparse(
    run_dir: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN_DIR]",
            help="Use the dictionary of this run; without it smooth random fields.",
            parser=given_path,
        ),
    ] = None,
    atoms: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Atoms a code; by default 5 % of d.")] = None,
    d: Annotated[
        int, typer.Option("--d", min=16, max=1_000_000, help="Length of the random fields, 4 times a square.")
    ] = 4096,
    n_atoms: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="How many random fields; by default as many as d.")
    ] = None,
    signals: Annotated[
        int, typer.Option(min=2, max=1_000_000, help="Signals of ours and SPAMS; scikit-learn gets fewer.")
    ] = 32,
    repeats: Repeats = 3,
    threads: Annotated[int, typer.Option(min=1, max=1_000_000, help="Threads of every contender.")] = 1,
    as_json: Json = False,
) -> None:
    """Milliseconds a sparse code: scikit-learn, SPAMS (if installed) and ours, on one dictionary."""
    from jobs.provenance import describe_process
    from probe.bench.sparse import compare, smooth_fields
    from probe.errors import UserError

    if run_dir is not None:
        from jobs.run.directory import RunDirectory
        from probe.results.layout import DICTIONARY

        dictionary = RunDirectory.open(run_dir).load(DICTIONARY.name)[0]["atoms"]
    else:
        if d != 4 * round((d / 4) ** 0.5) ** 2:
            raise UserError(f"--d {d}: random fields have 4 channels on a square; take 1024 or 4096, for example.")
        dictionary = smooth_fields(n_atoms or d, d, decay=6.0, seed=0)
    d, least = dictionary.shape[1], min(dictionary.shape)
    atoms = atoms or max(min(round(0.05 * d), (least + 1) // 2), 1)
    if atoms >= least:
        raise UserError(
            f"codes of {atoms} atoms are no choice among {len(dictionary)} of {d} dimensions; --atoms less."
        )
    found = list(compare(dictionary, atoms=atoms, signals=signals, repeats=repeats, threads=threads))
    if as_json:
        about = {"n_atoms": len(dictionary), "d": d, "atoms": atoms, "signals": signals, "repeats": repeats}
        print(json.dumps({**about, **describe_process(), "rows": [asdict(row) for row in found]}, indent=1))
        return
    from rich.table import Table

    from probe.terminal import console

    source = run_dir or "smooth random fields"
    title = f"{source}: {len(dictionary)} atoms, d = {d}, codes of {atoms} atoms, {threads} threads"
    table = Table(title=title, title_justify="left")
    for name in ["", "dtype", "ms a signal", "ratio", "error, relative to float64"]:
        table.add_column(name, justify="left" if name in ("", "dtype") else "right")
    for row in found:
        table.add_row(row.tool, row.dtype, f"{row.ms_per_signal:.2f}", f"{row.ratio:.2f}", f"{row.error_ratio:.6f}")
    console().print(table)


EndPointsOf = Annotated[
    Path | None,
    typer.Argument(
        metavar="[RUN_DIR]", help="Merge the end points of a run; without it random clusters.", parser=given_path
    ),
]


@app.command()
def dedup(
    run: EndPointsOf = None,
    points: Annotated[int, typer.Option(min=1, max=1_000_000, help="Points in random clusters.")] = 20_000,
    d: Annotated[int, typer.Option("--d", min=2, max=1_000_000, help="Their dimension.")] = 256,
    clusters: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of clusters.")] = 1000,
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

    from probe.terminal import console

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
    from jobs.run.attractors import load_end_points
    from jobs.run.directory import RunDirectory
    from probe.errors import UserError
    from probe.studies.probing.dictionary import admitted

    directory = RunDirectory.open(run)
    ends, rule = load_end_points(directory), directory.config.dictionary
    rows = ends.end[admitted(ends, rule)].flatten(1).float()
    rows = rows[rows.any(1)]
    if not len(rows):
        raise UserError(f"{run} has no end point of the outcomes {list(rule.outcomes)}: there is nothing to merge.")
    return rows, rule.cosine
