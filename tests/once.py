"""Work that a process of a user does once, and one of these tests a hundred times, is done once here, too.

The commands' parsers and the templates of pages are built once a process. To wait for the disk (fsync) guards against
the end of the machine, which no test brings about.
"""

import functools
import os
from typing import Any

import jinja2
import typer.main


@functools.cache
def _command(build: Any, app: Any) -> Any:
    return build(app)


@functools.cache
def _compiled(environment: "_Alike", source: str, *where: Any) -> Any:
    return environment.compile(source, *where)


class _Alike:
    """An environment of templates; two that compile alike are equal."""

    def __init__(self, environment: jinja2.Environment, compiles: Any):
        self.compile = functools.partial(compiles, environment)
        given = vars(environment)
        syntax = [
            given[name] for name in sorted(given) if name.endswith(("_string", "_prefix", "_blocks", "autoescape"))
        ]
        self.key = (*syntax, environment.undefined, environment.finalize, *sorted(environment.extensions))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alike) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def keep() -> None:
    """From now on, in this process."""
    build, compiles = typer.main.get_command, jinja2.Environment.compile
    typer.main.get_command = functools.partial(_command, build)

    def compile_once(self: jinja2.Environment, source: Any, *where: Any, **more: Any) -> Any:
        if more or not isinstance(source, str):
            return compiles(self, source, *where, **more)
        return _compiled(_Alike(self, compiles), source, *where)

    jinja2.Environment.compile = compile_once  # type: ignore[method-assign]
    os.fsync = lambda descriptor: None
