"""What an attacker tries against a real `probe serve`, over raw sockets where clients would tidy requests up."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from probe.report.run.write import write_report

from ..jobs.conftest import CLEAN

pytestmark = pytest.mark.busy(60)

FINISHED = Path(__file__).parents[1] / "jobs" / "finished" / "run"
ENVIRONMENT = {**CLEAN, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
SECRET = "THE-SECRET-OF-THIS-MACHINE"
EVIL_REPORT = """<!doctype html><title>evil</title><script>
"use strict";
const said = {};
const attempt = (name, work) => { try { said[name] = String(work()); } catch (error) { said[name] = error.name; } };
attempt("cookie", () => document.cookie);
attempt("parent", () => parent.document.title);
attempt("storage", () => localStorage.length);
attempt("opened", () => open("/v1/runs"));
attempt("top", () => { top.location = "/v1/runs"; });
attempt("form", () => {
  const form = document.createElement("form");
  form.method = "post"; form.action = "/v1/runs/done/cancel"; form.target = "_top";
  document.documentElement.append(form); form.submit();
});
const sent = (method) => fetch("/v1/runs", { method, credentials: "include" }).then((r) => r.status, (e) => e.name);
Promise.all([sent("GET"), sent("POST")]).then((found) => { said.fetched = String(found); window.said = said; });
</script>"""
SCRIPT = "<script>alert(1)</script>"


@dataclass
class Target:
    """A server without slots, so that nothing that is queued ever runs."""

    root: Path
    port: int
    token: str
    process: subprocess.Popen[bytes]
    log: Path
    answers: list[bytes] = field(default_factory=list)

    def raw(self, request: bytes, seconds: float = 30) -> bytes:
        """Bytes as they are; the answer, or what there is of it when the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as sock:
            sock.sendall(request)
            parts = []
            while part := sock.recv(1 << 16):
                parts.append(part)
        self.answers.append(b"".join(parts))
        return self.answers[-1]

    def get(self, target: str, *headers: str, method: str = "GET", token: bool = True) -> bytes:
        """A request whose target is sent as it is."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Connection: close", *headers]
        lines += [f"Authorization: Bearer {self.token}"] * token
        return self.raw("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def client(self, token: bool = True) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"} if token else {}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=60)

    def post(self, path: str, **more: Any) -> httpx.Response:
        with self.client() as client:
            answer = client.post(path, **more)
        self.answers.append(answer.content + str(answer.headers).encode())
        return answer

    def entries(self) -> set[str]:
        """Folders in the root."""
        return {one.name for one in self.root.iterdir()}


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacked")
    root = folder / "root"
    shutil.copytree(FINISHED, root / "done")
    (folder / "outside").mkdir()
    (folder / "outside" / "secret.txt").write_text(SECRET)
    (root / "done" / "link.txt").symlink_to(folder / "outside" / "secret.txt")
    (root / "done" / "linked").symlink_to(folder / "outside")
    (root / "done" / "logs").mkdir(exist_ok=True)
    (root / "done" / "logs" / "linked.log").symlink_to(folder / "outside" / "secret.txt")
    (root / "done" / ".hidden").write_text(SECRET)
    (root / "done" / "evil.html").write_text(SCRIPT)
    (root / "done" / "evil.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg">{SCRIPT}</svg>')
    shutil.copytree(FINISHED, root / SCRIPT.replace("/", "-"))
    shutil.copytree(FINISHED, root / "true")
    write_report(root / "true")
    shutil.copytree(FINISHED, root / "evil")
    (root / "evil" / "report" / "report.html").write_text(EVIL_REPORT)
    (root / "away").symlink_to(folder / "outside")
    log = folder / "log"
    with log.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "probe.cli.main", "serve", "--root", str(root), *["--port", "0", "--slots", "0"]],
            stdout=subprocess.PIPE,
            stderr=err,
            env=ENVIRONMENT,
        )
    try:
        assert process.stdout
        first = process.stdout.readline().decode()
        found = re.match(r"http://127\.0\.0\.1:(\d+)/ serves .*; token in (.*)\n", first)
        assert found, first + log.read_text()
        one = Target(root, int(found[1]), Path(found[2]).read_text().strip(), process, log)
        assert one.token not in first
        end = time.monotonic() + 120
        while status(one.get("/readyz")) != 200:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield one
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout
        process.stdout.close()


@pytest.fixture(autouse=True)
def nothing_leaks(target: Target) -> Iterator[None]:
    """Whatever is tried: the server lives, and says neither its token nor the secret."""
    target.answers.clear()
    said = target.log.stat().st_size
    yield
    assert target.process.poll() is None
    for answer in target.answers:
        for never in (target.token.encode(), SECRET.encode(), b"root:x:0", b"Traceback"):
            assert never not in answer, answer[:1000]
    log = target.log.read_bytes()[said:].decode()
    assert target.token not in log
    assert "Traceback" not in log, log[-3000:]
    assert status(target.get("/healthz", token=False)) == 200


UP = ("..", "%2e%2e", ".%2e", "%2E%2E", "..%00", "%252e%252e", "..;", "....", "%c0%ae%c0%ae", "%ef%bc%8e%ef%bc%8e")
SLASH = ("/", "%2f", "%5c", "\\", "%252f", "//", "/./", "%c0%af")


@pytest.mark.parametrize("slash", SLASH)
def test_no_path_leads_out_of_a_run(target: Target, slash: str):
    for up in UP:
        climb = slash.join([up] * 12)
        for base in (f"/v1/runs/done/artifacts{slash}", "/v1/runs/done/artifacts/linked/", "/v1/runs/"):
            for goal in ("etc/passwd", ".probe-serve/token", "outside/secret.txt"):
                answer = target.get(f"{base}{climb}{slash}{goal}")
                assert status(answer) in (400, 404, 422), answer[:300]
        answer = target.get(f"/v1/runs/done/artifacts/{up}{slash}.probe-serve{slash}token")
        assert status(answer) in (400, 404, 422), answer[:300]
        for name in (f"{up}{slash}.probe-serve{slash}token", f"{climb}{slash}etc/passwd"):
            answer = target.get(f"/v1/runs/done/logs?file={name}")
            assert status(answer) in (400, 404, 422), answer[:300]
        answer = target.get(f"/static{slash}{up}{slash}{up}{slash}security.py", token=False)
        assert status(answer) in (400, 401, 404), answer[:300]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/done/artifacts//etc/passwd",
        "/v1/runs/done/artifacts/%2fetc%2fpasswd",
        "/v1/runs/done/artifacts/file:///etc/passwd",
        "/v1/runs/done/artifacts/~root/x",
        "/v1/runs/done/artifacts/.hidden",
        "/v1/runs/done/artifacts/%2ehidden",
        "/v1/runs/done/artifacts/.service.json",
        "/v1/runs/done/artifacts/link.txt",
        "/v1/runs/done/artifacts/linked/secret.txt",
        "/v1/runs/done/artifacts/logs/linked.log",
        "/v1/runs/done/artifacts/config.yaml%00.html",
        "/v1/runs/done/logs?file=/etc/passwd",
        "/v1/runs/done/logs?file=linked.log",
        "/v1/runs/done/logs?file=logs/linked.log",
        "/v1/runs/done/logs?file=../.probe-serve/token",
        "/v1/runs/.probe-serve",
        "/v1/runs/.probe-serve/artifacts/token",
        "/v1/runs/~.probe-serve/artifacts/token",
        "/v1/runs/done~..~.probe-serve/artifacts/token",
        "/v1/runs/..~.probe-serve/artifacts/token",
        "/v1/runs/done~logs/artifacts/linked.log",
        "/v1/runs/away/artifacts/secret.txt",
        "/v1/runs/~/artifacts/done",
        "/v1/compare?runs=done,../outside",
        "/v1/compare?runs=done,/etc",
        "/.probe-serve/token",
        "/root/.probe-serve/token",
    ],
)
def test_no_other_way_leads_out(target: Target, path: str):
    answer = target.get(path)
    assert status(answer) in (400, 404, 422), answer[:500]


def test_html_and_svg_of_a_run_are_sandboxed(target: Target):
    for name in ("evil.html", "evil.svg"):
        answer = target.get(f"/v1/runs/done/artifacts/{name}")
        assert status(answer) == 200
        head = answer.partition(b"\r\n\r\n")[0].decode().lower()
        policy = re.findall(r"content-security-policy: (.*)", head)
        assert len(policy) == 1
        assert policy[0].startswith("sandbox allow-scripts")
        assert "allow-same-origin" not in policy[0]
        assert "x-content-type-options: nosniff" in head


def test_names_that_are_markup_reach_no_page(target: Target):
    answer = target.get("/v1/runs", "Accept: application/json")
    ids = {run["id"] for run in json.loads(answer.partition(b"\r\n\r\n")[2])["runs"]}
    assert "done" in ids
    assert not [id for id in ids if not re.fullmatch(r"[A-Za-z0-9._~-]+", id)]
    made = target.post("/v1/runs", json={"config": {}, "name": SCRIPT, "id": "scripted"})
    assert made.status_code == 201
    assert made.headers["content-type"].startswith("application/json")
    for id in (SCRIPT, "a/b", "../x", ".x", "a\r\nSet-Cookie: x=y", "é", "x" * 300, "", " "):
        answer = target.post("/v1/runs", json={"config": {}, "id": id})
        assert answer.status_code == 422, (id, answer.text)
        assert "set-cookie" not in answer.headers


def test_pages_escape_what_runs_and_users_say(target: Target):
    target.post("/v1/runs", json={"config": {}, "name": SCRIPT, "id": "scripted"})
    with target.client(token=False) as browser:
        assert browser.post("/login", data={"token": target.token}).status_code == 303
        for path in ("/", "/runs/scripted", "/runs/done", "/board", "/submit"):
            page = browser.get(path, headers={"Accept": "text/html"})
            target.answers.append(page.content)
            assert page.status_code == 200, path
            assert SCRIPT not in page.text
            assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        page = browser.get(f"/runs/{quote(SCRIPT, safe='')}", headers={"Accept": "text/html"})
        assert page.status_code in (404, 405)
        assert SCRIPT not in page.text


@pytest.fixture
def page(target: Target, chromium: Any) -> Iterator[Any]:
    """A browser that is logged in."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"http://127.0.0.1:{target.port}/")
    assert page.url.endswith("/login?next=%2F")
    page.locator("input[name=token]").fill(target.token)
    page.locator("input[name=token]").press("Enter")
    page.wait_for_url(f"http://127.0.0.1:{target.port}/")
    yield page
    context.close()


