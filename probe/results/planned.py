"""plan.json and spent.jsonl: what the stages of a work were expected to take, and what they took."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.reading import Unreadable, read_object
from probe.results.layout import PLAN, SPENT


@dataclass
class Spent:
    """What a stage took, over all processes that worked on it.

    Attributes:
        seconds: from begin to end of each process, added up: a job that went on after a stop has several, an array too.
        rank_seconds: the same times the ranks of the process: what a cluster counts.
        cpu_seconds: processor time of one rank, over its threads; None where several ranks, or a GPU, did the work.
        encoded, decoded: rows that went through E and D; None where several ranks shared them, and each knows its own.
        memory: largest main memory of a process, in bytes.
        gpu: largest memory that a process took on its GPU, in bytes; 0 without one.
    """

    seconds: float = 0.0
    rank_seconds: float = 0.0
    cpu_seconds: float | None = 0.0
    encoded: int | None = 0
    decoded: int | None = 0
    memory: int = 0
    gpu: int = 0

    def add(self, line: dict[str, Any]) -> None:
        """One line of spent.jsonl. Raises KeyError, TypeError or AttributeError where it is another."""
        alone, rows = line["ranks"] == 1, line["rows"]
        self.seconds += line["seconds"]
        self.rank_seconds += line["seconds"] * line["ranks"]
        on_cpu = alone and "threads" in line and not line["gpu_bytes"]
        cpu = line["cpu_seconds"] / line["threads"] if on_cpu else None
        self.cpu_seconds = None if cpu is None or self.cpu_seconds is None else self.cpu_seconds + cpu
        self.encoded = self.encoded + rows.get("encode", 0) if alone and self.encoded is not None else None
        self.decoded = self.decoded + rows.get("decode", 0) if alone and self.decoded is not None else None
        self.memory = max(self.memory, line["memory_bytes"])
        self.gpu = max(self.gpu, line["gpu_bytes"])


def read_spent(folder: Path) -> dict[str, Spent]:
    """What is noted of each stage; empty where nothing is. A line that was torn is left out: it is no result."""
    found: dict[str, Spent] = {}
    try:
        lines = (folder / SPENT).read_text(errors="replace").splitlines()
    except OSError:
        return {}
    for text in lines:
        try:
            line = json.loads(text)
            found.setdefault(line["stage"], Spent()).add(line)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def read_plan(folder: Path) -> dict[str, Any] | None:
    """The plan; None where there is none, or it cannot be read: it is no result."""
    try:
        return read_object(folder / PLAN)
    except (Unreadable, OSError):
        return None
