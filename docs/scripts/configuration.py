"""The page of the configuration: every key with meaning, range, default, from the classes that validate it."""

import importlib


def page() -> str:
    """The page as Markdown; ``probe config`` prints the same keys."""
    for name in ("probe.configuration", "probe.cli.config"):
        try:
            text: str = importlib.import_module(name).markdown()
        except ModuleNotFoundError:
            continue
        return text
    return "# Configuration\n"
