"""``probe contraction``: the variance that random weights leave."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import Json, OutDir
from probe.cli.watch import watching


def contraction(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Architectures, as the table names them; all.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1_000_000, help="Random weights of each architecture.")] = 10,
    samples: Annotated[int, typer.Option(min=2, max=1_000_000, help="Inputs and latents of each model.")] = 64,
    out: OutDir = Path("runs/contraction"),
    as_json: Json = False,
) -> None:
    """Variance ratio out/in of untrained autoencoders, around (D after E) and of the latent map, over seeds.

    Writes contraction.png, contraction.svg, contraction.md and contraction.json.
    """
    from jobs.provenance import describe_process
    from probe.files import write_atomically
    from probe.report.figures.contraction import contraction_figure, contraction_table
    from probe.report.figures.run import render
    from probe.studies.sweeps import contraction as study

    wanted, records = study.known(names or None), []
    with watching("contraction") as watch:
        watch.say(f"architecture 1 of {len(wanted)}, {wanted[0]}")
        for done, one in enumerate(study.contraction(wanted, seeds=range(seeds), samples=samples), 1):
            records.append(study.record(one))
            if done < len(wanted):
                watch.say(f"architecture {done + 1} of {len(wanted)}, {wanted[done]}")
    content = {"seeds": seeds, "samples": samples, "architectures": records, **describe_process()}
    table, figure = contraction_table(records), contraction_figure(records)
    text = json.dumps(content, allow_nan=False, indent=1) + "\n"
    write_atomically(out / "contraction.png", render(figure, "png"))
    write_atomically(out / "contraction.svg", render(figure, "svg"))
    write_atomically(out / "contraction.md", table)
    write_atomically(out / "contraction.json", text)
    print(text if as_json else table, end="")
