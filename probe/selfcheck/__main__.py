"""``python -m probe.selfcheck``: the same as ``probe selfcheck``, where typer and rich are missing."""

import argparse
import sys
from pathlib import Path

from probe.errors import Failure, UserError
from probe.selfcheck.command import BUDGET, selfcheck


def main() -> int:
    """The exit status: 1 if a check failed, 2 if an option is wrong."""
    parser = argparse.ArgumentParser(prog="python -m probe.selfcheck", description="Check a device within minutes.")
    parser.add_argument("--device", default=None, help="cuda, cuda:1, cpu; default: cuda where there is one")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="write selfcheck.json and selfcheck.md")
    parser.add_argument("--small", action="store_true", help="sizes for a CPU: speeds mean nothing")
    parser.add_argument("--seconds", type=float, default=BUDGET, help=f"time for all checks (default {BUDGET:g})")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a check or a group; repeatable")
    given = parser.parse_args()
    try:
        selfcheck(given.device, given.out, small=given.small, seconds=given.seconds, only=given.only)
    except (UserError, Failure) as error:
        print(f"selfcheck: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
