"""``probe --server URL COMMAND``: commands that a server does. What is shown is shown as by the commands that run here.

No torch is needed to ask a server; only the tables of some reports still import it.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.stopping import INTERRUPTED, STATUS, Ended
from probe.cli.options import ConfigFile, Json, Overrides, count, path_argument
from probe.cli.output import print_json
from probe.cli.roundtrip import Between, Cycles, Images, Models, asked_for
from probe.cli.work import ModelSource, OptionalConfig, named, print_report, read_settings
from probe.errors import Failure, UserError
from probe.names import printable
from probe.packaged import naming
from probe.terminal import amount, console, span

if TYPE_CHECKING:
    from rich.console import Group

    from probe.client import Client, RemoteRun
    from probe.kinds import Kind

LINE_EVERY = 30.0
"""Seconds between lines of progress if stderr is no terminal."""
Id = Annotated[str, typer.Argument(metavar="ID", help="The run's id, as `status` lists it.")]
Name = Annotated[str | None, typer.Option("--name", help="Shown in lists; default: the configuration's name.")]
OwnId = Annotated[
    str | None,
    typer.Option(
        "--id", metavar="ID", help="The id to have; the same command with the same id resumes. Default: a new one."
    ),
]
Executor = Annotated[
    str | None, typer.Option("--executor", metavar="local|slurm", help="Where it runs; default: as the server says.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Print the id, and do not wait for the end.")]


def run(
    ctx: typer.Context,
    config: OptionalConfig = None,
    model: ModelSource = None,
    overrides: Overrides = None,
    name: Name = None,
    id: OwnId = None,
    executor: Executor = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Probe an autoencoder on the server and print the report.

    Ctrl-C stops watching, and the run goes on.
    """
    title, words = named(config, model)
    _submit(ctx, "run", config, [*words, *(overrides or ())], name or title, id, executor, detach, as_json)


