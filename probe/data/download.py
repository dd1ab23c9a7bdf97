"""Downloading the body of an http(s) address from a server that may be slow, endless or hostile.

Hosts must be public, or allowed by name (``ALLOWED``).
"""

import functools
import io
import ipaddress
import os
import socket
import ssl
import threading
import time
from base64 import b64encode
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from probe.data.source import UnreadableImage

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 10.0  # the longest wait between two pieces of an answer
DEADLINE_SECONDS = 30.0  # for everything, from resolving the first name to the last byte
MAX_BYTES = 32 * 2**20
OVERHEAD = 2**20  # further bytes, for headers and framing
REDIRECTS = 5
LONGEST_ADDRESS = 8192
USER_AGENT = "latent-probe (research; downloads a small sample of a public image table)"
HEADERS = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
PORTS = {"http": 80, "https": 443}
# Environment variable: comma-separated hosts, or host:port, that are allowed although they are not public.
ALLOWED = "PROBE_ALLOW_PRIVATE_HOSTS"
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
UNICAST = ipaddress.IPv6Network("2000::/3")
UNRESERVED = "!#$%&'()*+,/:;=?@[]~"  # left as they are in a path and query, which may be quoted, or half quoted


def download(address: str) -> bytes:
    """The body of an http(s) address.

    The deadline covers everything: name, connection, TLS, headers, body, and all redirects. Up to REDIRECTS are
    followed, their bodies unread. Each hop must be public, or allowed. No cookies and no passwords are sent. Proxies of
    the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) are used; they resolve names themselves, so only numeric
    addresses and localhost are checked here. Any failure is an UnreadableImage.
    """
    until = _Until(DEADLINE_SECONDS)
    try:
        for _ in range(REDIRECTS + 1):
            answer = _ask(address, until)
            if isinstance(answer, bytes):
                return answer
            address = urljoin(address, answer)
        raise UnreadableImage(f"more than {REDIRECTS} redirects")
    except (OSError, HTTPException, ValueError) as error:  # ValueError: addresses that no parser takes
        until.left()  # raises if the deadline is the reason
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(ascii(reason)[1:-1][:200]) from error


class _Until:
    def __init__(self, seconds: float):
        self.seconds, self._end = seconds, time.monotonic() + seconds

    def left(self, most: float = float("inf")) -> float:
        """Seconds left, at most ``most``; UnreadableImage if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise UnreadableImage(f"not complete after {self.seconds:g} s")
        return min(left, most)


class _Wire(io.RawIOBase):
    """A socket for http.client: no wait exceeds the deadline, and every received byte is counted.

    A timeout of Python's sockets covers a whole call (also a TLS handshake or record), so sending slowly, byte by byte,
    does not extend it.
    """

    def __init__(self, sock: socket.socket, until: _Until):
        self.sock, self.until, self._most = sock, until, MAX_BYTES + OVERHEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.sock.settimeout(self.until.left(SILENCE_SECONDS))
        got = self.sock.recv_into(buffer)
        self._most -= got
        if self._most < 0:
            raise _too_large()
        return got

    def sendall(self, data: bytes) -> None:
        self.sock.settimeout(self.until.left(SILENCE_SECONDS))
        self.sock.sendall(data)

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(self, 2**16)

    def close(self) -> None:
        """Nothing: http.client closes before the body is read; the socket's creator closes it."""


def _ask(address: str, until: _Until) -> bytes | str:
    """The body at an address, or the address of a redirect."""
    scheme, host, port, target = _parsed(address)
    name = f"[{host}]" if ":" in host else host
    where = name if port == PORTS[scheme] else f"{name}:{port}"
    headers = {"Host": where, **HEADERS}
    with ExitStack() as sockets:
        proxy = None if proxy_bypass(host) else getproxies().get(scheme)
        if proxy is None:
            sock = sockets.enter_context(_socket(host, port, until, checked=True))
        else:
            _check_not_private(host, port)
            sock, via = _to_proxy(proxy, until)
            sockets.enter_context(sock)
            if scheme == "http":
                target, headers = f"http://{where}{target}", headers | via
            else:
                there = f"{name}:{port}"
                opened = _send(_Wire(sock, until), "CONNECT", there, {"Host": there, **via})
                if opened.status != 200:
                    raise UnreadableImage(f"the proxy answers with status {opened.status}")
        if scheme == "https":
            sock.settimeout(until.left(SILENCE_SECONDS))
            sock = sockets.enter_context(_certificates().wrap_socket(sock, server_hostname=host))
        answer = _send(_Wire(sock, until), "GET", target, headers)
        if answer.status in (301, 302, 303, 307, 308) and (moved := answer.getheader("Location")):
            with suppress(UnicodeError):
                moved = moved.encode("latin-1").decode()  # http.client decodes Latin-1, and most are UTF-8
            return moved
        if answer.status != 200:
            raise UnreadableImage(f"status {answer.status}")
        return _body(answer)


