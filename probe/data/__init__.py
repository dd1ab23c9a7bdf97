"""Images: from the hub, parquet files, folders, web addresses, or installed packages, as (n, 3, R, R) bytes.

Here is what the opener of a source needs; ``load`` and what it imports need torch."""

from probe.data.source import Candidate, Opened, Source, UnreadableImage, seeded_order

__all__ = ["Candidate", "Opened", "Source", "UnreadableImage", "seeded_order"]
