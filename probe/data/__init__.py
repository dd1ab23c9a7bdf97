"""Images: from the hub, parquet files, folders, web addresses, or installed packages, as (n, 3, R, R) bytes."""

from probe.data.load import ImageSet, load_images
from probe.data.source import Candidate, Opened, Source, UnreadableImage, seeded_order
from probe.data.sources import is_remote, known_sources, preset_names, resolve

__all__ = [
    "Candidate",
    "ImageSet",
    "Opened",
    "Source",
    "UnreadableImage",
    "is_remote",
    "known_sources",
    "load_images",
    "preset_names",
    "resolve",
    "seeded_order",
]
