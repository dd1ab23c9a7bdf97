"""``probe``: the entry point. Exit statuses: jobs/worker.py."""

import sys

import typer

from jobs.worker import guarded
from probe import __version__
from probe.cli import bench, convert, doctor, models, stages, status, study, submit
from probe.cli import checkpoints as checkpoints_command
from probe.cli import compare as compare_command
from probe.cli import contraction as contraction_command
from probe.cli import convergence as convergence_command
from probe.cli import export as export_command
from probe.cli import field as field_command
from probe.cli import figure as figure_command
from probe.cli import language as language_command
from probe.cli import ood as ood_command
from probe.cli import run as run_command
from probe.cli import theory as theory_command
from probe.cli.train_embedded import train_embedded

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Probe pretrained autoencoders through the attractors of f(z) = E(D(z)).",
)
app.command()(run_command.run)
app.command()(study.study)
app.command()(ood_command.ood)
app.command()(stages.images)
app.command()(stages.attractors)
app.command()(stages.dictionary)
app.command()(stages.reconstruct)
app.command()(stages.report)
app.command()(submit.submit)
app.command()(status.status)
app.command()(submit.cancel)
app.command()(models.models)
app.command()(convert.convert)
app.command()(doctor.doctor)
app.command()(field_command.field)
app.command()(checkpoints_command.checkpoints)
app.command()(contraction_command.contraction)
app.command()(convergence_command.convergence)
app.command()(compare_command.compare)
app.command()(export_command.export)
app.command()(figure_command.figure)
app.command()(theory_command.theory)
app.command()(language_command.language)
app.add_typer(bench.app, name="bench")
app.command("train-embedded")(train_embedded)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; the exit status. Typer ends the process itself where an option or command is wrong."""
    return guarded(lambda: app(arguments))


if __name__ == "__main__":
    sys.exit(main())