def test_an_evil_report_reaches_nothing_of_the_user(target: Target, page: Any):
    page.goto(f"http://127.0.0.1:{target.port}/runs/evil")
    [frame] = [one for one in page.frames if one.url.endswith("/report.html")]
    frame.wait_for_function("window.said")
    assert frame.evaluate("self.origin") == "null"
    assert frame.evaluate("said") == {
        "cookie": "SecurityError",
        "parent": "SecurityError",
        "storage": "SecurityError",
        "opened": "null",
        "top": "SecurityError",
        "form": "undefined",  # and it goes nowhere
        "fetched": "TypeError,TypeError",
    }
    assert page.url.endswith("/runs/evil")
    page.goto(f"http://127.0.0.1:{target.port}/v1/runs/evil/report.html")  # opened by itself
    assert page.evaluate("self.origin") == "null"


def test_a_true_report_works_in_its_frame_without_a_complaint(target: Target, page: Any):
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(f"{said.text} {said.location}") if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{target.port}/runs/true")
    [frame] = [one for one in page.frames if one.url.endswith("/report.html")]
    frame.wait_for_function("window.Plotly")
    frame.wait_for_selector(".scatterlayer .trace .js-line", state="attached")
    assert frame.locator("h1").is_visible()
    assert frame.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
    assert frame.evaluate("self.origin") == "null"
    assert complaints == []


