"""``probe submit|status|cancel``: jobs on Slurm, and how far work is."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import ConfigFile, Json, Out, Overrides, RunDir, TrustCode, path_option
from probe.cli.output import print_json, print_rows
from probe.names import printable
from probe.packaged import naming
from probe.terminal import span

if TYPE_CHECKING:
    from rich.console import Group

    from jobs.status import Status


def submit(
    config: ConfigFile,
    cluster: Annotated[Path, path_option("--cluster", "FILE", "Cluster profile, for example slurm/example.yaml.")],
    overrides: Overrides = None,
    out: Out = None,
    trust_code: TrustCode = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the scripts and submit nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a run, study or other work to Slurm.

    Submits one job per stage and prints the job ids. The models of a study are shared by an array of tasks, and so is
    every stage with parts where the profile says `array`. Rerun the same command to resume.
    """
    from jobs.kinds import kind_of
    from jobs.lock import exclusive
    from jobs.slurm.profile import load_profile
    from jobs.slurm.submit import render
    from jobs.slurm.submit import submit as send
    from probe.config import read_yaml
    from probe.trust import is_in_run_directory, must_be_trusted, remember

    kind = kind_of(config)
    with naming(config):
        settings = kind.directory.parse(read_yaml(config, overrides or ()))
    directory = kind.directory(out or Path("runs") / config.stem, settings)
    profile = load_profile(cluster)
    for model in kind.models(settings):
        if is_in_run_directory(config) and not trust_code:
            must_be_trusted(model, config.parent)
        remember(model)
    if dry_run:
        scripts = render(directory, profile, cluster.parent)
        print(json.dumps(scripts, indent=1) if as_json else "\n".join(scripts.values()))
        return
    directory.refuse_foreign(directory.path)
    with exclusive(directory.path):
        jobs = send(kind.directory.create(directory.path, settings), profile, cluster.parent)
    print_rows(jobs, as_json)


def cancel(run_dir: RunDir, as_json: Json = False) -> None:
    """Cancel the Slurm jobs of a folder.

    Prints their ids. `probe submit` with the same CONFIG and --out resumes.
    """
    from jobs.kinds import kind_of
    from jobs.slurm.submit import cancel as withdraw

    jobs = withdraw(kind_of(run_dir).directory.open(run_dir).path)
    print(json.dumps(jobs) if as_json else f"cancelled: {', '.join(jobs) or 'nothing; no job was in the queue'}")


def status(
    run_dir: RunDir,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every 2 seconds until the run is complete.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far the work in a folder is.

    Shows its stages, what is done of what is planned, the rate, the remaining time, Slurm's states and the last error.
    """
    from rich.live import Live

    from jobs.status import read_status
    from probe.terminal import console

    now = read_status(run_dir)
    if as_json:
        print_json(now.as_dict())
        return
    if not watch:
        console().print(page(now))
        return
    with Live(page(now), console=console(), auto_refresh=False) as live:
        while now.state != "complete":
            time.sleep(2)
            now = read_status(run_dir)
            live.update(page(now), refresh=True)


def page(now: "Status") -> "Group":
    """A status as a table and lines."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False)
    slurm = any(stage.job for stage in now.stages)
    for name in ("stage", "state", "done", *(("job", "Slurm") if slurm else ())):
        table.add_column(name, justify="right" if name == "done" else "left")
    for stage in now.stages:
        done = f"{stage.done} of {'?' if stage.planned is None else stage.planned} {stage.unit}"
        table.add_row(stage.name, stage.state, done, *((stage.job or "", stage.slurm or "") if slurm else ()))
    lines = [f"{now.run_dir}: {now.state}"]
    if now.owner:
        lines.append(f"held by process {now.owner['pid']} on {now.owner['host']}, since {now.owner['since']}")
    last = now.progress
    if last and now.state in ("running", "not answering"):
        left = "" if last["seconds_left"] is None else f", {span(last['seconds_left'])} left"
        lines.append(
            f"{last['stage']}: {last['done']:g} of {last['total']:g} {last['unit']}, {last['rate']:.3g} per second"
            f"{left}, {last['ranks']} rank{'s' if last['ranks'] > 1 else ''} (as of {last['updated']})"
        )
    if now.slurm:
        lines.append(f"Slurm: {now.slurm}")
    lines += [stage.skipped for stage in now.stages if stage.skipped]
    lines += now.unreadable
    if error := now.last_error:
        lines.append(f"last error ({error['time']}, rank {error['rank']}): {error['message']}")
    first, *rest = map(printable, lines)
    return Group(Text(first, style="bold"), table, *map(Text, rest))
