"""``probe bench dynamics|certificates|sparse|dedup|busy``: speed against the tools that a user would otherwise take;
``probe bench ranks``: how well many ranks share work."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from probe.cli.options import Json, Overrides, config_argument, count, path_argument
from probe.cli.output import print_json
from probe.packaged import naming

if TYPE_CHECKING:
    from torch import Tensor

app = typer.Typer(no_args_is_help=True, help="Measure speed against other tools.")
Repeats = Annotated[int, count("Measurements of each contender; medians are printed.")]
ConfigFile = Annotated[Path | None, config_argument("CONFIG", "; default: the embedded autoencoder")]
Columns = Mapping[str, Callable[[Any], str]]
"""The text of a measurement by the head of the column."""


@app.command()
def dynamics(
    config: ConfigFile = None,
    overrides: Overrides = None,
    rows: Annotated[int | None, count("Batch size of the other tools; default: the same as ours.")] = None,
    repeats: Repeats = 3,
    as_json: Json = False,
) -> None:
    """Certified attractors per second: a plain loop, torchdeq (if installed) and ours, from the same starts."""
    from probe.config import load_config

    with naming(config):
        settings = load_config(config, overrides or ())

    from probe import LatentMap, load_autoencoder
    from probe.bench.dynamics import compare

    model = load_autoencoder(settings.model)
    shape = model.latent_shape(settings.resolution)
    f = LatentMap(model, clamp=settings.model.clamp)
    found = list(compare(f, settings, shape, rows=rows, repeats=repeats))
    on = "cpu" if model.device.type == "cpu" else "gpu"
    columns: dict[str, Callable[[Any], str]] = {
        "": lambda row: row.tool,
        "seconds": lambda row: f"{row.seconds:.2f}",
        "evaluations per start": lambda row: f"{row.evaluations:.1f}",
        "fixed points": lambda row: str(row.fixed),
        "certified": lambda row: str(row.certified),
        "certified / s": lambda row: f"{row.per_second:.2f}",
        "certified / s over the plain loop's": lambda row: f"{row.ratio:.2f}",
    }
    if on == "gpu":
        columns["share of peak"] = lambda row: "" if row.flops_share is None else f"{100 * row.flops_share:.0f} %"
    about = {"model": model.source, "latent_shape": shape, "starts": settings.seeds.count, "repeats": repeats}
    _show(found, columns, f"{model.source}, {settings.seeds.count} starts of {shape} on {on}", about, as_json)


@app.command()
def certificates(
    config: ConfigFile = None,
    overrides: Overrides = None,
    points: Annotated[int, count("Starts whose end points are certified.")] = 32,
    repeats: Repeats = 3,
    as_json: Json = False,
) -> None:
    """Products, plain evaluations of f and time a certificate: ARPACK and ours, at the same end points."""
    from probe.config import load_config

    with naming(config):
        settings = load_config(config, [*(overrides or ()), f"seeds.count={points}"])

    from probe import LatentMap, load_autoencoder
    from probe.bench.certificates import compare
    from probe.studies.probing.end_points import solve_all

    model = load_autoencoder(settings.model)
    shape, f = model.latent_shape(settings.resolution), LatentMap(model, clamp=settings.model.clamp)
    solver = settings.solver
    ends = solve_all(f, shape, settings.seeds, solver, device=model.device, dtype=model.dtype)
    found = list(
        compare(f, ends.end.to(model.device), tolerance=solver.tolerance, budget=solver.products, repeats=repeats)
    )
    columns: Columns = {
        "": lambda row: row.tool,
        "products": lambda row: f"{row.products:.1f}",
        "plain evaluations": lambda row: f"{row.steps:.1f}",
        "time in evaluations": lambda row: f"{row.evaluations:.0f}",
        "seconds": lambda row: f"{row.seconds:.2f}",
        "certified": lambda row: str(row.certified),
        "time / probe's": lambda row: f"{row.ratio:.2f}",
    }
    about = {"model": model.source, "latent_shape": shape, "points": points, "repeats": repeats}
    _show(found, columns, f"{model.source}, {points} points of {shape}, a certificate", about, as_json)


@app.command()
def sparse(
    run_dir: Annotated[
        Path | None, path_argument("RUN_DIR", "Use the dictionary of this run; default: smooth random fields.")
    ] = None,
    atoms: Annotated[int | None, count("Atoms per code; default: 5 % of d.")] = None,
    d: Annotated[int, count("Length of the random fields: 4 times a square number.", "--d", least=16)] = 4096,
    n_atoms: Annotated[int | None, count("Number of random fields; default: d.")] = None,
    signals: Annotated[int, count("Signals for ours and SPAMS; scikit-learn gets fewer.", least=2)] = 32,
    repeats: Repeats = 3,
    threads: Annotated[int, count("Threads of every contender.")] = 1,
    without_gram: Annotated[
        bool, typer.Option("--without-gram", help="Only what needs no Gram matrix, on random fields; with peak memory.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Milliseconds per sparse code: scikit-learn, SPAMS (if installed) and ours, on one dictionary."""
    import torch

    from probe.bench.sparse import compare, smooth_fields
    from probe.errors import UserError

    if run_dir is not None and without_gram:
        raise UserError("--without-gram measures random fields: leave out RUN_DIR.")
    if run_dir is not None:
        from jobs.run.directory import RunDirectory
        from probe.results.layout import DICTIONARY

        dictionary = RunDirectory.open(run_dir).load(DICTIONARY.name)[0]["atoms"]
    else:
        if d != 4 * round((d / 4) ** 0.5) ** 2:
            raise UserError(f"--d {d}: random fields have 4 channels on a square; use 1024 or 4096, for example.")
        rows = n_atoms or d
        dictionary = torch.empty(rows, d, device="meta") if without_gram else smooth_fields(rows, d, decay=6.0, seed=0)
    d, least = dictionary.shape[1], min(dictionary.shape)
    atoms = atoms or max(min(round(0.05 * d), (least + 1) // 2), 1)
    if atoms >= least:
        raise UserError(
            f"codes of {atoms} atoms leave nothing to choose among {len(dictionary)} atoms of {d} dimensions; lower "
            "--atoms."
        )
    about = {"n_atoms": len(dictionary), "d": d, "atoms": atoms, "signals": signals, "repeats": repeats}
    title = f"{len(dictionary)} atoms, d = {d}, codes of {atoms} atoms, {threads} threads"
    if without_gram:
        _show_without_gram(about, threads, title, as_json)
        return
    found = list(compare(dictionary, atoms=atoms, signals=signals, repeats=repeats, threads=threads))
    source = run_dir or "smooth random fields"
    columns: Columns = {
        "": lambda row: row.tool,
        "dtype": lambda row: row.dtype,
        "ms per signal": lambda row: f"{row.ms_per_signal:.2f}",
        "orthogonal_mp_gram's time / this": lambda row: f"{row.ratio:.2f}",
        "error, relative to float64": lambda row: f"{row.error_ratio:.6f}",
    }
    _show(found, columns, f"{source}: {title}", about, as_json)


def _show_without_gram(about: dict[str, int], threads: int, title: str, as_json: bool) -> None:
    from probe.bench.without_gram import Problem, compare

    columns: Columns = {
        "": lambda row: row.tool,
        "dtype": lambda row: row.dtype,
        "ms per signal": lambda row: f"{row.ms_per_signal:.2f}",
        "orthogonal_mp's time / this": lambda row: f"{row.ratio:.2f}",
        "MB of the dictionary": lambda row: f"{row.dictionary / 1e6:.0f}",
        "peak MB beside it": lambda row: f"{row.peak / 1e6:.0f}",
        "error, relative to float64": lambda row: f"{row.error_ratio:.6f}",
    }
    _show(list(compare(Problem(**about, threads=threads))), columns, f"random fields: {title}", about, as_json)


@app.command()
def dedup(
    run: Annotated[
        Path | None, path_argument("RUN_DIR", "Merge the end points of this run; default: random clusters.")
    ] = None,
    points: Annotated[int, count("Points in the random clusters.")] = 20_000,
    d: Annotated[int, count("Dimension of the points.", "--d", least=2)] = 256,
    clusters: Annotated[int, count("Number of clusters.")] = 1000,
    repeats: Repeats = 3,
    as_json: Json = False,
) -> None:
    """Merging end points: FAISS range search, scikit-learn, an N x N matrix and ours; time and memory."""
    from probe.bench import dedup as bench

    known: int | None = None
    if run is None:
        rows, known = bench.clusters(points, d, clusters)
        cosine, source = 0.99, "random clusters"
    else:
        rows, cosine = _end_points(run)
        source = str(run)
    found = bench.compare(rows, cosine, repeats=repeats)
    columns: Columns = {
        "": lambda row: row.tool,
        "seconds": lambda row: row.note or "-" if row.seconds is None else f"{row.seconds:.2f}",
        "atoms": lambda row: "-" if row.atoms is None else str(row.atoms),
        "components": lambda row: "-" if row.components is None else str(row.components),
        "recall": lambda row: "-" if row.recall is None else f"{row.recall:.4f}",
        "GiB": lambda row: "-" if row.gib is None else f"{row.gib:.2f}",
        "time / probe's": lambda row: "-" if row.ratio is None else f"{row.ratio:.2f}",
    }
    title = f"{len(rows)} points of {rows.shape[1]} dimensions, {source}, cosine > {cosine:g}"
    about = {"source": source, "points": len(rows), "d": rows.shape[1], "clusters": known, "repeats": repeats}
    _show(found, columns, title + (f"; {known} clusters" if known else ""), about, as_json)


@app.command()
def busy(
    starts: Annotated[int, count("Starts that are iterated; the more, the longer the work.")] = 128,
    spinners: Annotated[int, count("Processes that never rest beside the work.", least=0)] = 2,
    repeats: Repeats = 3,
    as_json: Json = False,
) -> None:
    """Work beside others that never rest: torch's own threads, passive ones, a single one and ours."""
    from probe.bench.busy import compare
    from probe.machine import cores

    found = compare(starts=starts, spinners=spinners, repeats=repeats)
    columns: Columns = {
        "": lambda row: row.tool,
        "threads": lambda row: str(row.threads),
        "seconds": lambda row: f"{statistics.median(row.seconds):.1f}",
        "least to most": lambda row: f"{min(row.seconds):.1f} to {max(row.seconds):.1f}",
        "fair share": lambda row: f"{row.fair_seconds:.1f}",
        "seconds / fair share": lambda row: f"{row.ratio:.2f}",
    }
    about = {"starts": starts, "spinners": spinners, "cores": cores(), "repeats": repeats}
    _show(found, columns, f"{starts} starts beside {spinners} spinning processes on {cores()} cores", about, as_json)


@app.command()
def ranks(
    processes: Annotated[int, count("Real processes on this machine, forked; 0: none.", least=0)] = 16,
    simulated: Annotated[int, count("Simulated ranks: threads on a real store; 0: none.", least=0)] = 1024,
    shards: Annotated[int, count("Shards, times the ranks.")] = 16,
    seconds: Annotated[float, typer.Option(min=0, help="That a simulated shard takes, in the mean.")] = 2.0,
    killed: Annotated[
        list[int] | None, typer.Option("--kill", metavar="RANK", min=0, help="A simulated rank to kill; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Many ranks on shards that cost nothing: time lost, claims a second, questions to the store of rank 0."""
    from probe.bench.ranks import compare
    from probe.errors import UserError
    from probe.machine import cores

    if 1 in (processes, simulated) or any(rank >= simulated for rank in killed or ()):
        raise UserError(
            "--processes and --simulated are 0 or from 2 on, and each --kill is one of the simulated ranks."
        )
    found = compare(processes=processes, simulated=simulated, shards=shards, mean=seconds, killed=killed or ())
    columns: Columns = {
        "": lambda row: row.what,
        f"{processes} processes": lambda row: row.real,
        f"{simulated} simulated": lambda row: row.simulated,
    }
    about = {"processes": processes, "simulated": simulated, "shards_each": shards, "seconds": seconds}
    _show(found, columns, f"ranks that share shards, on {cores()} cores", about, as_json)


def _show(rows: Sequence[Any], columns: Columns, title: str, about: Mapping[str, Any], as_json: bool) -> None:
    """Print the measurements as a table, or as JSON with what they are of."""
    if as_json:
        from jobs.provenance import describe_process

        print_json({**about, **describe_process(), "rows": [asdict(row) for row in rows]})
        return
    from rich.table import Table

    from probe.terminal import console

    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, justify="left" if name in ("", "dtype") else "right")
    for row in rows:
        table.add_row(*(text(row) for text in columns.values()))
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
        raise UserError(f"{run} has no end points with the outcomes {list(rule.outcomes)}, so nothing can be merged.")
    return rows, rule.cosine
