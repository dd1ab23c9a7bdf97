"""A table of image addresses, from the hub or on disk, whose images are downloaded (LAION is published like this)."""

import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from probe.config import DatasetConfig
from probe.data.candidates import Candidate, Opened, UnreadableImage, seeded_order
from probe.data.columns import url_column
from probe.data.hub import columns_of, explained, open_stream
from probe.data.parquet import first_line, matching_files
from probe.errors import UserError

THREADS = 16
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 10.0  # the longest wait between two pieces of an answer
DEADLINE_SECONDS = 30.0  # for the whole of it: a server that drips would otherwise hold a thread for ever
MAX_BYTES = 32 * 2**20
USER_AGENT = "latent-probe (research; downloads a small sample of a public image table)"
BUFFER = 10_000  # addresses are small


def open_urls(where: str, spec: DatasetConfig, place: str) -> Opened:
    """Images by address, from the hub table ``place`` or a local .parquet or .csv; an id is an address.

    Downloads run ahead in threads, and are given in the seeded order whatever their speed; an address that occurs
    twice is taken once. At most four addresses are tried for each image that is wanted.

    Raises:
        UserError: the table is absent, gated, out of reach or unreadable, or has no clear column of addresses.
    """
    local = Path(place).suffix.lower() in (".parquet", ".csv")
    addresses, facts = (_local if local else _hub)(where, spec, place)
    return Opened(_candidates(_each_once(addresses)), facts, tries=4)


def _each_once(addresses: Iterator[str]) -> Iterator[str]:
    """Each address once, at its first place."""
    seen: set[str] = set()
    for address in addresses:
        if address not in seen:
            seen.add(address)
            yield address


def download(address: str) -> bytes:
    """The body behind an http(s) address.

    Raises:
        UnreadableImage: no answer in time, an error status, or more than MAX_BYTES.
    """
    import requests

    headers = {"User-Agent": USER_AGENT}
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        with requests.get(
            address, headers=headers, timeout=(CONNECT_SECONDS, SILENCE_SECONDS), stream=True
        ) as response:
            response.raise_for_status()
            body = bytearray()
            for piece in response.iter_content(2**16):
                body += piece
                if len(body) > MAX_BYTES:
                    raise UnreadableImage(f"more than {MAX_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise UnreadableImage(f"not complete after {DEADLINE_SECONDS:g} s")
            return bytes(body)
    except (requests.RequestException, ValueError) as error:  # ValueError: addresses that no parser takes
        raise UnreadableImage(str(error)) from error


def _candidates(addresses: Iterator[str]) -> Generator[Candidate, None, None]:
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

    (path,) = matching_files(where, place)[:1]
    try:
        table = parquet.read_table(path) if Path(path).suffix.lower() == ".parquet" else csv.read_csv(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{where} cannot be read as a table ({first_line(error)}); give a .parquet or .csv.") from error
    column = url_column(where, table.column_names, spec.column)
    cells = table[column].to_pylist()
    addresses = (str(cells[row]) for row in seeded_order(len(cells), spec.seed))
    return addresses, {"column": column, "available": len(cells), "sample": "exact"}


def _hub(where: str, spec: DatasetConfig, repo: str) -> tuple[Iterator[str], dict[str, Any]]:
    with explained(where, repo):
        stream, facts = open_stream(spec, repo)
        column = url_column(where, columns_of(stream), spec.column)
        rows = stream.select_columns([column]).shuffle(seed=spec.seed, buffer_size=BUFFER)
    facts |= {"column": column, "sample": f"stream shuffled in a buffer of {BUFFER} rows"}
    return _hub_addresses(where, repo, rows, column), facts


def _hub_addresses(where: str, repo: str, rows: Any, column: str) -> Iterator[str]:
    with explained(where, repo):
        for row in rows:
            yield str(row[column])
