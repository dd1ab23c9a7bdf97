"""Which hosts an image address may lead to: public ones, and those that the user allows by name."""

import ipaddress
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

from probe.data.source import UnreadableImage

ALLOWED = "PROBE_ALLOW_PRIVATE_HOSTS"
"""Environment variable: comma-separated hosts, or host:port, that are allowed although they are not public."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
UNICAST = ipaddress.IPv6Network("2000::/3")


def resolve(
    host: str, port: int, left: Callable[[], float], *, checked: bool
) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """The socket addresses of a host. Connect to exactly these, since the name may have others a moment later.

    checked: refuse a host with any address that is not public, unless the host is allowed.
    left: returns the seconds left, or raises UnreadableImage. The resolver cannot be interrupted, so it runs in its own
    thread, which may be left behind (TimeoutError).
    """
    answer: Future[list[Any]] = Future()

    def ask() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        error = answer.exception(timeout=left())
    except TimeoutError:
        raise TimeoutError("the name was not resolved in time") from None
    if error is not None:
        raise UnreadableImage(f"the name is not known ({error})") from error
    found = answer.result()
    if checked and not allowed(host, port):
        _check_public(found)
    return [(family, place) for family, _, _, _, place in found]


def check_not_private(host: str, port: int) -> None:
    """UnreadableImage for localhost, or a numeric address (in any notation) that is not public, unless allowed.

    For proxies, which resolve names themselves.
    """
    if allowed(host, port):
        return
    bare = host.rstrip(".")
    if bare == "localhost" or bare.endswith(".localhost"):
        raise _private(host)
    try:
        found = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        return  # a name
    _check_public(found)


def allowed(host: str, port: int) -> bool:
    """Whether PROBE_ALLOW_PRIVATE_HOSTS names this host, with this port or none."""
    for entry in os.environ.get(ALLOWED, "").split(","):
        try:
            parts = urlsplit(f"//{entry.strip()}")
            if parts.hostname == host and parts.port in (None, port):
                return True
        except ValueError:
            continue
    return False


def public(address: str) -> bool:
    """Whether an IP address is public; an IPv6 address with an IPv4 address inside is judged by the latter."""
    try:
        ip: Any = ipaddress.ip_address(address)
    except ValueError:
        return False
    if ip.version == 6:
        if ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        elif ip in NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        elif ip not in UNICAST or ip.sixtofour or ip.teredo:
            return False
    return ip.is_global and not ip.is_multicast


def _check_public(found: list[Any]) -> None:
    for *_, place in found:
        if not public(str(place[0])):
            raise _private(str(place[0]))


def _private(what: str) -> UnreadableImage:
    return UnreadableImage(f"{what} is not a public address; name the host in {ALLOWED} to allow it")
