"""``probe plan CONFIG``: what a piece of work will cost, before it is begun."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import ConfigFile, Overrides, count, path_option
from probe.packaged import naming


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
    cluster: Annotated[
        Path | None, path_option("--cluster", "FILE", "Also show the Slurm jobs, by a cluster profile.")
    ] = None,
    to: Annotated[Path | None, path_option("--json", "FILE", "Also write the plan as JSON.")] = None,
) -> None:
    """Show what a configuration will cost, before it is run.

    Prints for each stage FLOPs, memory, files and the expected time, then what dominates and what would halve it.
    Without --gpu the time is that of this machine, whose speed is measured in some seconds. With --gpu it follows from
    a table of GPUs, and of a model on the hub only config.json is read.
    """
    from jobs.doing import doing_of
    from jobs.kinds import kind_of
    from jobs.slurm.expected import expected_jobs, jobs_table
    from jobs.slurm.profile import is_profile, load_profile
    from probe.config import read_yaml
    from probe.errors import UserError
    from probe.files import write_atomically
    from probe.plan.show import as_json, lines, table
    from probe.terminal import console

    kind = kind_of(config)
    with naming(config):
        data = read_yaml(config, overrides or ())
        if is_profile(data):
            raise UserError(f"{config} is a cluster profile, no configuration: probe plan CONFIG --cluster {config}.")
        settings = kind.directory.parse(data)
    profile = load_profile(cluster) if cluster else None
    plans = doing_of(kind).plan(settings, gpu or (), gpus, pilot)
    out = console()
    out.print(table(plans))
    for line in lines(plans):
        out.print(line, soft_wrap=True)
    found = [as_json(one) for one in plans]
    if profile is not None:
        for one, content in zip(plans, found, strict=True):
            jobs = expected_jobs(kind, settings, profile, {stage.name: stage for stage in one.stages}, one.machine)
            out.print(jobs_table(jobs, one.machine))
            for warning in (warning for job in jobs for warning in job.warnings):
                out.print(f"warning: {warning}", soft_wrap=True)
            for hint in (hint for job in jobs for hint in job.hints):
                out.print(f"- {hint}", soft_wrap=True)
            content["jobs"] = [asdict(job) for job in jobs]
    if to is not None:
        write_atomically(to, json.dumps(found, indent=1).encode())
