"""selfcheck.json and selfcheck.md."""

import json
import math
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from probe.selfcheck.check import Row, Verdict
from probe.selfcheck.runner import Done

SCHEMA = 1
NAMED = 5
"""Checks that were skipped or stopped and are named in the first sentence, at most."""
PACKAGES = ("torch", "numpy", "scipy", "triton", "numba", "diffusers", "faiss-cpu", "faiss-gpu-cu12")


def machine(device: torch.device) -> dict[str, Any]:
    """Date, versions, and what the device is."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    found: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "platform": platform.platform(),
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found |= {
            "card": card.name,
            "memory_bytes": card.total_memory,
            "compute_capability": f"{card.major}.{card.minor}",
            "multiprocessors": card.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _driver(),
        }
    return found


def _driver() -> str | None:
    """The version of NVIDIA's driver, where its own tool is there to say it."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return lines[0].strip() if lines else None


def failures(found: Sequence[Done]) -> list[str]:
    """Checks with a row that fails, and checks that ended by an exception."""
    return [one.check.name for one in found if any(row.verdict == Verdict.FAIL for row in one.rows)]


def headline(found: Sequence[Done]) -> str:
    """How many checks failed, and how many could not tell."""
    wrong = failures(found)
    says = f"{len(wrong)} of {len(found)} checks failed: {', '.join(wrong)}" if wrong else "No check failed"
    if untold := [one.check.name for one in found if one.status in ("skipped", "stopped")]:
        says += f"; {len(untold)} of {len(found)} {'was' if len(untold) == 1 else 'were'} skipped or stopped"
        says += f": {', '.join(untold)}" if len(untold) <= NAMED else ""
    return f"{says}."


def as_json(found: Sequence[Done], about: dict[str, Any]) -> dict[str, Any]:
    """The whole record: ``about``, then a list ``checks`` with the rows of each."""
    checks = [
        {
            "name": one.check.name,
            "group": one.check.group,
            "what": one.check.what,
            "status": one.status,
            "reason": one.reason,
            "seconds": round(one.seconds, 3),
            "rows": [asdict(row) | {"value": _finite(row.value)} for row in one.rows],
        }
        for one in found
    ]
    return {"schema": SCHEMA, **about, "failures": failures(found), "checks": checks}


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def as_markdown(found: Sequence[Done], about: dict[str, Any]) -> str:
    """A title, what the machine is, and one table of all rows."""
    what = about.get("card") or about["platform"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    lines = [
        f"# Self-check on {about['device']}",
        "",
        f"{what}, {about['date']}; {versions}"
        + (f", CUDA {about['cuda']}, driver {about['driver']}" if "cuda" in about else "")
        + ".",
        "",
        headline(found),
        "",
        "| check | what | value | expected | verdict | note |",
        "|---|---|---:|---:|---|---|",
    ]
    for one in found:
        lines += [_line(one.check.name, row) for row in one.rows]
        if one.status != "done":
            lines.append(_cells(one.check.name, one.check.what, "", "", one.status, one.reason))
    took = ", ".join(f"{one.check.name} {one.seconds:.1f} s" for one in found if one.status != "skipped")
    return "\n".join([*lines, "", f"Time: {took}.", ""])


def _line(check: str, row: Row) -> str:
    return _cells(check, row.name, f"{_text(row.value)} {row.unit}".strip(), row.expected, row.verdict.value, row.note)


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(folder: Path, found: Sequence[Done], about: dict[str, Any]) -> None:
    """Write both files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "selfcheck.json": json.dumps(as_json(found, about), indent=1) + "\n",
        "selfcheck.md": as_markdown(found, about),
    }
    for name, text in texts.items():
        part = folder / f".{name}.part"
        part.write_text(text)
        part.replace(folder / name)
