"""How long a hub that answers may fail before a data set is given up; ``probe.hub`` is for one that does not answer.

Its client tries a request six times, with ten seconds of silence each, and waits for as long as the hub asks; then
``datasets`` begins again, twenty times. Together that is half an hour. Here it is ``PATIENCE``.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from probe.hub import be_patient, watched

PATIENCE = 20.0
"""Seconds from the first failure of a request, to the last time that it is tried again."""
SILENCE = 10.0
"""Seconds without a byte."""
BUSY = (408, 429, 500, 502, 503, 504)
_INTERVALS = ("READ_RETRY", "READ_SERVER_UNAVAILABLE_RETRY", "READ_RATE_LIMIT_RETRY", "OPEN_RETRY")


class GaveUp(Exception):
    """The hub has failed for too long; the message is what it does, as a predicate."""


@contextmanager
def patience() -> Iterator[None]:
    """Raise GaveUp from requests of the hub's client that have failed for too long; its libraries are silent."""
    import datasets
    from huggingface_hub import constants

    be_patient()
    settings: dict[str, int] = {f"STREAMING_{name}_INTERVAL": 0 for name in _INTERVALS}
    settings |= {f"STREAMING_{name}_MAX_RETRIES": 1 for name in ("READ", "OPEN")}
    if "huggingface.co" not in constants.ENDPOINT:  # downloads are counted at an address that has nothing to do with it
        settings["HF_UPDATE_DOWNLOAD_COUNTS"] = False
    before = {name: getattr(datasets.config, name, None) for name in settings}
    loggers = {logger: logger.level for logger in map(logging.getLogger, ("datasets", "huggingface_hub"))}
    try:
        vars(datasets.config).update(settings)
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with watched(_Watch()):
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
        vars(datasets.config).update(before)


class _Watch:
    """A watcher of the hub's client. A request that is like the one before it, soon after, is tried again."""

    def __init__(self) -> None:
        self.key: tuple[str, ...] = ()
        self.first = self.last = 0.0
        self.redirected = False
        self.does = ""

    def asked(self, request: Any) -> None:
        timeouts = request.extensions.get("timeout") or {}
        request.extensions["timeout"] = {
            what: min(timeouts.get(what) or SILENCE, SILENCE) for what in ("connect", "read", "write", "pool")
        }
        if self.redirected:
            self.redirected = False
            return
        key, now = (request.method, str(request.url), request.headers.get("range", "")), time.monotonic()
        if key != self.key or now - self.last > 2 * PATIENCE:
            self.key, self.first, self.does = key, now, "does not answer"
        elif now - self.first > PATIENCE:
            raise GaveUp(self.does)
        self.last = now

    def answered(self, response: Any) -> None:
        self.redirected = response.has_redirect_location
        if self.redirected:
            return
        if response.status_code not in BUSY:
            self.does = "breaks off in the middle of a file"
            return
        self.does = f"answers with status {response.status_code}"
        if response.status_code == 429:
            self.does = "limits the number of requests (status 429)"
        asked = response.headers.get("retry-after", "")
        if asked.isdecimal() and int(asked) > PATIENCE:
            raise GaveUp(f"{self.does} and asks to wait {int(asked)} seconds")
