"""How the starts of a run ended so far, from the shards that are there: without torch, and each shard is read once."""

import json
import os
from collections import Counter
from functools import lru_cache
from pathlib import Path

from probe.results.layout import SHARD

NAMES = ("converged", "cycle", "max_steps", "diverged")
"""Of the numbers in a shard; see ``layout.SHARD``."""
LARGEST_HEADER = 1 << 20


def outcomes_so_far(run: Path) -> dict[str, int] | None:
    """Starts by outcome; None before the first shard."""
    total: Counter[str] = Counter()
    shards = list(run.glob(SHARD.glob))
    for shard in shards:
        try:
            total.update(_of_shard(shard, os.stat(shard).st_mtime_ns))
        except (OSError, ValueError, KeyError, TypeError):  # replaced meanwhile, or damaged: its stage says so
            continue
    return {name: total[name] for name in NAMES} if shards else None


@lru_cache(4096)
def _of_shard(file: Path, changed: int) -> Counter[str]:
    """The column ``outcome`` of a safetensors file: 8 bytes with the length of a JSON header, then the tensors."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        if size > LARGEST_HEADER:
            raise ValueError(size)
        header = json.loads(opened.read(size))
        first, last = header["outcome"]["data_offsets"]
        opened.seek(8 + size + first)
        return Counter(NAMES[number] for number in opened.read(last - first) if number < len(NAMES))
