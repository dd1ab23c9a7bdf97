"""The Hugging Face hub, as its clients meet it here: patience that ends, and what to do about each refusal.

The clients (huggingface_hub, and on top of it diffusers, transformers and datasets) ask an address that does not answer
six times for every file, with up to a minute for each. Here it is given up for all files together, and at once where no
connection can be made.
"""

import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from probe.caches import cache_sentence
from probe.errors import reason_of, without_secrets
from probe.names import shortened
from probe.terminal import size

FIRST = 15.0
"""Seconds for an address that has not answered yet in this process."""
LATER = 120.0
"""The same for one that has, and may come back."""
CONNECTIONS = 2
"""Connections in turn to one that has not answered yet which may fail at once: its name is unknown, or it refuses."""
REST = 60.0
"""Seconds after which one that was given up is tried again, for work of hours."""
NO_ROOM = "Not enough free disk space to download the file"
"""How the client's warning begins, with the size of the file and what is free; it then downloads until the disk is
full."""
log = logging.getLogger("probe")


@dataclass
class _Host:
    """What is known of one address.

    answered: whether it ever has. since: when the first of the requests began that had no answer, None if the last one
    had. last: when the last request began. failed, cause: how many connections have failed since then, and why.
    """

    answered: bool = False
    since: float | None = None
    last: float = 0.0
    failed: int = 0
    cause: str = ""

    @property
    def hopeless(self) -> bool:
        return not self.answered and self.failed >= CONNECTIONS


class Watcher(Protocol):
    """Sees each request before it is sent, and each answer; what it raises ends the request."""

    def asked(self, request: Any) -> None: ...

    def answered(self, response: Any) -> None: ...


_hosts: dict[str, _Host] = {}
_watchers: list[Watcher] = []
_lock = threading.Lock()


def be_patient() -> None:
    """Let the clients of the hub in this process give up on an address after :data:`FIRST` or :data:`LATER` seconds
    without an answer, or :data:`CONNECTIONS` that fail at once, and keep their own messages about retries (which name
    signed addresses) to themselves. A file that does not fit on the disk, of which they warn, is not begun."""
    import huggingface_hub

    warnings.filterwarnings("error", NO_ROOM)
    with _lock:
        make = getattr(getattr(huggingface_hub.utils, "_http", None), "_GLOBAL_CLIENT_FACTORY", None)
        if make is None or getattr(make, "patient", False):  # an early version, with `requests`
            return

        def factory() -> Any:
            client = make()
            hooks, send = client.event_hooks, client.send

            def patient_send(*args: Any, **options: Any) -> Any:
                try:
                    return send(*args, **options)
                except Exception as error:
                    if type(error).__name__ == "ConnectError":  # of httpx or httpx2
                        _failed(error)
                    raise

            client.send = patient_send
            client.event_hooks = {
                "request": [*hooks["request"], _before],
                "response": [*hooks["response"], _after],
            }
            return client

        factory.patient = True  # type: ignore[attr-defined]
        huggingface_hub.set_client_factory(factory)
        if not {"HF_DEBUG", "HF_HUB_VERBOSITY"} & os.environ.keys():
            huggingface_hub.utils.logging.set_verbosity_error()


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Show a watcher all requests of the hub's clients, also of one that replaces another; after ``be_patient``."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def _address(url: Any) -> str:
    return f"{url.scheme}://{url.netloc.decode()}"


