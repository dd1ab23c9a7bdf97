"""``probe``: the entry point. Exit statuses: jobs/worker.py."""

import functools
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from jobs.worker import guarded
from probe import __version__
from probe.cli import (
    audit,
    bench,
    checkpoints,
    config,
    configs,
    field,
    language,
    models,
    plan,
    push,
    quality,
    remote,
    reports,
    roundtrip,
    selfcheck,
    serve,
    submit,
    verify,
    work,
)
from probe.errors import UserError
from probe.names import given_path, printable

if TYPE_CHECKING:
    from probe.client import Client

COMMANDS: dict[str, tuple[Any, ...]] = {
    "Probe": (work.run, config.config, work.images, work.attractors, work.dictionary, work.reconstruct),
    "Study": (work.study, work.ood, roundtrip.roundtrip),
    "Analyse": (
        audit.audit,
        quality.quality,
        reports.theory,
        field.field,
        checkpoints.checkpoints,
        language.language,
    ),
    "Check": (verify.verify, selfcheck.selfcheck),
    "Jobs": (plan.plan, submit.submit, submit.status, submit.cancel),
    "Models": (models.models, models.doctor, models.convert, models.train_embedded),
    "Reports": (work.report, reports.compare, reports.leaderboard, reports.export, reports.figure, push.push),
    "Serve": (serve.serve,),
}
"""The commands by panel of ``probe --help``."""
GROUPS = {"Probe": ("configs", configs.app), "Check": ("bench", bench.app)}
"""Commands of commands, each the last of its panel."""
REMOVED = {
    "contraction": "`probe contraction` was removed: run `probe study study_contraction`, or write a "
    "configuration with `probe config --example contraction`.",
    "convergence": "`probe convergence` was removed: run `probe run --model {model} --set datasets={{digits}} --out "
    "runs/convergence`, then `probe theory runs/convergence`; to compare trained models, run `probe study "
    "study_convergence`.",
}
"""Commands of earlier versions, and what to run instead of them with a model."""


class _Panels(TyperGroup):
    """``probe --help`` with the commands grouped by panel, as plain text."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        server = ctx.params.get("server")
        shown: Any = get_command(remote.app) if server else self
        for name in shown.list_commands(ctx):
            command = shown.get_command(ctx, name)
            panels.setdefault(f"On {printable(server)}" if server else command.rich_help_panel, []).append(
                (name, command.get_short_help_str(80))
            )
        width = max(len(name) for rows in panels.values() for name, _ in rows)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        server = None if ctx.resilient_parsing else ctx.params.get("server")
        if server and args[0] in remote.COMMANDS:
            return get_command(remote.app).resolve_command(ctx, args)  # type: ignore[attr-defined]
        if args[0] in REMOVED and not ctx.resilient_parsing:
            model = next((shlex.quote(word) for word in args[1:] if not word.startswith("-")), "MODEL")
            raise UserError(REMOVED[args[0]].format(model=model))
        name, command, rest = super().resolve_command(ctx, args)
        if server:
            if ctx.get_parameter_source("server").name == "COMMANDLINE":
                raise UserError(remote.not_there(args[0]))
            print(f"probe: `{args[0]}` runs here, not on {printable(server)} (PROBE_SERVER).", file=sys.stderr)
            os.environ.pop("PROBE_SERVER", None)  # the commands that it starts are to run here, too
        return name, command, rest


app = typer.Typer(
    cls=_Panels,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Probe pretrained autoencoders through the attractors of f(z) = E(D(z)).",
)
for _panel, _commands in COMMANDS.items():
    for _command in _commands:
        name, line = _command.__name__.replace("_", "-"), _command.__doc__.partition("\n")[0]
        app.command(name, short_help=line, rich_help_panel=_panel)(_command)
    if _panel in GROUPS:
        _name, _app = GROUPS[_panel]
        app.add_typer(_app, name=_name, rich_help_panel=_panel)


@app.callback(invoke_without_command=True)
def _options(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            envvar="PROBE_SERVER",
            is_eager=True,
            help="Have a server of `probe serve` do it.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="PROBE_TOKEN_FILE", help="The server's token.", parser=given_path),
    ] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Send the token over http to another machine, readable on the way.")
    ] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit()

    def client() -> "Client":
        from probe.client import Client

        # PROBE_TOKEN goes before PROBE_TOKEN_FILE, and an option before both.
        named = ctx.get_parameter_source("token_file")
        given = token_file if named is not None and named.name == "COMMANDLINE" else None
        return Client(server or "", given, plain_http=plain_http)

    ctx.obj = functools.cache(client)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; the exit status. Typer itself exits if an option or command is wrong."""
    return guarded(lambda: app(arguments, prog_name="probe"))


if __name__ == "__main__":
    sys.exit(main())
