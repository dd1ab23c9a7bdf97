"""``probe field MODEL``: the latent vector field as a picture and as numbers."""

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from probe.cli.options import PAPER, Json, OutDir, Overrides, Side, config_of_model, count, save_figure
from probe.cli.watch import watching


def field(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As model.source: a folder, hub id, python:...")],
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Images to encode: a preset, or parquet:PATH, folder:PATH, ...")
    ] = None,
    n: Annotated[int, count("Number of images.", "--n", least=3)] = 500,
    side: Side = None,
    extent: Annotated[
        float | None,
        typer.Option(min=1e-6, max=1e6, help="Half the side of the window; default: 8, or enough to show the points."),
    ] = None,
    points: Annotated[int, typer.Option(min=5, max=1001, help="Grid points along an axis.")] = 61,
    overrides: Overrides = None,
    out: OutDir = Path("runs/field"),
    as_json: Json = False,
) -> None:
    """Draw the latent vector field f(z) - z.

    Shows its norm, streamlines, attractors, basins and encoded images; for d > 2 on the principal plane. Writes
    field.png, field.svg and field.json.
    """
    config = config_of_model(model, overrides, PAPER)

    from jobs.provenance import describe_process
    from probe import LatentMap, load_autoencoder
    from probe.files import write_atomically
    from probe.report.figures.field import field_figure
    from probe.studies.field import most_evaluations, record, vector_field
    from probe.studies.inputs import drawn, encode

    loaded = load_autoencoder(config.model)
    resolution = loaded.side if loaded.side and "resolution" not in config.model_fields_set else config.resolution
    shape = loaded.latent_shape(resolution)
    images = drawn(loaded, data, n, side or resolution) if data else None
    print(
        f"field: iterating {points**2} grid points and {config.seeds.count} starts, d = {math.prod(shape)}, for at "
        f"most {config.solver.max_steps} steps each",
        file=sys.stderr,
    )
    with watching("field", most_evaluations(points, config.seeds, config.solver)) as watch:
        found = vector_field(
            LatentMap(watch.model(loaded), clamp=config.model.clamp),
            shape,
            seeds=config.seeds,
            solver=config.solver,
            dictionary=config.dictionary,
            data=encode(loaded, images.images, resolution) if images else None,
            extent=extent,
            points=points,
            device=loaded.device,
            dtype=loaded.dtype,
        )
    content = {
        "model": {"source": model, "class": loaded.class_name, "weights_sha256": loaded.weights_sha256()},
        "solver": config.solver.model_dump(),
        "images": images and {"source": images.source, "sha256": images.sha256, "n": len(images.ids)},
        **record(found, images.labels if images else None),
        **describe_process(),
    }
    save_figure(out, "field", field_figure(content, f"{loaded.class_name}, {model}"))
    write_atomically(out / "field.json", json.dumps(content, allow_nan=False) + "\n")
    print(json.dumps(content, allow_nan=False) if as_json else _summary(content, out))


def _summary(content: dict[str, Any], out: Path) -> str:
    from probe.report.page.text import count

    plane, points = content["plane"], content["fixed_points"]
    certified = [point for point in points if point["certificate"] == "attractor"]
    share = 100 * sum(point["grid_share"] for point in certified)
    lines = [
        f"{count(len(points), 'distinct fixed point')}, {count(len(certified), 'certified attractor')}; {share:.0f} % "
        "of the grid points converge to a certified attractor.",
        f"{out}/field.png, field.svg, field.json",
    ]
    if plane["projection"]:
        lines.insert(
            1,
            f"Projection of {content['d']} dimensions onto the principal plane of the {plane['of']}; it contains "
            f"{100 * plane['field_share']:.0f} % of the field's norm and {100 * plane['variance_share']:.0f} % of the "
            "points' variance.",
        )
    return "\n".join(lines)