def _parsed(address: str) -> tuple[str, str, int, str]:
    """Scheme, host in ASCII, port, path with query."""
    if len(address) > LONGEST_ADDRESS:
        raise UnreadableImage(f"the address is longer than {LONGEST_ADDRESS} characters")
    parts = urlsplit(address)
    if parts.scheme not in PORTS or not parts.hostname:
        raise UnreadableImage("not an http or https address")
    if "@" in parts.netloc:
        raise UnreadableImage("the address holds a user name or password")
    host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode()
    path = quote(parts.path or "/", UNRESERVED) + (f"?{quote(parts.query, UNRESERVED)}" if parts.query else "")
    return parts.scheme, host.lower(), parts.port or PORTS[parts.scheme], path


def _to_proxy(proxy: str, until: _Until) -> tuple[socket.socket, dict[str, str]]:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise UnreadableImage("the proxy in the environment is not an http:// address")
    via = {}
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        via["Proxy-Authorization"] = f"Basic {b64encode(secret.encode()).decode()}"
    return _socket(parts.hostname, parts.port or 80, until, checked=False), via


def _socket(host: str, port: int, until: _Until, *, checked: bool) -> socket.socket:
    """Connected to the first address of a host that answers; all of them must be public, if ``checked``.

    The name may have other addresses a moment later, so it is resolved once.
    """
    found = _resolve(host, port, until)
    if checked and not _allowed(host, port):
        _check_public(found)
    failed: OSError | None = None
    for family, _, _, _, place in found:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(until.left(CONNECT_SECONDS))
            sock.connect(place)
            return sock
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            failed = error
    raise failed or UnreadableImage("the name has no address")


@functools.cache
def _certificates() -> ssl.SSLContext:
    """The system's authorities, those of certifi, and the user's own bundle (the variables of `requests`)."""
    import certifi

    context = ssl.create_default_context()
    for bundle in (certifi.where(), os.environ.get("REQUESTS_CA_BUNDLE"), os.environ.get("CURL_CA_BUNDLE")):
        if bundle and os.path.exists(bundle):
            context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
    return context


def _send(wire: _Wire, method: str, target: str, headers: dict[str, str]) -> HTTPResponse:
    """Send a request; returns the response with its headers read."""
    connection = HTTPConnection("")
    connection.sock = wire
    connection.request(method, target, headers=headers)
    return connection.getresponse()


def _body(answer: HTTPResponse) -> bytes:
    if answer.getheader("Content-Encoding", "identity").strip().lower() not in ("identity", ""):
        raise UnreadableImage("the body is compressed, which was not asked for")
    if (answer.length or 0) > MAX_BYTES:
        raise _too_large()
    body = answer.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise _too_large()
    if answer.length:
        raise UnreadableImage(f"the body ends {answer.length} bytes too early")
    return body


def _too_large() -> UnreadableImage:
    return UnreadableImage(f"more than {MAX_BYTES} bytes")


def _resolve(host: str, port: int, until: _Until) -> list[Any]:
    """What ``getaddrinfo`` finds; it cannot be interrupted, so it runs in a thread, which may be left behind."""
    answer: Future[list[Any]] = Future()

    def ask() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        error = answer.exception(timeout=until.left())
    except TimeoutError:
        raise TimeoutError("the name was not resolved in time") from None
    if error is not None:
        raise UnreadableImage(f"the name is not known ({error})") from error
    return answer.result()


def _check_not_private(host: str, port: int) -> None:
    """UnreadableImage for localhost, or a numeric address (in any notation) that is not public, unless allowed.

    For proxies, which resolve names themselves.
    """
    if _allowed(host, port):
        return
    bare = host.rstrip(".")
    if bare == "localhost" or bare.endswith(".localhost"):
        raise _private(host)
    try:
        found = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except OSError:
        return  # a name
    _check_public(found)


def _allowed(host: str, port: int) -> bool:
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
