"""Which hosts an address of a table may lead to: public ones, and those that the user allows by name."""

import ipaddress
import os
import socket
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from probe.data.source import UnreadableImage

ALLOWED = "PROBE_ALLOW_PRIVATE_HOSTS"
"""Environment variable: hosts, or host:port, separated by commas, that may be asked although they are not public."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
UNICAST = ipaddress.IPv6Network("2000::/3")

Found = tuple[socket.AddressFamily, tuple[Any, ...]]


def resolve(host: str, port: int, left: Callable[[], float], *, checked: bool) -> list[Found]:
    """The socket addresses of a host; connect to these very ones, since a name may have others a moment later.

    Args:
        checked: refuse a host of which any address is not public, unless it is allowed.
        left: the seconds that may be waited, or raises UnreadableImage. The resolver cannot be interrupted, so it is
            asked in a thread of its own.

    Raises:
        UnreadableImage: the name is unknown, no answer in time, or an address is not public and the host not allowed.
    """
    answers: SimpleQueue[Any] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        found = answers.get(timeout=left())
    except Empty:
        left()
        raise UnreadableImage("the name was not resolved in time") from None
    if isinstance(found, Exception):
        raise UnreadableImage(f"the name is not known ({found})") from found
    if checked and not allowed(host, port):
        for *_, place in found:
            _must_be_public(str(place[0]))
    return [(family, place) for family, _, _, _, place in found]


def must_not_be_private(host: str, port: int) -> None:
    """Refuse what is private by its spelling alone, where a proxy will do the resolving.

    Raises:
        UnreadableImage: the host is a number (in any spelling that the system takes) that is not public, or localhost.
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
    for *_, place in found:
        _must_be_public(str(place[0]))


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
    """Whether an IP address is of the public internet; what holds an IPv4 address is judged by that one."""
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


def _must_be_public(address: str) -> None:
    if not public(address):
        raise _private(address)


def _private(what: str) -> UnreadableImage:
    return UnreadableImage(f"{what} is not a public address; name the host in {ALLOWED} to allow it")
