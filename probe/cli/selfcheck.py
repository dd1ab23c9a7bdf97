"""``probe selfcheck``: is this device right, and how fast is it?"""

from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import path_option

Device = Annotated[str | None, typer.Option("--device", help="cuda, cuda:1 or cpu; default: cuda where there is one.")]
Folder = Annotated[
    Path | None, path_option("--out", "DIR", "Write selfcheck.json and selfcheck.md there as they come.")
]
Small = Annotated[bool, typer.Option("--small", help="Sizes for a CPU; the speeds then mean nothing.")]
Seconds = Annotated[float, typer.Option("--seconds", min=1, help="Time for all checks.")]
Only = Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="A check, or a group; repeatable.")]


def selfcheck(
    device: Device = None, out: Folder = None, small: Small = False, seconds: Seconds = 480, only: Only = None
) -> None:
    """Check the numbers and the speed of a GPU.

    It takes eight minutes. Correctness: outcomes, certificates, sparse codes and merging are those of the CPU in
    float64. Speed: the share of the peak that the iteration reaches, and the rest against what they should take. Exit
    status 1 if a check fails. Where the package's dependencies are missing: python -m probe.selfcheck.
    """
    from probe.selfcheck.command import selfcheck as check

    check(device, out, small=small, seconds=seconds, only=only or [])