def _failed(error: Any) -> None:
    """A connection has failed at once; the last one that may ends the request, which its client would try again."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    address = _address(error.request.url)
    with _lock:
        host = _hosts.setdefault(address, _Host())
        host.failed, host.cause = host.failed + 1, reason_of(error)
        if host.hopeless:
            raise OfflineModeIsEnabled(f"{address}: {host.cause}") from error
    log.info(f"{address}: {host.cause}; it is tried again")


def _before(request: Any) -> None:
    """Refuse a request to an address that is given up; give every other one no more time than is left."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    address, now = _address(request.url), time.monotonic()
    with _lock:
        host = _hosts.setdefault(address, _Host())
        if host.since is not None and now - host.last > REST:
            host.since, host.failed = None, 0
        if host.hopeless:
            raise OfflineModeIsEnabled(f"{address}: {host.cause}")
        patience = LATER if host.answered else FIRST
        waited = now - host.since if host.since is not None else 0.0
        if waited > patience - 1:
            why = f": {host.cause}" if host.failed else ""
            raise OfflineModeIsEnabled(f"{address} has not answered for {waited:.0f} s{why}")
        again = host.since is not None and not host.failed and now - host.last > 0.5
        host.since = now if host.since is None else host.since
        host.last = now
    if again:
        log.info(f"{address} does not answer yet; waiting {patience - waited:.0f} s more at most")
    limits = request.extensions.get("timeout", {})
    left = patience - waited
    request.extensions["timeout"] = {
        key: min(left, limits.get(key) or left) for key in ("connect", "read", "write", "pool")
    }
    for watcher in _watchers:
        watcher.asked(request)


def _after(response: Any) -> None:
    """An address has answered."""
    url = response.request.url
    with _lock:
        host = _hosts[_address(url)]
        host.answered, host.since, host.failed = True, None, 0
    if response.status_code == 429 or response.status_code >= 500:
        wait = response.headers.get("Retry-After") or ""
        again = f" and is to be asked again in {wait} s" if wait else ""
        # A long wait is shown by commands without a log, too.
        level = logging.WARNING if wait.isdecimal() and int(wait) >= 5 else logging.INFO
        log.log(level, f"{url.host} answers {response.status_code} ({response.reason_phrase}){again}")
    for watcher in _watchers:
        watcher.answered(response)


def refused(error: Exception, name: str, revision: str | None = None, kind: str = "model") -> str | None:
    """Why the hub does not give a repository, and what to do, as a predicate; None for another error.

    Args:
        error: what a client raised. One about a file that is absent in the repository is the caller's to explain.
        name: the repository's id. revision: what was asked for.
        kind: ``model``, ``dataset``, or ``dictionary``, which is kept in a repository of a model.
    """
    from huggingface_hub import constants, errors

    endpoint = without_secrets(constants.ENDPOINT)
    status = getattr(getattr(error, "response", None), "status_code", None)
    page = f"{endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
    if isinstance(error, errors.GatedRepoError):
        if status == 403:
            return f"is gated, and your token has no access: accept its terms at {page} with the token's account."
        return f"is gated: accept its terms at {page}, then log in with `hf auth login` or set HF_TOKEN."
    if status == 401 and not isinstance(error, errors.RepositoryNotFoundError):
        return "cannot be fetched: the hub refuses your token; log in again with `hf auth login`, or correct HF_TOKEN."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {revision or 'main'!r} on the hub; give a branch, a tag or a commit that it has."
    if isinstance(error, errors.LocalEntryNotFoundError):
        return _unavailable(error, endpoint, constants.is_offline_mode(), kind)
    if isinstance(error, errors.HfHubHTTPError) and status is not None:
        return _answered(status, error, endpoint, kind)
    if isinstance(error, errors.OfflineModeIsEnabled) or _is_of_network(error):
        return _unavailable(error, endpoint, constants.is_offline_mode(), kind)
    if isinstance(error, errors.HfHubHTTPError | OSError):
        return f"cannot be fetched from the hub: {cache_sentence(error) or reason_of(error)}"
    if isinstance(error, UserWarning) and str(error).startswith(NO_ROOM):
        return _no_room(error)
    return None


def _no_room(warned: Exception) -> str:
    """Why a file is not downloaded, by the client's warning."""
    found = re.search(r"size is: ([\d.]+) MB.*location (.*) only has ([\d.]+) MB", str(warned))
    needed, free = (size(float(found[n]) * 1e6) if found else "" for n in (1, 3))
    why = f"a file has {needed}, and {shortened(found[2], 160)} has {free} left" if found else reason_of(warned)
    return f"does not fit on the disk ({why}); free some, or set HF_HOME to a folder on a larger disk, and rerun."


def not_found(error: Exception) -> str | None:
    """That a source is neither a folder nor a repository of the hub, as a predicate; None for another error."""
    from huggingface_hub import errors, get_token

    if not isinstance(error, errors.RepositoryNotFoundError) or isinstance(error, errors.GatedRepoError):
        return None
    if get_token():
        return "is neither a local folder nor a repository of the hub that your token may read; check the name."
    return "is neither a local folder nor an open repository of the hub; check the name, or log in if it is private."


