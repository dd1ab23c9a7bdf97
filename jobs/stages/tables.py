"""Whether a data set's final files are there: its table of errors, and its example pictures."""

from jobs.job import Job


def table_files(name: str) -> tuple[str, str]:
    """The table of a data set, and its pictures."""
    return f"reconstructions/{name}.parquet", f"reconstructions/{name}.safetensors"


def has_table(job: Job, name: str, dictionary: str | None = None) -> bool:
    """Whether a data set is finished, for a given dictionary or any."""
    made_from = {} if dictionary is None else {"dictionary": dictionary}
    return all(job.run.checked(file, **made_from) for file in table_files(name))
