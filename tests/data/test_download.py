"""Downloads from servers on this machine that are slow, endless, lying or elsewhere than they say."""

import contextlib
import gzip
import itertools
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from probe.data import download
from probe.data.source import UnreadableImage

DEADLINE, PATIENCE = 0.6, 30.0
"""Seconds that a download may take here, and that a test allows on a busy machine."""
Script = Callable[[socket.socket], None]


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[[Script], str]]:
    """serve(script): the address of a server that runs the script on each connection, and is allowed by name."""
    stopping, sockets, threads = threading.Event(), [], []
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "DEADLINE_SECONDS", DEADLINE)
    allowed = []

    def one(peer: socket.socket, script: Script) -> None:
        with peer, contextlib.suppress(OSError, StopIteration):
            peer.settimeout(PATIENCE)
            script(peer)

    def accept(listener: socket.socket, script: Script) -> None:
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                peer, _ = listener.accept()
                threads.append(threading.Thread(target=one, args=(peer, script)))
                threads[-1].start()

    def begin(script: Script) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.05)
        sockets.append(listener)
        threads.append(threading.Thread(target=accept, args=(listener, script)))
        threads[-1].start()
        allowed.append(f"127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv(download.ALLOWED, ",".join(allowed))
        return f"http://{allowed[-1]}"

    yield begin
    stopping.set()
    for thread in threads:
        thread.join(PATIENCE)
    for listener in sockets:
        listener.close()


def says(*pieces: bytes, drip: bytes | None = None, every: float = 0.02) -> Script:
    """Read a request's beginning, send the pieces, and then, for ever, ``drip``."""

    def script(peer: socket.socket) -> None:
        peer.recv(2**16)
        for piece in pieces:
            peer.sendall(piece)
        while drip is not None:  # until the client goes
            peer.sendall(drip)
            if every:
                time.sleep(every)

    return script


def refused(address: str) -> str:
    """Why a download fails, which it must soon."""
    begun = time.monotonic()
    with pytest.raises(UnreadableImage) as error:
        download.download(address)
    assert time.monotonic() - begun < PATIENCE
    assert len(str(error.value)) < 250
    assert str(error.value).isprintable()
    return str(error.value)


OK = b"HTTP/1.1 200 OK\r\n"


def hangs(peer: socket.socket) -> None:
    peer.recv(2**16)
    peer.recv(1)  # b"" once the client leaves


@pytest.mark.parametrize(
    "script",
    [
        hangs,
        says(b"H", drip=b"T"),
        says(OK, drip=b"a"),
        says(drip=b"HTTP/1.1 100 Continue\r\n\r\n"),
        says(OK, b"\r\n", drip=b"x"),
        says(OK, b"Content-Length: 1000000\r\n\r\n", drip=b"x"),
        says(OK, b"Transfer-Encoding: chunked\r\n\r\n", drip=b"1\r\nx\r\n"),
        says(OK, b"Transfer-Encoding: chunked\r\n\r\n", drip=b"0"),
        says(OK, b"Transfer-Encoding: chunked\r\n\r\n0\r\n", drip=b"Trailer: x\r\n"),
    ],
    ids=["silent", "status", "header", "100", "body", "length", "chunks", "chunk-size", "trailers"],
)
def test_the_deadline_holds_whatever_is_dripped(serve, script):
    assert refused(serve(script)) == f"not complete after {DEADLINE:g} s"


def test_the_deadline_holds_in_a_handshake_that_drips(serve):
    record = itertools.chain(b"\x16\x03\x03\x3f\xff", itertools.repeat(0))

    def script(peer: socket.socket) -> None:
        for byte in record:
            peer.sendall(bytes([byte]))
            time.sleep(0.02)

    assert "not complete after" in refused(serve(script).replace("http", "https"))


def test_the_deadline_holds_for_a_name_that_is_not_resolved(serve, monkeypatch):
    monkeypatch.setattr(download.socket, "getaddrinfo", lambda *_, **__: time.sleep(2))
    assert "not complete after" in refused("http://a.test/")


def test_the_deadline_holds_for_all_redirects_together(serve):
    def script(peer: socket.socket) -> None:
        time.sleep(DEADLINE / 3)
        says(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n")(peer)

    assert "not complete after" in refused(serve(script))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (says(OK, b"Content-Length: 99999999999\r\n\r\n"), "more than 100000 bytes"),
        (says(OK, b"\r\n", drip=b"x" * 70_000, every=0), "more than 100000 bytes"),
        (says(OK, b"Transfer-Encoding: chunked\r\n\r\n", drip=b"fff\r\n" + b"x" * 4095 + b"\r\n", every=0), "more"),
        (says(OK, b"Transfer-Encoding: chunked\r\n\r\n", drip=b"1;" + b"e" * 60_000 + b"\r\nx\r\n", every=0), "more"),
        (says(OK, b"Transfer-Encoding: chunked\r\n\r\n0\r\n", drip=b"Trailer: x\r\n" * 999, every=0), "more than"),
        (says(drip=b"HTTP/1.1 100 Continue\r\n\r\n" * 999, every=0), "more than"),
        (says(OK, drip=b"A: b\r\n" * 9, every=0), "more than 100 headers"),
        (says(OK, b"A: ", drip=b"b" * 9999, every=0), "65536"),
        (says(OK, b"Content-Encoding: gzip\r\n\r\n", gzip.compress(bytes(10**6))), "compressed"),
        (says(OK, b"Content-Length: 10\r\n\r\nshort"), "5 bytes too early"),
        (says(OK, b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"), "IncompleteRead"),
        (says(OK, b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), ""),
        (says(b"only a body, as of HTTP/0.9"), "only a body"),
        (says(b"HTTP/1.1 999 \x1b[31m\xff\r\n\r\n"), "status 999"),
        (says(b"\x1b[31m\xff\x00" * 999 + b"\r\n\r\n"), ""),
        (says(b""), "closed"),
        (says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "status 304"),
        (says(b"HTTP/1.1 302 Found\r\n\r\n"), "status 302"),
    ],
)
def test_what_is_too_much_or_too_little_is_refused(serve, monkeypatch, script, reason):
    monkeypatch.setattr(download, "MAX_BYTES", 100_000)
    monkeypatch.setattr(download, "OVERHEAD", 300_000)
    monkeypatch.setattr(download, "DEADLINE_SECONDS", 5.0)
    assert reason in refused(serve(script))


def moved(where: str, *more: bytes, **drip) -> Script:
    return says(b"HTTP/1.1 302 Found\r\nLocation: " + where.encode() + b"\r\n\r\n", *more, **drip)


def test_a_redirect_is_followed_and_its_body_not_read(serve):
    sent = []

    def endless(peer: socket.socket) -> None:
        moved(good)(peer)
        with contextlib.suppress(OSError):
            while len(sent) < 4000:
                sent.append(peer.send(b"x" * 2**16))

    good = serve(says(OK, b"\r\nbody"))
    assert download.download(serve(endless)) == b"body"
    time.sleep(0.1)
    assert sum(sent) < 32 * 2**20  # what the system's buffers take


def test_at_most_five_redirects(serve):
    asked = []

    def script(peer: socket.socket) -> None:
        step = int(peer.recv(2**16).split()[1][1:])
        asked.append(step)
        peer.sendall(b"HTTP/1.1 301 Moved\r\nLocation: /%d\r\n\r\n" % (step + 1) if step < 6 else OK + b"\r\nend")

    server = serve(script)
    assert download.download(f"{server}/1") == b"end"
    assert "more than 5 redirects" in refused(f"{server}/0")
    assert asked == [*range(1, 7), *range(6)]


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("http://127.0.0.1:{private}/", "not a public address"),
        ("//127.0.0.1:{private}/", "not a public address"),
        ("http://2130706433:{private}/", "not a public address"),
        ("http://0x7f.1:{private}/", "not a public address"),
        ("http://0177.0.0.1:{private}/", "not a public address"),
        ("http://0:{private}/", "not a public address"),
        ("http://localhost:{private}/", "not a public address"),
        ("http://LOCALHOST.:{private}/", "127.0.0.1|not a public|not known"),
        ("http://[::1]:{private}/", "not a public address"),
        ("http://[::ffff:127.0.0.1]:{private}/", "not a public address"),
        ("http://\uff11\uff12\uff17.0.0.1:{private}/", "not a public address"),
        ("http://169.254.169.254/latest/meta-data/", "not a public address"),
        ("http://me:secret@127.0.0.1:{private}/", "user name or password"),
        ("http://a.test\\@127.0.0.1:{private}/", "user name or password"),
        ("file:///etc/passwd", "not an http or https address"),
        ("ftp://127.0.0.1/x", "not an http or https address"),
        ("data:image/png;base64,aaaa", "not an http or https address"),
        ("http://[bad", ""),
        ("http://127.0.0.1:99999/", ""),
    ],
)
def test_a_redirect_does_not_lead_to_private_services_or_files(serve, monkeypatch, to, reason):
    asked = []

    def private(peer: socket.socket) -> None:
        asked.append(peer.recv(2**16))

    service = serve(private)
    public = serve(moved(to.format(private=service.rpartition(":")[2])))
    monkeypatch.setenv(download.ALLOWED, public.removeprefix("http://"))  # this port alone
    assert re.search(reason, refused(public))
    assert refused(service)
    assert asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((one, True) for one in ("8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "1.1.1.1")),
        *((one, False) for one in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1")),
        *((one, False) for one in ("169.254.1.1", "100.64.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255")),
        *((one, False) for one in ("192.0.2.1", "198.18.0.1", "240.0.0.1", "::", "::1", "fe80::1", "fe80::1%eth0")),
        *((one, False) for one in ("fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1")),
        *((one, False) for one in ("2002:7f00:1::", "2001:0:1::1", "::127.0.0.1", "2001:db8::1", "fec0::1", "x")),
    ],
)
def test_which_addresses_are_public(address, public):
    assert download.public(address) is public


def test_a_name_is_resolved_once_and_all_its_addresses_count(serve, monkeypatch):
    server = serve(lambda peer: (said.append(peer.recv(2**16)), peer.sendall(OK + b"\r\nbody")))
    port = int(server.rpartition(":")[2])
    said, calls = [], []
    loopback = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    outside = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))

    def rebinding(*arguments, **_):
        calls.append(arguments)
        return [outside, loopback]

    monkeypatch.setattr(download.socket, "getaddrinfo", rebinding)
    assert "127.0.0.1 is not a public address" in refused(f"http://a.test:{port}/")
    assert (len(calls), said) == (1, [])
    monkeypatch.setattr(download.socket, "getaddrinfo", lambda *a, **_: calls.append(a) or [loopback])
    monkeypatch.setattr(download, "public", lambda address: len(calls) == 2)  # the second answer's, and no later one's
    assert download.download(f"http://a.test:{port}/x y?ä") == b"body"
    assert len(calls) == 2
    assert said[0].startswith(b"GET /x%%20y?%%C3%%A4 HTTP/1.1\r\nHost: a.test:%d\r\n" % port)


