"""The help of every command as a Markdown page, for the docs."""

from typing import Any

import typer


def markdown() -> str:
    """The command line reference: every command with its usage, arguments and options."""
    from typer.cli import get_docs_for_click

    from probe.cli.main import app

    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="probe")
    return get_docs_for_click(obj=command, ctx=context, name="probe", title="Command line").rstrip() + "\n"
