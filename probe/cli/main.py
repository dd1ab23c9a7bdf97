"""``probe``: the entry point. Exit statuses: jobs/worker.py."""

import shlex
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from jobs.worker import guarded
from probe import __version__
from probe.cli import (
    audit,
    bench,
    checkpoints,
    config,
    field,
    language,
    models,
    plan,
    quality,
    reports,
    roundtrip,
    selfcheck,
    serve,
    submit,
    verify,
    work,
)
from probe.errors import UserError

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
    "Reports": (work.report, reports.compare, reports.leaderboard, reports.export, reports.figure),
    "Serve": (serve.serve,),
}
"""The commands by panel of ``probe --help``."""
REMOVED = {
    "contraction": "`probe contraction` was removed: run `probe study configs/study_contraction.yaml`, or write a "
    "configuration with `probe config --example contraction`.",
    "convergence": "`probe convergence` was removed: run `probe run --model {model} --set datasets={{digits}} --out "
    "runs/convergence`, then `probe theory runs/convergence`; to compare trained models, run `probe study "
    "configs/study_convergence.yaml`.",
}
"""Commands of earlier versions, and what to run instead of them with a model."""


class _Panels(TyperGroup):
    """``probe --help`` with the commands grouped by panel, as plain text."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            panels.setdefault(command.rich_help_panel, []).append((name, command.get_short_help_str(80)))
        width = max(len(name) for rows in panels.values() for name, _ in rows)
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in REMOVED and not ctx.resilient_parsing:
            model = next((shlex.quote(word) for word in args[1:] if not word.startswith("-")), "MODEL")
            raise UserError(REMOVED[args[0]].format(model=model))
        return super().resolve_command(ctx, args)


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
    if _panel == "Check":
        app.add_typer(bench.app, name="bench", rich_help_panel=_panel)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; the exit status. Typer itself exits if an option or command is wrong."""
    return guarded(lambda: app(arguments, prog_name="probe"))


if __name__ == "__main__":
    sys.exit(main())
