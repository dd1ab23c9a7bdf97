"""Images: from the hub, parquet files, folders, web addresses, or installed packages, as (n, 3, R, R) bytes."""

from probe.data.load import ImageSet, load_images
from probe.data.presets import preset_names, resolve

__all__ = ["ImageSet", "load_images", "preset_names", "resolve"]