def study(
    ctx: typer.Context,
    config: ConfigFile,
    overrides: Overrides = None,
    name: Name = None,
    id: OwnId = None,
    executor: Executor = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Do a study on the server and print the report."""
    _submit(ctx, "study", config, overrides or [], name or config.stem, id, executor, detach, as_json)


def ood(
    ctx: typer.Context,
    config: ConfigFile,
    overrides: Overrides = None,
    name: Name = None,
    id: OwnId = None,
    executor: Executor = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Do an OOD experiment on the server and print the report."""
    _submit(ctx, "ood", config, overrides or [], name or config.stem, id, executor, detach, as_json)


def roundtrip(
    ctx: typer.Context,
    models: Models,
    images: Images = None,
    cycles: Cycles = None,
    between: Between = None,
    overrides: Overrides = None,
    name: Name = None,
    id: OwnId = None,
    executor: Executor = None,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Encode and decode images again and again on the server, and print the report."""
    config, title, words = asked_for(models, images, cycles, between)
    _submit(ctx, "roundtrip", config, [*words, *(overrides or ())], name or title, id, executor, detach, as_json)


def status(
    ctx: typer.Context,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A run; default: list the runs.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until the run has ended.")] = False,
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="List only queued, running, done, ...; repeatable.")
    ] = None,
    limit: Annotated[int, count("Runs in the list.", "--limit")] = 50,
    as_json: Json = False,
) -> None:
    """Show how far a run on the server is, or list its runs."""
    client = _client(ctx)
    if id is None:
        _list([one.data for one in islice(client.runs(state or ()), limit)], as_json)
        return
    found = client.run(id)
    if as_json:
        print_json(found.data)
    elif not watch:
        console().print(_page(found))
    else:
        from rich.live import Live

        with _detaching(ctx, found), Live(_page(found), console=console(), auto_refresh=False) as live:
            for _ in found.events():
                live.update(_page(found), refresh=True)


def cancel(ctx: typer.Context, id: Id, as_json: Json = False) -> None:
    """Cancel a run on the server; what is done is kept."""
    found = _client(ctx).run(id).cancel()
    print(json.dumps(found.data) if as_json else f"{found.id}: {found.state}")


def resume(ctx: typer.Context, id: Id, detach: Detach = False, as_json: Json = False) -> None:
    """Go on with a run on the server that failed or was cancelled."""
    found = _client(ctx).run(id).resume()
    _print_id(found, as_json) if detach else _until_the_end(ctx, found, as_json)


def report(ctx: typer.Context, id: Id, as_json: Json = False) -> None:
    """Print the report of a finished run on the server."""
    found = _client(ctx).run(id)
    print_report(found.kind, found.report, as_json)


def logs(
    ctx: typer.Context,
    id: Id,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run has ended.")] = False,
) -> None:
    """Print the log of a run on the server."""
    found = _client(ctx).run(id)
    with _detaching(ctx, found):
        for line in found.log(follow):
            print(line, flush=follow)


def download(
    ctx: typer.Context, id: Id, folder: Annotated[Path, path_argument("FOLDER", "Where the files go; made if absent.")]
) -> None:
    """Fetch the files of a run on the server; the same command resumes."""
    files = _client(ctx).run(id).download(folder)
    print(f"{folder}: {amount(len(files), 'files')}")


def compare(
    ctx: typer.Context,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Finished runs; differences are to the first one.")],
    as_json: Json = False,
) -> None:
    """Compare finished runs on the server, on the same images."""
    client = _client(ctx)
    if as_json:
        print_json(client.compare(*ids))
    else:
        print(client.comparison_text(*ids), end="")


def plan(ctx: typer.Context, config: ConfigFile, overrides: Overrides = None, as_json: Json = False) -> None:
    """Show what a configuration will cost on the server, before it is run."""
    from probe.config import read_yaml

    with naming(config):
        found = _client(ctx).plan(read_yaml(config, overrides or ()))
    if as_json:
        print_json(found["plans"])
    else:
        print(found["text"], end="")


COMMANDS: dict[str, Callable[..., None]] = {
    one.__name__: one
    for one in (run, study, ood, roundtrip, status, cancel, resume, report, logs, download, compare, plan)
}
"""What ``probe --server URL`` can do; ``probe/cli/main.py`` looks here first."""
app = typer.Typer(rich_markup_mode=None)
for _name, _function in COMMANDS.items():
    app.command(_name)(_function)


def not_there(name: str) -> str:
    """The sentence about a command that no server does."""
    return f"`probe {name}` is not done by a server, which can do {', '.join(COMMANDS)}; leave --server out."


def _client(ctx: typer.Context) -> "Client":
    """The server that the command line, or PROBE_SERVER, names."""
    made: Client = ctx.obj()
    return made


def _submit(
    ctx: typer.Context,
    kind: "Kind",
    config: Path | None,
    overrides: list[str],
    name: str,
    id: str | None,
    executor: str | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Queue it, or go on with the one of this id; then watch it to its end."""
    with naming(config):
        settings = read_settings(kind, config, overrides)
        found = _client(ctx).submit(settings, name=name, id=id, executor=executor, kind=kind)
    if found.state in ("failed", "cancelled", "lost"):  # as the same command resumes what stopped here
        found = found.resume()
    if detach:
        _print_id(found, as_json)
    else:
        _until_the_end(ctx, found, as_json)


def _print_id(found: "RemoteRun", as_json: bool) -> None:
    print(json.dumps(found.data) if as_json else found.id)


def _until_the_end(ctx: typer.Context, found: "RemoteRun", as_json: bool) -> None:
    """Show progress, then the report; ends as the command that runs here would have.

    Raises:
        UserError, Failure: why it failed, or is lost.
        Ended: it was cancelled, or this command was interrupted.
    """
    print(f"{found.id} on {found.client.url}: Ctrl-C stops watching, not the run", file=sys.stderr, flush=True)
    with _detaching(ctx, found), _progress() as show:
        for data in found.events():
            show(data)
    if found.state == "done":
        print_report(found.kind, found.report, as_json)
        return
    error = found.data.get("error") or {}
    said = str(error.get("message") or found.reason or f"{found.id} is {found.state}.")
    if found.state == "cancelled":
        raise Ended(STATUS, f"{found.id} was cancelled; `{_command(ctx)} resume {found.id}` resumes.")
    raise UserError(said) if found.state == "failed" and error.get("status") == 2 else Failure(said)


@contextmanager
def _detaching(ctx: typer.Context, found: "RemoteRun") -> Iterator[None]:
    """Ctrl-C ends this command alone."""
    try:
        yield
    except KeyboardInterrupt:
        command = _command(ctx)
        raise Ended(
            INTERRUPTED,
            f"{found.id} goes on: `{command} status {found.id} --watch` watches it, `{command} cancel {found.id}` "
            "cancels it.",
        ) from None


def _command(ctx: typer.Context) -> str:
    return f"probe --server {_client(ctx).url}"


@contextmanager
def _progress() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Shows a run's data on stderr, as the work itself does: a bar for each stage, or a line now and then."""
    from rich.console import Console

    from probe.terminal import bar

    screen = Console(stderr=True)
    shown, task, state, at = "", None, "", 0.0
    with bar(screen, live=screen.is_terminal) as bars:

        def show(data: dict[str, Any]) -> None:
            nonlocal shown, task, state, at
            if data["state"] != state:
                state = data["state"]
                reason = f" ({data['reason']})" if data.get("reason") and state != "failed" else ""
                print(printable(f"{data['id']}: {state}{reason}"), file=sys.stderr, flush=True)
            found = data.get("progress")
            if not found or state != "running":
                return
            note = f"{found['rate']:.2f} {found['unit']}/s"
            if screen.is_terminal:
                if task is None or shown != found["stage"]:
                    if task is not None:  # what was heard of the stage before was not its end
                        bars.update(task, completed=bars.tasks[-1].total)
                    shown, task = (
                        found["stage"],
                        bars.add_task(printable(found["stage"]), total=found["total"], note=""),
                    )
                bars.update(task, completed=int(found["done"]), note=note)
            elif shown != found["stage"] or time.monotonic() - at >= LINE_EVERY:
                shown, at = found["stage"], time.monotonic()
                left = "" if found["seconds_left"] is None else f", {span(found['seconds_left'])} left"
                line = f"{found['stage']}: {int(found['done'])}/{found['total']:g} {found['unit']}, {note}{left}"
                print(printable(line), file=sys.stderr, flush=True)

        yield show


def _page(found: "RemoteRun") -> "Group":
    """A run as ``probe status`` shows one."""
    from rich.console import Group
    from rich.text import Text

    from jobs.status import StageStatus, Status
    from probe.cli.submit import page

    data, slurm = found.data, found.data.get("slurm") or {}
    stages = [
        StageStatus(
            one["name"],
            one["done"],
            one["planned"],
            one["state"],
            slurm.get("jobs", {}).get(one["name"]),
            slurm.get("states", {}).get(one["name"]),
            one["unit"],
        )
        for one in data["stages"]
    ]
    progress = data["progress"] and {"ranks": 1, "updated": data["updated"], **data["progress"]}
    error = data["error"] and {"rank": 0, **data["error"]}
    said = [Text(printable(found.reason))] if found.reason and not error else []
    return Group(page(Status(found.id, found.state, stages, progress, last_error=error)), *said)


def _list(runs: list[dict[str, Any]], as_json: bool) -> None:
    """A row per run."""
    if as_json:
        print_json(runs)
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("id", "state", "kind", "model", "progress", "submitted"):
        table.add_column(name, no_wrap=name == "id")
    for one in runs:
        at = one["progress"] if one["state"] == "running" else None
        done = f"{at['stage']}: {at['done']:g} of {at['total']:g} {at['unit']}" if at else ""
        cells = (one["id"], one["state"], one["kind"], one["model"] or "", done, (one["submitted"] or "")[:19])
        table.add_row(*map(printable, cells))
    console().print(table)
