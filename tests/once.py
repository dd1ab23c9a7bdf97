"""Work that a process of a user does once, and one of these tests a hundred times, is done once here, too.

The commands' parsers and the templates of pages are built once a process. To wait for the disk (fsync) guards against
the end of the machine, which no test brings about.
"""

import functools
import os

import jinja2
import typer.main
from jinja2.bccache import Bucket


class _Compiled(jinja2.BytecodeCache):
    """Templates by their file and source."""

    def __init__(self) -> None:
        self.code: dict[tuple[str, str], object] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self.code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.code[bucket.key, bucket.checksum] = bucket.code


def keep() -> None:
    """From now on, in this process."""
    typer.main.get_command = functools.cache(typer.main.get_command)
    begin = functools.partialmethod(jinja2.Environment.__init__, bytecode_cache=_Compiled())
    jinja2.Environment.__init__ = begin  # type: ignore[assignment, method-assign]
    os.fsync = lambda descriptor: None
