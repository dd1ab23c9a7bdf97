"""Whether a data set's final files are there: its table of errors, and its example pictures."""

from jobs.job import Job


def table_files(name: str) -> tuple[str, str]:
    """The table of a data set, and its pictures."""
    return f"reconstructions/{name}.parquet", f"reconstructions/{name}.safetensors"


def has_table(job: Job, name: str, dictionary: str | None = None, clip: str | None = None) -> bool:
    """Whether a data set is finished, for a given dictionary and checksum of CLIP's weights, or any."""
    made_from = {key: value for key, value in (("dictionary", dictionary), ("clip", clip)) if value is not None}
    return all(job.run.checked(file, **made_from) for file in table_files(name))
