"""Commands of ``probe`` in a process of their own that meets a hub.

``HF_ENDPOINT`` is read at import, so a hub takes a process that imports its clients anew; several commands share one.
Each command has its own token.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..processes import completed
from .server import Hub

ROOT = Path(__file__).parents[2]
SCRIPT = """
import contextlib, io, json, os, sys
from probe.cli.main import main
for line in open(sys.argv[1]):
    name, arguments, token = json.loads(line)
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if arguments[0] == "-c":  # a user's script
                sys.argv, status = arguments, 0
                exec(arguments[1], {})
            else:
                status = main(arguments)
        except SystemExit as error:
            status = error.code
    print(json.dumps([name, status, out.getvalue(), err.getvalue()]), flush=True)
"""


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line that an error is."""
        lines = [line for line in self.err.splitlines() if line.startswith("probe: ")]
        assert len(lines) == 1, self.err
        assert lines[0] == self.err.splitlines()[-1]
        assert "Traceback" not in self.err
        return lines[0].removeprefix("probe: ")


def environment(hub: Hub, cache: Path, **more: str) -> dict[str, str]:
    """That of a process which meets the hub: this one's, without its tokens."""
    own = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    return own | hub.environment(cache) | {"PYTHONPATH": str(ROOT)} | more


def said(
    hub: Hub, cache: Path, commands: Mapping[str, tuple[Sequence[object], str | None]], **env: str
) -> dict[str, Said]:
    """Run commands one after the other in one process.

    Args:
        cache: the folder of the hub's library.
        commands: by name: arguments, or ``-c`` and a script with its own, and the token, if there is one.
    """
    cache.mkdir(parents=True, exist_ok=True)
    file = cache / "commands.jsonl"
    file.write_text("".join(json.dumps([name, [*map(str, a)], t]) + "\n" for name, (a, t) in commands.items()))
    done = completed("-c", SCRIPT, file, cwd=cache, only=environment(hub, cache, **env))
    file.unlink()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(commands), done.stdout + done.stderr
    return {name: Said(*rest) for name, *rest in found}
