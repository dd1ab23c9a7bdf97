"""The guard around the application: token, sessions, CSRF, Host, Origin, sizes and headers."""

import asyncio
import hmac
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse

from probe.errors import UserError
from probe.serve import security
from probe.serve.limits import Limits
from probe.serve.security import PAGE_CSP, REPORT_CSP, Guard, Sessions, csrf_token, inside, make_token, read_token
from probe.serve.settings import Settings

TOKEN = "a-token-of-forty-letters-and-no-less-0123"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HERE = "http://127.0.0.1:8765"


def make_app(settings: Settings) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> Response:
        return PlainTextResponse("ok")

    @app.get("/")
    def index(request: Request) -> Response:
        return HTMLResponse(csrf_token(request))

    @app.get("/v1/runs")
    def runs() -> dict[str, int]:
        return {"runs": 3}

    @app.post("/v1/runs")
    async def post(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.post("/form")
    async def form(request: Request) -> dict[str, Any]:
        async with request.form() as form:
            return {name: value for name, value in form.items() if isinstance(value, str)}

    @app.get("/v1/broken")
    def broken() -> None:
        raise RuntimeError(f"the secret is {TOKEN}")

    @app.get("/v1/report.html")
    def report() -> Response:
        return HTMLResponse("<p>x", headers={"Content-Security-Policy": REPORT_CSP, "Cache-Control": "max-age=1"})

    @app.get("/v1/events")
    async def events() -> Response:
        async def words() -> AsyncIterator[str]:
            yield "begun"
            await asyncio.sleep(0.2)

        return StreamingResponse(words())

    app.include_router(security.router)
    app.add_middleware(Guard, settings=settings)
    return app


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., httpx.AsyncClient]:
    monkeypatch.setattr(
        security,
        "login_page",
        lambda request, goes_to, wrong=False: HTMLResponse(f"log in for {goes_to}", 401 if wrong else 200),
    )

    def make(base: str = HERE, **changes: Any) -> httpx.AsyncClient:
        app = make_app(Settings(root=tmp_path, **{"token": TOKEN, **changes}))
        return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=base)

    return make


def run(work: Callable[[httpx.AsyncClient], Any], client: httpx.AsyncClient) -> Any:
    async def inside() -> Any:
        async with client:
            return await work(client)

    return asyncio.run(inside())