@pytest.mark.parametrize("where", ["/login?next=", "/v1/runs?state=", "/v1/runs/", "/?x=", "/v1/runs/done/logs?file="])
def test_nothing_is_injected_into_headers(target: Target, where: str):
    for crlf in ("%0d%0a", "%0a", "%E5%98%8A%E5%98%8D", "%c4%8d%c4%8a", "%5cr%5cn"):
        for token in (True, False):
            answer = target.get(f"{where}x{crlf}Set-Cookie:%20evil=1", "Accept: text/html", token=token)
            head = answer.partition(b"\r\n\r\n")[0].lower()
            assert not re.search(rb"^set-cookie", head, re.MULTILINE), head


def test_requests_that_are_no_http(target: Target):
    host = f"Host: 127.0.0.1:{target.port}\r\n".encode()
    bearer = f"Authorization: Bearer {target.token}\r\n".encode()
    for request in (
        b"\x00" * 100 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\n" + bearer + b"Connection: close\r\n\r\n",  # no Host
        b"GET /v1/runs HTTP/1.1\r\n" + host + b"Host: evil\r\n" + bearer + b"Connection: close\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\n" + host + bearer + bearer + b"Connection: close\r\n\r\n",
        b"GET http://evil/v1/runs HTTP/1.1\r\nHost: evil\r\n" + bearer + b"Connection: close\r\n\r\n",
        b"GET /v1/runs HTTP/1.1\r\n" + host + b"X: " + b"y" * 1_000_000 + b"\r\nConnection: close\r\n\r\n",
        b"POST /v1/runs HTTP/1.1\r\n" + host + bearer + b"Content-Length: -1\r\n\r\n",
        b"POST /v1/runs HTTP/1.1\r\n" + host + bearer + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\n\r\n0\r\n\r\n",
    ):
        try:
            answer = target.raw(request)
        except (ConnectionError, TimeoutError):
            continue
        assert status(answer) in (0, 400, 401, 403, 415, 421, 422, 431), answer[:300]


