"""What ``probe selfcheck`` and ``python -m probe.selfcheck`` do."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from probe.errors import Failure, UserError
from probe.selfcheck.checks import CHECKS
from probe.selfcheck.runner import Done, chosen, run
from probe.selfcheck.write import as_json, as_markdown, failures, machine, write

BUDGET = 480.0
"""Seconds for all checks."""


def selfcheck(
    device: str | None = None,
    out: Path | None = None,
    *,
    small: bool = False,
    seconds: float = BUDGET,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Run the checks, write selfcheck.json and selfcheck.md into ``out`` after each row, and print the table.

    Returns:
        The record that selfcheck.json holds.

    Raises:
        UserError: there is no such device or check.
        Failure: a check failed.
    """
    checks, place = chosen(CHECKS, only), _device(device)
    about = {"command": shlex.join(sys.argv), **machine(place), "small": small, "budget": seconds}

    def keep(found: list[Done]) -> None:
        if out is not None:
            write(out, found, about)

    found = run(checks, place, small=small, budget=seconds, keep=keep)
    print(as_markdown(found, about))
    if wrong := failures(found):
        raise Failure(
            f"{len(wrong)} of {len(found)} checks failed on {place}: {', '.join(wrong)}; do not trust results of this "
            "device, and report the table."
        )
    return as_json(found, about)


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise UserError(f"{name!r} is no device; use cuda, cuda:1 or cpu.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"there is no {device} here ({torch.cuda.device_count()} GPUs); use --device cpu.")
    # Some functions of torch.cuda want the index.
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device