def test_no_password_file_nor_cookie_is_sent(serve, monkeypatch, tmp_path):
    said = []

    def script(peer: socket.socket) -> None:
        said.append(peer.recv(2**16))
        again = b"HTTP/1.1 302 Found\r\nSet-Cookie: a=b\r\nLocation: /x\r\n\r\n"
        peer.sendall(again if len(said) == 1 else OK + b"\r\nbody")

    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert download.download(serve(script)) == b"body"
    assert len(said) == 2
    assert not any(b"Authorization" in one or b"Cookie" in one for one in said)


def test_a_proxy_resolves_names_but_numbers_are_checked(serve, monkeypatch):
    said = []

    def proxy(peer: socket.socket) -> None:
        said.append(peer.recv(2**16).split(b"\r\n"))
        peer.sendall(OK + b"\r\nbody" if said[-1][0].startswith(b"GET") else b"HTTP/1.1 403 No\r\n\r\n")

    server = serve(proxy).replace("http://", "http://me:s%20t@")
    monkeypatch.delenv("no_proxy")
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, server)
    assert download.download("http://a.test/x") == b"body"
    assert said[0][:2] == [b"GET http://a.test/x HTTP/1.1", b"Host: a.test"]
    assert b"Proxy-Authorization: Basic bWU6cyB0" in said[0]
    assert refused("https://a.test/x") == "the proxy answers with status 403"
    assert said[1][0] == b"CONNECT a.test:443 HTTP/1.1"
    for private in ("127.0.0.1", "localhost", "x.localhost.", "0x7f000001", "[::1]", "169.254.169.254"):
        assert "not a public address" in refused(f"http://{private}/")
    assert len(said) == 2
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    assert "not an http:// address" in refused("http://a.test/")


def test_an_encrypted_connection_checks_the_certificate(serve, monkeypatch, tmp_path):
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate}"
    about = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(f"{made} {about}".split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def script(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as secure:
            says(OK, b"Content-Length: 4\r\n\r\nbody")(secure)

    address = serve(script).replace("http", "https")
    monkeypatch.setattr(download, "DEADLINE_SECONDS", PATIENCE)
    download._certificates.cache_clear()
    assert "certificate" in refused(address).lower()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    download._certificates.cache_clear()
    assert download.download(address) == b"body"
    download._certificates.cache_clear()
