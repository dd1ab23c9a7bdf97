"""Who may ask: the token, sessions of browsers, CSRF, Host and Origin; and the headers of every answer.

A token is needed also on loopback, which all users of a login node share. ``Guard`` is plain ASGI around the whole
application, so no route can forget it; only ``OPEN`` paths are answered without a token.
"""

import asyncio
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette._utils import get_route_path  # the router's own: the guard must see the path that the router sees
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from probe.errors import Failure, UserError
from probe.serve.settings import LOOPBACK, Settings

PAGE_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'"
    "; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_CSP = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; media-src data: blob:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
"""Of HTML that runs made: it works alone, in an origin of its own that has no cookie, and reaches nothing."""
DATA_CSP = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Of all other answers of the API."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # no-referrer would make the Origin of forms null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Where a route sets none of its own."""
OPEN = ("/healthz", "/login")
"""Answered without a token; so are the pages' own files below /static/, which the login page needs."""
SAFE = ("GET", "HEAD", "OPTIONS")
SHORTEST = 32
"""Characters of a token, since guessing is slowed and not stopped."""
log = logging.getLogger("probe")
router = APIRouter(include_in_schema=False)


class Sessions:
    """Browsers that are logged in: bounded in number, in time since the login, and in time without a request."""

    def __init__(
        self,
        most: int = 64,
        longest: float = 7 * 86400.0,
        idle: float = 12 * 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most, self.longest, self.idle, self.clock = most, longest, idle, clock
        self._times: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # by digest: begun, last used

    def begin(self) -> str:
        """A new session; the one unused for longest ends where there are too many."""
        session = secrets.token_urlsafe(32)
        while len(self._times) >= self.most:
            self._times.popitem(last=False)
        self._times[_digest(session)] = (self.clock(), self.clock())
        return session

    def known(self, session: str) -> bool:
        """Whether a session is still open; it counts as used."""
        key, now = _digest(session), self.clock()
        begun, used = self._times.pop(key, (now, None))
        if used is None or now - begun > self.longest or now - used > self.idle:
            return False
        self._times[key] = (begun, now)
        return True

    def end(self, session: str) -> None:
        """Forget a session."""
        self._times.pop(_digest(session), None)


def read_token(file: Path) -> str:
    """The token in a file of ours that nobody else can read.

    Raises:
        UserError: it is absent, a link, of another user, readable by others, or holds no token.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(
            f"token file {file} cannot be read: {error.strerror}; give another with --token-file."
        ) from None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.getuid() or stat.S_IMODE(about.st_mode) & 0o177:
            raise UserError(
                f"token file {file} must be a regular file of yours with mode 0600, or others could read it: remove it "
                "and a new one is made, or run chmod 600 on it if nobody has read it."
            )
        token = os.read(descriptor, 4096).decode("ascii", "replace").strip()
    finally:
        os.close(descriptor)
    if not re.fullmatch(rf"[A-Za-z0-9._~+/=-]{{{SHORTEST},1024}}", token):
        raise UserError(
            f"token file {file} holds no token: one line of {SHORTEST} or more letters, digits and ._~+/=- "
            "(openssl rand -hex 32)."
        )
    return token


def make_token(file: Path) -> str:
    """The token in a file, which is made where it is absent.

    Raises:
        UserError: as ``read_token``.
        Failure: it cannot be written.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if file.is_file() and not file.stat().st_size:  # a service was killed while it made the file
            file.unlink()
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return read_token(file)
    except OSError as error:
        raise Failure(f"token file {file} cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "w") as opened:
        os.fchmod(descriptor, 0o600)  # whatever the umask
        opened.write(f"{secrets.token_urlsafe(32)}\n")
    return read_token(file)


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing about them."""
    return hmac.compare_digest(_digest(given), _digest(wanted))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()


def csrf_token(request: Request) -> str:
    """For a page: the field ``csrf`` of its forms and the header X-CSRF-Token of its scripts. "" without a session."""
    session = request.scope.get("probe.session")
    return request.scope["probe.guard"].csrf(session) if session else ""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings, self.limits = app, settings, settings.limits
        self.sessions = Sessions()
        self.pause = 1.0
        """Seconds that a wrong token waits."""
        self._key = secrets.token_bytes(32)
        self._waiting = 0
        self._open: dict[str, int] = {}
        self._changes, self._refilled = float(self.limits.changes), time.monotonic()
        self._names = {name.lower() for name in (*LOOPBACK, *settings.hosts)}

    def csrf(self, session: str) -> str:
        """The CSRF token of a session."""
        return hmac.new(self._key, session.encode(), hashlib.sha256).hexdigest()

    @property
    def cookie(self) -> str:
        """The cookie's name, with the port: cookies of one host are shared by all its ports."""
        return f"probe-{self.settings.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        scope = dict(scope) | {"root_path": self.settings.root_path}
        asked, started = _Asked(scope, self.settings), False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _add_headers(MutableHeaders(raw=message.setdefault("headers", [])), asked.path)
            await send(message)

        scope |= {"probe.guard": self, "scheme": asked.scheme}
        try:
            await self._guarded(asked, scope, receive, sending)
        except _Refusal as refusal:
            await refusal.answer(asked, scope)(scope, receive, sending)
        except Exception:
            log.exception(f"{asked.method} {asked.path!r} failed")
            if started:
                raise
            await _Refusal(500, "the server failed; its log says why.").answer(asked, scope)(scope, receive, sending)

    async def _guarded(self, asked: "_Asked", scope: Scope, receive: Receive, send: Send) -> None:
        if not asked.host_is_one_of(self._names):
            raise _Refusal(
                421, "this server is not known by the name in Host: use its own address, or add --host-name."
            )
        scope["probe.session"] = session = self._session(asked)
        changes = asked.method not in SAFE
        if (changes or session or self.settings.token is None) and asked.is_from_elsewhere():
            raise _Refusal(403, "the request comes from another site.")
        if not session and self.settings.token is not None and not asked.is_open():
            await self._must_have_token(asked, self.settings.token)
        if changes:
            if not asked.is_open():
                self._count_change()
            body = await self._whole_body(asked, receive)
            if session and asked.path != "/login":
                await self._must_have_csrf(asked, session, scope, body)
            receive = _replay(body, receive)
        with self._held(asked):
            await self.app(scope, receive, send)

    def _session(self, asked: "_Asked") -> str | None:
        """The browser's session; a bearer header goes before the cookie."""
        if self.settings.token is None or asked.bearer is not None:
            return None
        given = asked.cookie(self.cookie)
        return given if given and self.sessions.known(given) else None

    async def _must_have_token(self, asked: "_Asked", token: str) -> None:
        if asked.bearer is not None and same(asked.bearer, token):
            return
        if asked.bearer is not None:
            await self.slow_down()
            raise _Refusal(401, "the token is wrong; the file that the server named at its start holds it.")
        if asked.wants_page():
            raise _Refusal(303, "", {"Location": f"{asked.root_path}/login?next={quote(asked.target, safe='')}"})
        raise _Refusal(401, "a token is needed: send the header Authorization: Bearer TOKEN, or log in on the page.")

    async def slow_down(self, most: int = 16) -> None:
        """Let a wrong token wait; _Refusal (429) at once where many wait already."""
        if self._waiting >= most:
            raise _Refusal(429, "too many wrong tokens; try again in some seconds.", {"Retry-After": "5"})
        self._waiting += 1
        try:
            await asyncio.sleep(self.pause)
        finally:
            self._waiting -= 1

    def _count_change(self) -> None:
        """A bucket of requests that change something: full at the start, refilled within a minute."""
        now, most = time.monotonic(), self.limits.changes
        self._changes = min(most, self._changes + (now - self._refilled) * most / 60)
        self._refilled = now
        if self._changes < 1:
            raise _Refusal(429, f"more than {most} changes a minute; try again in a minute.", {"Retry-After": "60"})
        self._changes -= 1

    async def _whole_body(self, asked: "_Asked", receive: Receive) -> bytes:
        """Read the body, bounded in bytes and time."""
        most = self.limits.body
        if asked.length is not None and asked.length > most:
            raise _too_large(most)
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Refusal(400, "the request ended early.")
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > most:
                        raise _too_large(most)
        except TimeoutError:
            raise _Refusal(408, "the request took too long to arrive.", {"Connection": "close"}) from None
        return bytes(body)

    async def _must_have_csrf(self, asked: "_Asked", session: str, scope: Scope, body: bytes) -> None:
        given: object = asked.headers.get("x-csrf-token")
        if given is None and asked.is_form():
            request = Request(dict(scope), _replay(body))
            with suppress(HTTPException):  # no form after all
                async with request.form(max_files=10, max_fields=100) as form:
                    given = form.get("csrf")
        if not isinstance(given, str) or not same(given, self.csrf(session)):
            raise _Refusal(403, "the CSRF token is missing or old: load the page again.")

    @contextmanager
    def _held(self, asked: "_Asked") -> Iterator[None]:
        """Count streams that stay open."""
        what, most = asked.stream(), self.limits.streams
        if what == "followed logs":
            most = self.limits.follows
        if what is None:
            yield
            return
        if self._open.get(what, 0) >= most:
            raise _Refusal(429, f"{most} {what} are open already; close some.", {"Retry-After": "5"})
        self._open[what] = self._open.get(what, 0) + 1
        try:
            yield
        finally:
            self._open[what] -= 1


guard = Guard


class _Refusal(Exception):
    """An answer of the guard itself."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}

    def answer(self, asked: "_Asked", scope: Scope) -> Response:
        """RFC 9457, as ``probe.serve.problems`` writes it; a page where a person waits for one."""
        if self.status == 303:
            return Response(status_code=303, headers=self.headers)
        title = TITLES.get(self.status, "Refused")
        if self.status != 421 and (asked.wants_page() or (asked.is_form() and asked.accepts_page())):
            from probe.serve.pages.render import error_page

            page: Response = error_page(Request(scope), self.status, title, self.detail)
            page.headers.update(self.headers)
            return page
        headers = self.headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})
        content = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return JSONResponse(content, self.status, headers, "application/problem+json")


TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    408: "Request Timeout",
    413: "Content Too Large",
    421: "Misdirected Request",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


def _too_large(most: int) -> _Refusal:
    return _Refusal(413, f"the request is larger than {most} bytes.", {"Connection": "close"})


async def _gone() -> Message:
    return {"type": "http.disconnect"}


def _replay(body: bytes, receive: Receive = _gone) -> Receive:
    """A body that was read, once more; then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _add_headers(headers: MutableHeaders, path: str) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", DATA_CSP if path.startswith("/v1/") else PAGE_CSP)


class _Asked:
    """What the guard looks at in a request."""

    def __init__(self, scope: Scope, settings: Settings) -> None:
        self.headers = Headers(scope=scope)
        self.method: str = scope["method"]
        self.root_path: str = settings.root_path
        self.path = get_route_path(scope)
        query = scope.get("query_string", b"").decode("latin-1")
        self.target = self.path + (f"?{query}" if query else "")
        self.proxied = settings.behind_proxy
        plain = settings.tls is None and not (self.proxied and self.headers.get("x-forwarded-proto") != "http")
        self.scheme = "http" if plain else "https"

    @property
    def host(self) -> str:
        """The host that the browser asked for, with its port."""
        hosts = self.headers.getlist("host")
        if self.proxied and (forwarded := self.headers.getlist("x-forwarded-host")):
            hosts = forwarded
        return hosts[0].lower() if len(hosts) == 1 else ""

    @property
    def bearer(self) -> str | None:
        """The token in the header, or "" for another kind of Authorization; None where there is no header."""
        given = self.headers.getlist("authorization")
        if not given:
            return None
        kind, _, token = given[0].partition(" ")
        return token.strip() if kind.lower() == "bearer" and len(given) == 1 else ""

    @property
    def length(self) -> int | None:
        """Content-Length, where it is a number."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdecimal() else None

    def cookie(self, name: str) -> str | None:
        """A cookie of the browser."""
        with suppress(CookieError):
            found = SimpleCookie(self.headers.get("cookie", "")).get(name)
            return found.value if found else None
        return None

    def host_is_one_of(self, names: set[str]) -> bool:
        """Whether the server goes by the name in Host, whatever the port, which may be forwarded by ssh."""
        match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?", self.host)
        return match is not None and match[1] in names

    def is_from_elsewhere(self) -> bool:
        """Whether a browser sends this for the page of another site, or of another port of this host.

        Clients that are no browsers send neither header.
        """
        fetched = self.headers.get("sec-fetch-site")
        if fetched in ("cross-site", "same-site"):
            links = self.method == "GET" and self.headers.get("sec-fetch-mode") == "navigate"
            return not (links and self.headers.get("sec-fetch-dest") == "document")
        origin = self.headers.get("origin")
        if origin is None or fetched == "same-origin":  # the browser's own word, also where a proxy rewrites Host
            return False
        return origin.lower() != f"{self.scheme}://{self.host}"

    def is_open(self) -> bool:
        """Whether it is answered without a token."""
        return self.path in OPEN or (self.method in SAFE and self.path.startswith("/static/"))

    def is_form(self) -> bool:
        """Whether the body is that of an HTML form."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind in ("application/x-www-form-urlencoded", "multipart/form-data")

    def wants_page(self) -> bool:
        """Whether a person waits for a page."""
        return self.method == "GET" and self.accepts_page()

    def accepts_page(self) -> bool:
        """Whether a browser asks, and not for the API."""
        return "text/html" in self.headers.get("accept", "") and not self.path.startswith("/v1/")

    def stream(self) -> str | None:
        """What of this stays open, in words."""
        if self.method == "GET" and self.path.startswith("/v1/"):
            if self.path.endswith("/events"):
                return "event streams"
            if self.path.endswith("/logs"):
                return "followed logs"
        return None


def login_page(request: Request, goes_to: str, wrong: bool = False) -> Response:
    """The page that asks for the token, and goes to a path of this application then."""
    from probe.serve.pages.render import page

    return page(request, "login.html.j2", status=401 if wrong else 200, wrong=wrong, next=goes_to)


@router.get("/login", name="login")
async def show_login(request: Request) -> Response:
    """The login page."""
    return login_page(request, inside(request.query_params.get("next")))


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Exchange the token for a session."""
    held: Guard = request.scope["probe.guard"]
    settings = held.settings
    form = await request.form(max_files=1, max_fields=10)
    given, goes_to = form.get("token"), inside(form.get("next"))
    if settings.token is not None and not (isinstance(given, str) and same(given.strip(), settings.token)):
        await held.slow_down()
        return login_page(request, goes_to, wrong=True)
    answer = RedirectResponse(f"{settings.root_path}{goes_to}", 303)
    if settings.token is not None:
        answer.set_cookie(
            held.cookie,
            held.sessions.begin(),
            path=settings.root_path or "/",
            httponly=True,
            samesite="strict",
            secure=_Asked(request.scope, settings).scheme == "https",
        )
    return answer


@router.post("/logout", name="logout")
async def log_out(request: Request) -> Response:
    """End the session."""
    held: Guard = request.scope["probe.guard"]
    if session := request.scope.get("probe.session"):
        held.sessions.end(session)
    answer = RedirectResponse(f"{held.settings.root_path}/login", 303)
    answer.delete_cookie(held.cookie, path=held.settings.root_path or "/", httponly=True, samesite="strict")
    return answer


def inside(path: object) -> str:
    """A path of this application to go to after the login; "/" for any other."""
    return path if isinstance(path, str) and re.fullmatch(r"/(?![/\\])[^\\\x00-\x20\x7f-\U0010ffff]*", path) else "/"
