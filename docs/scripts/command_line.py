"""The page of the command line, from the commands themselves."""

from collections.abc import Iterator
from textwrap import dedent
from typing import Any, Literal, get_args, get_origin

TITLE = """# Command line

Written from the commands themselves when this site was built; `probe COMMAND --help` says the same. Results go to
stdout, progress and warnings to stderr.

"""
SERVER = """## On a server

With `--server URL`, or PROBE_SERVER, [a server](../guides/serve.md) does these:

| command | what it does | options |
|---|---|---|
"""


def command_tree() -> Any:
    """The click command behind ``probe``."""
    from typer.main import get_command

    from probe.cli import main

    return get_command(main.app)


def commands(command: Any, name: str = "probe") -> Iterator[tuple[str, Any]]:
    """Every command that does something alone, as (full name, click command), in the order of the help."""
    below = getattr(command, "commands", {})
    if not below or (command.invoke_without_command and name != "probe"):
        yield name, command
    for child, inner in below.items():
        if not inner.hidden:
            yield from commands(inner, f"{name} {child}")


def page() -> str:
    """The page as Markdown: a table of all commands, then a section for each, by help panel."""
    panels: dict[str, list[tuple[str, Any]]] = {}
    tree = command_tree()
    for name, command in commands(tree):
        top = tree.commands[name.split()[1]]
        panels.setdefault(getattr(top, "rich_help_panel", None) or "Commands", []).append((name, command))
    text = TITLE
    for panel, members in panels.items():
        text += f"## {panel}\n\n| command | what it does |\n|---|---|\n"
        text += "".join(f"| [`{name}`](#{_anchor(name)}) | {_first(command)} |\n" for name, command in members) + "\n"
        text += "".join(_section(name, command) for name, command in members)
    return text + SERVER + "".join(_on_a_server())


def _on_a_server() -> Iterator[str]:
    from typer.main import get_command

    from probe.cli import remote

    for name, command in commands(get_command(remote.app), "probe --server URL"):
        yield f"| `{name}` | {_first(command)} | {_cell(', '.join(map(_flags, _options(command))))} |\n"


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = _options(command)
    shown = {p.name: p.metavar or p.name.upper() for p in arguments}
    text = f"### `{name}` {{ #{_anchor(name)} }}\n\n{dedent(command.help or '').strip()}\n\n"
    text += f"```\n{' '.join([name, '[OPTIONS]', *shown.values()])}\n```\n\n"
    rows = [(f"`{shown[p.name]}`", p.help, "required" if p.required else "") for p in arguments]
    rows += [(_flags(p), p.help, _default(p)) for p in options]
    head = "| argument or option | meaning | default and range |\n|---|---|---|\n"
    return text + head + "".join(f"| {a} | {_cell(b)} | {c} |\n" for a, b, c in rows) + "\n"


def _options(command: Any) -> list[Any]:
    return [p for p in command.params if p.param_type_name == "option" and p.name != "help" and not p.hidden]


def _flags(option: Any) -> str:
    """``--metric pixel_mse|latent_mse``: the names of an option and what stands behind them."""
    flags = ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])
    if option.is_flag:
        return flags
    kind = option.type_descriptor.annotation
    kinds = [kind for kind in get_args(kind) if kind is not type(None)] or [kind]
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    value = option.metavar or " or ".join(choices) or {int: "INTEGER", float: "NUMBER"}.get(kinds[0], "VALUE")
    return f"{flags} `{value}`"


def _default(option: Any) -> str:
    shown = "required" if option.required else ""
    if not option.is_flag and option.default is not None:
        shown = f"`{option.default}`"
    low, high = getattr(option, "min", None), getattr(option, "max", None)
    bounds = f"{low:,} to {high:,}" if high is not None else f"at least {low:,}" if low is not None else ""
    return ", ".join(part for part in (shown, bounds) if part)


def _first(command: Any) -> str:
    return _cell(dedent(command.help or "").strip().split("\n\n")[0])


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _anchor(name: str) -> str:
    return name.replace(" ", "-")