def test_endless_and_oversized_bodies(target: Target):
    head = f"POST /v1/runs HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nAuthorization: Bearer {target.token}\r\n"
    with socket.create_connection(("127.0.0.1", target.port), timeout=60) as sock:
        sock.sendall(f"{head}Content-Type: application/yaml\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        sent = 0
        try:
            while sent < 1 << 28:
                sock.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                sent += 0x10000
        except ConnectionError:
            pass
        assert sent < 1 << 27, "the server stops reading"
    answer = target.raw(f"{head}Content-Type: application/yaml\r\nContent-Length: 99999999999\r\n\r\n".encode())
    assert status(answer) == 413
    answer = target.post("/v1/runs", content=b"a: " + b"x" * (1 << 20), headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 413


BOMBS = {
    "laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "\n".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]" for n in range(12)),
    "deep": "a: " + "[" * 50_000,
    "deep maps": "\n".join(" " * n + "a:" for n in range(900)),
    "flow maps": "{a: " * 20_000,
    "recursive": "a: &a {b: *a}",
    "merge": "a: &a {x: 1}\nb:\n  <<: [" + ",".join(["*a"] * 9) + "]\n",
    "object": "model: !!python/object/apply:os.system ['touch /tmp/probe-was-here']",
    "tag": "model: !evil x",
    "binary": "model: !!binary aGVsbG8=",
    "digits": "resolution: " + "9" * 100_000,
    "keys": "\n".join(f"k{n}: {n}" for n in range(20_000)),
    "same": "resolution: 32\nresolution: 64",
    "documents": "--- {}\n--- {}",
    "nul": "a: \x00",
    "number": "12",
    "list": "[1, 2]",
    "colon": ": :",
}


@pytest.mark.parametrize("name", BOMBS)
def test_yaml_bombs(target: Target, name: str):
    before = target.entries()
    began = time.process_time()
    for path in ("/v1/runs", "/v1/validate"):
        answer = target.post(path, content=BOMBS[name].encode(), headers={"Content-Type": "application/yaml"})
        assert answer.status_code in (400, 422), (path, answer.text[:500])
        assert answer.json()["detail"]
        assert len(answer.content) < 10_000
        answer = target.post(path, json={"config_yaml": BOMBS[name]})
        assert answer.status_code in (400, 422), (path, answer.text[:500])
    assert target.entries() == before
    assert time.process_time() - began < 60
    assert not Path("/tmp/probe-was-here").exists()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"config":' * 50_000,
        b'{"config": {"resolution": 1e999}}',
        b'{"config": {"resolution": NaN}}',
        b'{"config": {"resolution": ' + b"9" * 100_000 + b"}}",
        b'{"config": {}, "config": {}}',
        b'{"config": {"model": {"source": "\\ud800"}}}',
        b'{"config": {"__class__": {}}}',
        b'{"config": {}, "out": "/tmp/elsewhere"}',
        b'{"config": {}, "token": "x"}',
        b'{"config": null}',
        b'{"config": []}',
        b"\xff\xfe{}",
        b"\x00",
        b"",
        b"null",
        b'"x"',
    ],
)
def test_json_bombs(target: Target, body: bytes):
    before = target.entries()
    answer = target.post("/v1/runs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text[:500]
    assert target.entries() == before


@pytest.mark.parametrize(
    "config",
    [
        {"model": {"source": "python:os:system"}},
        {"model": {"source": "owner/name", "trust_remote_code": True}},
        {"model": {"source": "/etc"}},
        {"model": {"source": "../outside"}},
        {"datasets": {"a": {"source": "folder:/etc"}}},
        {"datasets": {"a": {"source": "parquet:/etc/*"}}},
        {"datasets": {"a": "/etc"}},
        {"datasets": {"a": {"source": "urls:http://169.254.169.254/latest/meta-data.csv"}}},
        {"datasets": {"a": {"source": "parquet:http://127.0.0.1:22/x.parquet"}}},
        {"datasets": {"laion": {}}},
        {"clip": {"labels": "/etc/passwd"}},
        {"clip": {"model": "local-dir:/etc"}},
        {"perceptual": {"lpips": "/etc/passwd"}},
        {"trackers": {"log_with": ["wandb"]}},
        {"models": {"a": {}}, "datasets": {"digits": {}}, "run": "/etc"},
    ],
)
def test_code_files_and_addresses_are_forbidden(target: Target, config: dict[str, Any]):
    before = target.entries()
    for path in ("/v1/runs", "/v1/validate", "/v1/plan"):
        answer = target.post(path, json={"config": config})
        assert answer.status_code == 403, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert "not allowed over HTTP" in answer.json()["detail"]
    assert target.entries() == before


def test_what_is_not_ours_is_neither_deleted_nor_changed(target: Target):
    before = {path: path.stat().st_mtime_ns for path in (target.root / "done").rglob("*")}
    with target.client() as client:
        for method, path in (
            ("DELETE", "/v1/runs/done"),
            ("POST", "/v1/runs/done/cancel"),
            ("POST", "/v1/runs/done/resume"),
            ("DELETE", "/v1/runs/.probe-serve"),
            ("DELETE", "/v1/runs/away"),
            ("PUT", "/v1/runs/done/artifacts/config.yaml"),
            ("PATCH", "/v1/runs/done"),
        ):
            answer = client.request(method, path)
            assert answer.status_code in (403, 404, 405, 409), (method, path, answer.text)
    assert {path: path.stat().st_mtime_ns for path in (target.root / "done").rglob("*")} == before
    answer = target.post("/v1/runs", json={"config": {}, "id": "done"})
    assert answer.status_code == 409


def test_a_browser_elsewhere_gets_nothing(target: Target):
    """The page of another site, with the user's cookie, as a browser without SameSite would send it."""
    with target.client(token=False) as browser:
        answer = browser.post("/login", data={"token": target.token})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert target.token not in cookie
        before = target.entries()
        for headers in (
            {},
            {"Origin": "https://evil.example"},
            {"Origin": f"http://127.0.0.1:{target.port}", "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            for path, more in (
                ("/v1/runs", {"json": {"config": {}}}),
                ("/submit", {"data": {"config": "{}"}}),
                ("/v1/runs/scripted/cancel", {}),
                ("/runs/scripted/delete", {"data": {}}),
                ("/logout", {}),
            ):
                answer = browser.post(path, headers=headers, **more)
                assert answer.status_code == 403, (path, headers, answer.text)
        answer = browser.options("/v1/runs", headers={"Origin": "https://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert target.entries() == before
        assert browser.get("/v1/runs").status_code == 200
        for host in ("evil.example", f"evil.example:{target.port}", "127.0.0.1.evil.example"):
            assert browser.get("/v1/runs", headers={"Host": host}).status_code == 421


def test_guesses_are_slow(target: Target):
    began = time.monotonic()
    for number in range(3):
        answer = target.get("/v1/runs", f"Authorization: Bearer guess{number}", token=False)
        assert status(answer) == 401
    assert time.monotonic() - began > 2.5
    for request in ("/v1/runs?token=", "/v1/runs?access_token=", "/login?token="):
        answer = target.get(request + target.token, token=False)
        assert status(answer) in (200, 401)  # 200: the login page, which does not take it
        assert b'"runs"' not in answer


def test_the_token_is_in_no_file_but_its_own(target: Target):
    for file in target.root.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.name != "token":
            assert target.token.encode() not in file.read_bytes(), file
    command = Path(f"/proc/{target.process.pid}/cmdline").read_bytes()
    environment = Path(f"/proc/{target.process.pid}/environ").read_bytes()
    assert target.token.encode() not in command + environment
    assert (target.root / ".probe-serve").stat().st_mode & 0o077 == 0
    assert (target.root / ".probe-serve" / "token").stat().st_mode & 0o777 == 0o600


def test_a_second_server_says_no_address(target: Target):
    command = [sys.executable, "-m", "probe.cli.main", "serve", "--root", str(target.root), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "root" in done.stderr
