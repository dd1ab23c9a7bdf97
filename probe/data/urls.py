"""A table of image addresses, on the hub or on disk; the images are downloaded (LAION is published like this)."""

import os
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from probe.config import DatasetConfig
from probe.data.columns import url_column
from probe.data.download import download
from probe.data.hub import columns_of, explained, merged, open_streams
from probe.data.parquet import open_file
from probe.data.patterns import hub_parts, matching_files
from probe.data.source import Candidate, Opened, first_line, seeded_order
from probe.errors import UserError
from probe.names import given_path

THREADS = 16
BUFFER = 10_000  # addresses are small
MAX_TABLE_BYTES = 2 * 2**30  # of local tables, which are held in memory


def open_urls(where: str, spec: DatasetConfig, place: str) -> Opened:
    """Images by address, from the hub table ``place`` or a local .parquet or .csv; an id is an address.

    Downloads run ahead in threads, but come in the seeded order whatever their speed. A repeated address is taken once.
    At most four addresses are tried for each image needed. Allowed hosts and time limits: ``probe.data.download``.
    UserError if the table is absent, gated, unreachable or unreadable, or has no clear column of addresses.
    """
    local = Path(place).suffix.lower() in (".parquet", ".csv")
    if not local and (os.path.exists(given_path(place)) or place.startswith(("/", "./", "../", "~"))):
        raise UserError(f"{where}: a local table of addresses is a .parquet or .csv file; give one.")
    addresses, facts = (_local if local else _hub)(where, spec, place)
    return Opened(_candidates(addresses), facts, tries=4)


def _candidates(addresses: Iterator[str]) -> Generator[Candidate, None, None]:
    seen: set[str] = set()
    addresses = (a for a in addresses if not (a in seen or seen.add(a)))  # type: ignore[func-returns-value]
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="download")
    ahead: deque[tuple[str, Future[bytes]]] = deque()
    try:
        while True:
            ahead.extend((a, pool.submit(download, a)) for a in islice(addresses, THREADS - len(ahead)))
            if not ahead:
                return
            address, future = ahead.popleft()
            yield Candidate(address, future.result)
    finally:
        pool.shutdown(cancel_futures=True)


def _local(where: str, spec: DatasetConfig, place: str) -> tuple[Iterator[str], dict[str, Any]]:
    import pyarrow
    from pyarrow import csv, parquet

    paths = matching_files(where, place, Path(place).suffix.lower())
    size = sum(Path(path).stat().st_size for path in paths)
    if size > MAX_TABLE_BYTES:
        raise UserError(f"{where} holds {size:,} bytes, and at most {MAX_TABLE_BYTES:,} are read; name fewer files.")
    try:
        if Path(place).suffix.lower() == ".parquet":
            columns = open_file(where, Path(paths[0]), 0).columns
            column = url_column(where, columns, spec.column)
            chunks = [parquet.read_table(path, columns=[column], partitioning=None)[column] for path in paths]
        else:
            tables = [csv.read_csv(path) for path in paths]
            column = url_column(where, tables[0].column_names, spec.column)
            chunks = [table[column] for table in tables]
        text = pyarrow.large_string()
        cells = pyarrow.chunked_array([part.cast(text) for chunk in chunks for part in chunk.chunks], text)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:  # KeyError: a column of some files only
        raise UserError(
            f"{where} cannot be read as a table of addresses ({first_line(error)}); give a .parquet or .csv."
        ) from error
    addresses = (str(cells[row].as_py()) for row in seeded_order(len(cells), spec.seed))
    return addresses, {"column": column, "available": len(cells), "sample": "exact"}


def _hub(where: str, spec: DatasetConfig, place: str) -> tuple[Iterator[str], dict[str, Any]]:
    repo, _ = hub_parts(place)
    with explained(where, repo, spec.revision):
        streams, facts = open_streams(where, spec, place)
        column = url_column(where, columns_of(streams[0]), spec.column)
        drawn = [one.select_columns([column]).shuffle(seed=spec.seed, buffer_size=BUFFER) for one in streams]
    rows = facts.pop("rows")
    facts |= {"column": column, "sample": f"stream shuffled in a buffer of {BUFFER} rows"}

    def addresses() -> Iterator[str]:
        with explained(where, repo, spec.revision):
            for row in merged(drawn, rows, spec.seed):
                yield str(row[column])

    return addresses(), facts
