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
    folder = Path(__file__).parent
    try:
        git = ["git", "-C", str(folder)]
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=False)
        if tracked.returncode:  # installed below somebody else's repository
            return None
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
        )
        return head + ("+changes" if status.stdout.strip() else "")
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
