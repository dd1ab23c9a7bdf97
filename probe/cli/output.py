"""What commands print on stdout."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probe.report.page.content import Page


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=1))


def print_rows(values: Mapping[str, Any], as_json: bool) -> None:
    """Print names and values, one per line, or as JSON."""
    if as_json:
        print_json(values)
        return
    for key, value in values.items():
        print(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


def print_page(page: Callable[[], "Page"], text: Callable[[], str]) -> None:
    """Print a page: sentences and tables on a terminal, elsewhere its Markdown, ``text``. Only one of both is made."""
    if sys.stdout.isatty():
        from probe.report.page.terminal import terminal
        from probe.terminal import console

        console().print(terminal(page()))
    else:
        print(text(), end="")
