"""Provenance of results: command, versions, git revision, platform."""

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "latent-probe",
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "datasets",
    "faiss-cpu",
    "faiss-gpu-cu12",
    "numpy",
    "scipy",
    "scikit-image",
    "scikit-learn",
    "pillow",
    "safetensors",
)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe_process() -> dict[str, Any]:
    """Command, versions, git revision and platform of this process."""
    command = shlex.join(["probe", *sys.argv[1:]]) if Path(sys.argv[0]).stem in {"probe", "main"} else None
    return {
        "command": command or shlex.join(sys.argv),
        "git_revision": git_revision(),
        "versions": {"python": platform.python_version(), **_versions()},
        "platform": platform.platform(),
    }


def git_revision() -> str | None:
    """The commit of the running source tree, plus ``+changes`` if files differ; None outside a repository."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git(
            "ls-files", "--error-unmatch", "__init__.py"
        )  # fails where it is installed below somebody else's repository
        head, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
        return head + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
