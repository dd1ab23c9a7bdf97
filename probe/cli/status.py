"""``probe status RUN_DIR``: the progress of a run."""

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import Json, RunDir
from probe.names import printable
from probe.terminal import span

if TYPE_CHECKING:
    from rich.console import Group

    from jobs.status import Status


def status(
    run_dir: RunDir,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every 2 seconds until the run is complete.")] = False,
    as_json: Json = False,
) -> None:
    """Show the progress of a run, study or OOD experiment.

    Shows its stages, what is done of what is planned, the rate, the remaining time, Slurm's states and the last error.
    """
    from rich.live import Live

    from jobs.status import read_status
    from probe.terminal import console

    now = read_status(run_dir)
    if as_json:
        print(json.dumps(now.as_dict(), indent=1))
        return
    if not watch:
        console().print(_page(now))
        return
    with Live(_page(now), console=console(), auto_refresh=False) as live:
        while now.state != "complete":
            time.sleep(2)
            now = read_status(run_dir)
            live.update(_page(now), refresh=True)


def _page(now: "Status") -> "Group":
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
    lines += now.unreadable
    error = now.last_error
    if error:
        lines.append(f"last error ({error['time']}, rank {error['rank']}): {error['message']}")
    first, *rest = map(printable, lines)
    return Group(Text(first, style="bold"), table, *map(Text, rest))