def answers(client: httpx.AsyncClient, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    async def work(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.request(method, path, **more) for method, path, more in requests]

    return run(work, client)


async def log_in(client: httpx.AsyncClient, **more: Any) -> str:
    """The CSRF token of the session."""
    answer = await client.post("/login", data={"token": TOKEN}, headers={"Origin": HERE}, **more)
    assert answer.status_code == 303, answer.text
    return (await client.get("/")).text


def test_every_request_needs_the_token(client):
    wrong = ({}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer "})
    cookie = {"Cookie": f"probe-8765={TOKEN}"}
    for path in ("/", "/v1/runs", "/v1/absent", "/openapi.json", "/docs", "/metrics", "/%2e%2e/v1/runs", "//login"):
        for answer in answers(client(), *(("GET", path, {"headers": headers}) for headers in ({}, cookie))):
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"].startswith("a token is needed")
    guarded = client()
    guarded._transport.app.build_middleware_stack()
    requests = [("GET", "/v1/runs", {"headers": headers}) for headers in wrong]
    requests += [("GET", f"/v1/runs?token={TOKEN}", {}), ("POST", "/v1/runs", {"json": {"token": TOKEN}})]
    assert {answer.status_code for answer in answers(guarded, *requests)} == {401}


def test_the_right_token_and_what_is_open(client):
    right, health, login = answers(
        client(), ("GET", "/v1/runs", {"headers": BEARER}), ("GET", "/healthz", {}), ("GET", "/login", {})
    )
    assert right.json() == {"runs": 3}
    assert (health.text, login.text) == ("ok", "log in for /")


def test_a_person_is_sent_to_the_login_and_back(client):
    html = {"Accept": "text/html,*/*"}
    [asked] = answers(client(), ("GET", "/compare?runs=a,b", {"headers": html}))
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=%2Fcompare%3Fruns%3Da%2Cb")
    below, login = answers(
        client(root_path="/probe"),
        ("GET", "/runs/x", {"headers": html}),
        ("POST", "/login", {"data": {"token": TOKEN, "next": "/runs/x"}}),
    )
    assert below.headers["location"] == "/probe/login?next=%2Fruns%2Fx"
    assert login.headers["location"] == "/probe/runs/x"
    assert "Path=/probe;" in login.headers["set-cookie"]


@pytest.mark.parametrize(
    "path", ["//evil", "/\\evil", "https://evil", "", "evil", "/\t/evil", "/a\r\nSet-Cookie: x=1", "/é", None, "/\\", 3]
)
def test_the_login_leads_nowhere_else(path: Any):
    assert inside(path) == "/"


def test_paths_inside():
    assert inside("/runs/a~b?x=%2F#y") == "/runs/a~b?x=%2F#y"


def test_tokens_are_compared_in_constant_time(client, monkeypatch):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    monkeypatch.setattr(Guard, "slow_down", lambda self: asyncio.sleep(0))
    for token in (TOKEN, "", TOKEN[:-1], "é", TOKEN + "x"):
        answers(client(), ("GET", "/v1/runs", {"headers": {"Authorization": f"Bearer {token}".encode()}}))
    assert len(compared) == 5
    assert {len(one) for pair in compared for one in pair} == {32}, "digests, so that not even the length is told"


def test_the_cookie_is_a_session_and_nothing_else(client):
    async def work(client: httpx.AsyncClient) -> None:
        answer = await client.post("/login", data={"token": f" {TOKEN}\n"})
        cookie = answer.headers["set-cookie"]
        assert TOKEN not in cookie
        for word in ("HttpOnly", "SameSite=strict", "Path=/"):
            assert word in cookie
        assert "Secure" not in cookie
        assert (await client.get("/v1/runs")).status_code == 200
        held = dict(client.cookies)
        csrf = (await client.get("/")).text
        assert (await client.post("/logout", headers={"X-CSRF-Token": csrf})).status_code == 303
        client.cookies.update(held)
        assert (await client.get("/v1/runs")).status_code == 401, "the session has ended, not only the cookie"

    run(work, client())


def test_the_cookie_is_secure_where_the_browser_speaks_https(client):
    for base, changes, headers in (
        ("https://127.0.0.1", {"tls": (Path("c"), Path("k"))}, {}),
        ("http://probe.example.org", {"behind_proxy": True, "hosts": ("probe.example.org",)}, {}),
        (HERE, {"behind_proxy": True}, {"X-Forwarded-Proto": "https"}),
    ):
        [answer] = answers(client(base, **changes), ("POST", "/login", {"data": {"token": TOKEN}, "headers": headers}))
        assert "Secure" in answer.headers["set-cookie"]


def test_changes_with_the_cookie_need_the_csrf_token(client):
    async def work(client: httpx.AsyncClient) -> None:
        csrf = await log_in(client)
        assert len(csrf) == 64
        assert TOKEN not in csrf
        for more in (
            {},
            {"headers": {"X-CSRF-Token": "0" * 64}},
            {"headers": {"X-CSRF-Token": TOKEN}},
            {"data": {"csrf": "x"}},
            {"json": {"csrf": csrf}},
            {"params": {"csrf": csrf}},
            {"content": f"csrf={csrf}", "headers": {"Content-Type": "text/plain"}},
            {"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        ):
            answer = await client.post("/v1/runs", **more)
            assert answer.status_code == 403, more
            assert "CSRF" in answer.json()["detail"]
        assert (await client.post("/v1/runs", headers={"X-CSRF-Token": csrf}, content=b"abc")).json() == {"bytes": 3}
        assert (await client.post("/form", data={"csrf": csrf, "a": "b"})).json() == {"csrf": csrf, "a": "b"}
        assert (await client.post("/form", files={"f": b"x"}, data={"csrf": csrf})).json() == {"csrf": csrf}
        assert (await client.post("/v1/runs", headers=BEARER)).json() == {"bytes": 0}
        held, client.cookies = client.cookies, httpx.Cookies()
        assert await log_in(client) != csrf, "another session has another one"
        assert (await client.post("/form", data={"csrf": csrf})).status_code == 403
        client.cookies = held

    run(work, client())


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil", "localhost@evil", "", "[::1", "a b"]
)
def test_a_forged_host_is_refused(client, host: str):
    for accept in ("*/*", "text/html"):
        headers = {"Host": host, "Accept": accept, **BEARER}
        [answer] = answers(client(), ("GET", "/healthz", {"headers": headers}))
        assert answer.status_code == 421
        assert "evil" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "LOCALHOST:1", "[::1]:8765", "probe.example.org"])
def test_the_names_of_the_server_are_answered(client, host: str):
    [answer] = answers(client(hosts=("probe.example.org",)), ("GET", "/v1/runs", {"headers": {"Host": host, **BEARER}}))
    assert answer.status_code == 200


def test_a_forwarded_host_counts_behind_a_proxy_only(client):
    headers = {"X-Forwarded-Host": "evil.example", **BEARER}
    [plain] = answers(client(), ("GET", "/v1/runs", {"headers": headers}))
    [proxied] = answers(client(behind_proxy=True), ("GET", "/v1/runs", {"headers": headers}))
    assert (plain.status_code, proxied.status_code) == (200, 421)


FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:9999"},  # another server on this machine
    {"Origin": "https://127.0.0.1:8765"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    {"Sec-Fetch-Site": "none", "Origin": "https://evil.example"},
)


@pytest.mark.parametrize("headers", FOREIGN)
def test_requests_from_other_sites_change_nothing(client, headers: dict[str, str]):
    async def work(client: httpx.AsyncClient) -> None:
        answer = await client.post("/login", data={"token": TOKEN}, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        csrf = await log_in(client)
        for more in ({"X-CSRF-Token": csrf}, BEARER):
            assert (await client.post("/v1/runs", headers=headers | more)).status_code == 403

    run(work, client())
    for answer in answers(client(token=None), ("POST", "/v1/runs", {"headers": headers})):
        assert answer.status_code == 403


def test_reads_with_the_cookie_are_for_this_site_and_for_links(client):
    async def work(client: httpx.AsyncClient) -> None:
        await log_in(client)
        for mode, dest, status in (
            ("cors", "empty", 403),
            ("no-cors", "image", 403),
            ("navigate", "iframe", 403),
            ("navigate", "document", 200),
        ):
            headers = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
            assert (await client.get("/v1/runs", headers=headers)).status_code == status
        ours = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Origin": "https://as.the.proxy.says"}
        assert (await client.get("/v1/runs", headers=ours)).status_code == 200

    run(work, client())


def test_without_a_token_all_may_read_but_no_other_site(client):
    plain, page, foreign = answers(
        client(token=None),
        ("POST", "/v1/runs", {"content": b"x"}),
        ("GET", "/", {}),
        ("GET", "/v1/runs", {"headers": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}}),
    )
    assert (plain.status_code, page.status_code, page.text, foreign.status_code) == (200, 200, "", 403)


def test_ten_thousand_wrong_tokens_take_bounded_time_and_let_nobody_in(client):
    async def work(client: httpx.AsyncClient) -> None:
        guard = client._transport.app.middleware_stack = client._transport.app.build_middleware_stack()
        while not isinstance(guard, Guard):
            guard = guard.app
        guard.pause = 0.2

        async def attempt(number: int) -> int:
            if number % 2:
                return (await client.post("/login", data={"token": f"guess{number}"})).status_code
            return (await client.get("/v1/runs", headers={"Authorization": f"Bearer guess{number}"})).status_code

        waiting = asyncio.gather(*(attempt(number) for number in range(1000)))
        await asyncio.sleep(0.1)
        right = await client.get("/v1/runs", headers=BEARER)
        assert right.status_code == 200, "others cannot lock out who has the token"
        statuses = await waiting
        assert set(statuses) == {401, 429}
        assert statuses.count(401) <= 16 * 10
        assert (await attempt(1)) == 401
        assert not client.cookies
        assert len(guard.sessions._times) == 0

    run(work, client())


def test_bodies_are_bounded_in_bytes_and_time(client):
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(3600)

    limits = Limits(body=100_000, body_seconds=0.2)
    fits, large, lies, forever, slow = answers(
        client(limits=limits),
        ("POST", "/v1/runs", {"content": b"x" * 100_000, "headers": BEARER}),
        ("POST", "/v1/runs", {"content": b"x" * 100_001, "headers": BEARER}),
        ("POST", "/v1/runs", {"content": b"x", "headers": {**BEARER, "Content-Length": "9" * 30}}),
        ("POST", "/v1/runs", {"content": endless(), "headers": BEARER}),
        ("POST", "/v1/runs", {"content": stuck(), "headers": BEARER}),
    )
    assert fits.json() == {"bytes": 100_000}
    assert (large.status_code, lies.status_code, forever.status_code, slow.status_code) == (413, 413, 413, 408)
    unknown, login = answers(
        client(limits=limits),
        ("POST", "/v1/runs", {"content": endless()}),  # without a token the body is not even read
        ("POST", "/login", {"content": endless()}),
    )
    assert (unknown.status_code, login.status_code) == (401, 413)


def test_changes_a_minute_and_open_streams_are_bounded(client):
    limits = Limits(changes=5, streams=2)
    statuses = [
        answer.status_code
        for answer in answers(client(limits=limits), *[("POST", "/v1/runs", {"headers": BEARER})] * 7)
    ]
    assert statuses == [200] * 5 + [429] * 2

    async def work(client: httpx.AsyncClient) -> None:
        together = [client.get("/v1/events", headers=BEARER) for _ in range(5)]
        assert sorted(answer.status_code for answer in await asyncio.gather(*together)) == [200, 200, 429, 429, 429]
        assert (await client.get("/v1/events", headers=BEARER)).status_code == 200, "those have ended"

    run(work, client(limits=limits))


def test_headers_of_every_answer(client):
    requests = [("GET", "/", BEARER), ("GET", "/v1/runs", {}), ("GET", "/healthz", {}), ("GET", "/v1/absent", BEARER)]
    requests += [("GET", "/v1/broken", BEARER), ("GET", "/", {"Host": "evil"}), ("POST", "/", BEARER)]
    for answer in answers(client(), *((method, path, {"headers": more}) for method, path, more in requests)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not [name for name in answer.headers if name.startswith("access-control")]
    page, report = answers(client(), ("GET", "/", {"headers": BEARER}), ("GET", "/v1/report.html", {"headers": BEARER}))
    assert page.headers["content-security-policy"] == PAGE_CSP
    assert report.headers.get_list("content-security-policy") == [REPORT_CSP]
    assert report.headers["cache-control"] == "max-age=1"


def test_failures_tell_nothing(client, caplog):
    [answer] = answers(client(), ("GET", "/v1/broken", {"headers": BEARER}))
    assert answer.status_code == 500
    assert answer.json()["detail"] == "the server failed; its log says why."


def test_no_websockets(client):
    sent = []

    async def work(client: httpx.AsyncClient) -> None:
        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/", "headers": [], "app": None}
        await client._transport.app(scope, lambda: asyncio.sleep(3600), send)

    run(work, client())
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_sessions_are_bounded_in_number_and_time():
    now = [0.0]
    sessions = Sessions(most=3, longest=100.0, idle=10.0, clock=lambda: now[0])
    first, *others = (sessions.begin() for _ in range(4))
    assert [sessions.known(one) for one in (first, *others)] == [False, True, True, True]
    now[0] = 9.0
    assert sessions.known(others[0])
    now[0] = 15.0
    assert [sessions.known(one) for one in others] == [True, False, False]
    for later in range(20, 101, 5):
        now[0] = float(later)
        assert sessions.known(others[0])
    now[0] = 101.0
    assert not sessions.known(others[0])
    assert not sessions._times


def test_the_token_file_is_made_for_us_alone(tmp_path: Path):
    file = tmp_path / "own" / "token"
    before = os.umask(0)
    try:
        token = make_token(file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert len(token) >= 43
    assert make_token(file) == token, "reused"
    assert make_token(tmp_path / "other") != token


def test_a_token_file_that_others_may_know_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "token"
    make_token(file)
    for mode in (0o640, 0o604, 0o666, 0o620, 0o700):
        file.chmod(mode)
        with pytest.raises(UserError, match="0600"):
            make_token(file)
    file.chmod(0o600)
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(UserError, match="link"):
        make_token(tmp_path / "link")
    (tmp_path / "dangling").symlink_to(tmp_path / "made-through-a-link")
    with pytest.raises(UserError):
        make_token(tmp_path / "dangling")
    assert not (tmp_path / "made-through-a-link").exists()
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UserError, match="regular"):
        make_token(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError):
        make_token(tmp_path / "folder")
    with pytest.raises(UserError, match="No such file"):
        read_token(tmp_path / "absent")
    for text in ("", "short", "x" * 40 + "\n" + "y" * 40, "x y" * 20, "é" * 40):
        file.write_text(text)
        with pytest.raises(UserError, match="holds no token") as caught:
            read_token(file)
        assert "xx" not in str(caught.value)
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    file.write_text("x" * 40)
    with pytest.raises(UserError, match="of yours"):
        read_token(file)
