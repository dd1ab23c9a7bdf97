"""``probe``: the entry point. A user's mistake is one sentence and status 2; a failure is status 1."""

import sys

import typer

from probe import __version__
from probe.cli import run as run_command
from probe.cli import stages
from probe.cli.train_embedded import train_embedded
from probe.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Probe pretrained autoencoders through the attractors of f(z) = E(D(z)).",
)
app.command()(run_command.run)
app.command()(stages.attractors)
app.command()(stages.dictionary)
app.command()(stages.reconstruct)
app.command()(stages.report)
app.command("train-embedded")(train_embedded)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; the exit status. Typer ends the process itself where an option or command is wrong."""
    try:
        app(arguments)
    except UserError as error:
        print(f"probe: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
