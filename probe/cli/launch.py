"""What ``probe run``, ``probe study`` and ``probe ood`` share: work on a directory, and print the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Show = Callable[[dict[str, Any]], None]


def launch(
    name: str,
    settings: Any,
    path: Path,
    show: Show,
    *,
    trusted: bool = True,
    shared: bool = False,
    as_json: bool = False,
) -> None:
    """Do every stage that is missing; rank 0 prints the report.

    Args:
        name: the kind of work.
        settings: its configuration.
        path: its directory.
        show: prints a report for people.
        trusted: whether the user named the code that the model may bring.
        shared: be one of several independent processes that share the parts; the last one prints.
        as_json: print the whole report as JSON.
    """
    from jobs.stopping import stop_on_signals

    with stop_on_signals():
        from jobs.kinds import KINDS
        from jobs.worker import share, work

        kind = next(kind for kind in KINDS if kind.name == name)
        if shared:
            report = share(path, kind, settings)
        else:
            made, world = work(path, kind, kind.all, settings, trusted=trusted)
            report = None if world.rank else made
    if report is not None:
        print_report(report, show, as_json)


def print_report(report: dict[str, Any], show: Show, as_json: bool) -> None:
    """Print a report for people, or whole as JSON."""
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        show(report)


def print_rows(values: dict[str, Any], as_json: bool) -> None:
    """Print names and values, one per line, or as JSON."""
    if as_json:
        print(json.dumps(values, indent=1))
        return
    for key, value in values.items():
        print(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
