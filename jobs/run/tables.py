"""Whether a data set's final files are there: its table of errors, and its example pictures."""

from collections.abc import Callable
from typing import Any

from jobs.run.job import Job


def table_files(name: str) -> tuple[str, str]:
    """The table of a data set, and its pictures."""
    return f"reconstructions/{name}.parquet", f"reconstructions/{name}.safetensors"


def has_table(
    job: Job,
    name: str,
    dictionary: str | None = None,
    clip: str | None = None,
    look: Callable[..., dict[str, Any] | None] | None = None,
) -> bool:
    """Whether a data set is finished, for a given dictionary and checksum of CLIP's weights, or any.

    Args:
        look: ``claimed`` of the directory where the files are then made, ``needed`` where they are only read, else
            ``checked``.
    """
    made_from = {key: value for key, value in (("dictionary", dictionary), ("clip", clip)) if value}
    return all((look or job.run.checked)(file, **made_from) for file in table_files(name))