def not_pushed(error: Exception, name: str) -> str | None:
    """Why the hub does not take what is pushed to a repository, and what to do, as a predicate; None for another
    error."""
    from huggingface_hub import constants, errors

    endpoint, cannot = without_secrets(constants.ENDPOINT), "cannot be pushed to"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.HFValidationError):
        return "is not the id of a repository; write OWNER/NAME."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{cannot}: it has no such branch; leave the branch out, or make it first."
    said = {
        401: "the hub refuses your token; log in again with `hf auth login`, or correct HF_TOKEN.",
        403: f"your token may not write there; make one that may at {endpoint}/settings/tokens.",
        404: f"{endpoint} knows no such owner or repository that your token may write to; check the name.",
        429: f"{endpoint} limits your requests (429); try again later.",
    }
    if status in said:
        return f"{cannot}: {said[status]}"
    if status is not None and status >= 500:
        return f"{cannot}: {endpoint} is out of order ({status}); try again later."
    if status is not None and status >= 400:  # such as a license that it does not know
        told = shortened(" ".join(str(getattr(error, "server_message", None) or reason_of(error, 200)).split()), 300)
        return f"{cannot}: {endpoint} refuses it ({status}: {without_secrets(told).rstrip('.')})."
    if isinstance(error, errors.OfflineModeIsEnabled) and constants.is_offline_mode():
        return f"{cannot}: HF_HUB_OFFLINE is set; run without it."
    if isinstance(error, errors.HfHubHTTPError | errors.OfflineModeIsEnabled | OSError) or _is_of_network(error):
        return f"{cannot} ({reason_of(error, 100)}); check the network and HF_ENDPOINT, and try again."
    return None


def _is_of_network(error: BaseException) -> bool:
    """Whether a client's library for HTTP raised it."""
    return type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "requests", "urllib3")


def _unavailable(error: Exception, endpoint: str, offline: bool, kind: str) -> str:
    """Why a file that is not in the cache could not be had either."""
    cause = error.__cause__ or error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if status is not None:
        return _answered(status, cause, endpoint, kind)
    cached = "is not in the local cache"
    if offline:
        return f"{cached}, and HF_HUB_OFFLINE is set: run once without it, or {_folder(kind)}."
    if type(cause).__name__ == "FileMetadataError":
        return f"{cached}, and {endpoint} does not answer as a hub does; check HF_ENDPOINT and your proxy."
    if type(cause).__name__ in ("ReadError", "RemoteProtocolError"):
        return "cannot be fetched: the connection was cut again and again; check the network, or try again later."
    said = reason_of(cause, 100)
    said = said if said.startswith(("http://", "https://")) else f"{endpoint}: {said}"
    return f"{cached}, and the hub cannot be reached ({said}); check the network and HF_ENDPOINT, or {_folder(kind)}."


FOLDERS = {
    "model": "--set model.source=FOLDER",
    "dataset": "source: folder:PATH",
    "dictionary": "--set dictionary.source=FOLDER",
}
"""How a local folder is named in a configuration, by what is missing."""


def _folder(kind: str) -> str:
    return f"give a local folder ({FOLDERS[kind]})"


def _answered(status: int, error: BaseException, endpoint: str, kind: str) -> str:
    """What an answer other than the file means."""
    response: Any = getattr(error, "response", None)
    url = getattr(getattr(response, "request", None), "url", None)
    place = endpoint if url is None or str(url).startswith(endpoint) else f"{url.scheme}://{url.netloc.decode()}"
    if status == 429:
        wait = response.headers.get("Retry-After")
        when = f"in {wait} s" if wait else "later"
        return f"cannot be fetched: {place} limits your requests (429); try again {when}, or log in for a higher limit."
    if status >= 500:
        return f"cannot be fetched: {place} is out of order ({status}); try again later, or {_folder(kind)}."
    return f"cannot be fetched: {place} refuses it ({status} {response.reason_phrase}); try again, or log in."
