"""``probe plan CONFIG``: what a piece of work will cost, before it is begun."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import ConfigFile, Overrides, count, path_option


def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    gpu: Annotated[
        list[str] | None,
        typer.Option("--gpu", metavar="NAME", help="Plan for this GPU, such as H100 or A100; repeatable."),
    ] = None,
    gpus: Annotated[int, count("GPUs, or processes, that share the work.", "--gpus")] = 1,
    pilot: Annotated[
        int | None,
        count(
            "First starts to iterate here, to know how many steps they take; 0: none. Default: up to 32, where that "
            "takes seconds.",
            "--pilot",
            least=0,
        ),
    ] = None,
    to: Annotated[Path | None, path_option("--json", "FILE", "Also write the plan as JSON.")] = None,
) -> None:
    """Show what a configuration will cost, before it is run.

    Prints for each stage FLOPs, memory, files and the expected time, then what dominates and what would halve it.
    Without --gpu the time is that of this machine, whose speed is measured in some seconds. With --gpu it follows from
    a table of GPUs, and of a model on the hub only config.json is read.
    """
    from probe.config import load_config

    settings = load_config(config, overrides or ())

    from probe.files import write_atomically
    from probe.plan.plan import plan_run
    from probe.plan.show import as_json, lines, table
    from probe.terminal import console

    plans = plan_run(settings, gpu or (), gpus, pilot)
    out = console()
    out.print(table(plans))
    for line in lines(plans):
        out.print(line, soft_wrap=True)
    if to is not None:
        write_atomically(to, json.dumps([as_json(one) for one in plans], indent=1).encode())
