"""The client against servers that break connections, lie, or ask it to go elsewhere."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from probe import client
from probe.client import Client
from probe.errors import Failure, UserError

RUN = {"id": "a run", "kind": "run", "state": "running", "reason": "", "rev": 3}
Answer = tuple[int, dict[str, str], bytes]


class Scripted:
    """A server that answers what a function says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Callable[[str, str], Answer] = lambda method, path: (404, {}, b"")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked.append((self.command, self.path, dict(self.headers), body))
                status, headers, content = outer.answer(self.command, self.path)
                if not status:  # no answer at all
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = respond

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def script(self, *answers: Answer) -> None:
        """Answer so, one after another; the last one for ever."""
        left = list(answers)
        self.answer = lambda *_: left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    for name in ("PROBE_TOKEN", "PROBE_TOKEN_FILE", "PROBE_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client, "WAITS", (0.0, 0.0))
    found = Scripted()
    yield found
    found.server.shutdown()
    found.server.server_close()


def said(value: Any, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def event(**changed: Any) -> bytes:
    data = {**RUN, **changed}
    return f"event: run\nid: {data['rev']}\ndata: {json.dumps(data)}\n\n: still here\n\n".encode()


def test_the_token_goes_into_the_header_and_nowhere_else(scripted: Scripted, caplog: pytest.LogCaptureFixture):
    caplog.set_level(0)
    scripted.script(said(RUN))
    with Client(scripted.url + "/below/", "secret-token") as one:
        run = one.run("a run")
        shown = repr(one) + repr(run) + repr(vars(run)) + caplog.text
    assert scripted.asked[0][1] == "/below/v1/runs/a%20run"
    assert scripted.asked[0][2]["Authorization"] == "Bearer secret-token"
    assert "secret" not in shown


def test_the_token_comes_from_the_environment_or_a_file(
    scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    scripted.script(said(RUN))
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    Client(scripted.url).run("x")
    monkeypatch.setenv("PROBE_TOKEN_FILE", str(file))
    Client(scripted.url).run("x")
    monkeypatch.setenv("PROBE_TOKEN", "of-the-environment")
    Client(scripted.url).run("x")
    Client(scripted.url, file).run("x")
    sent = [headers.get("Authorization") for _, _, headers, _ in scripted.asked]
    assert sent == [None, "Bearer of-the-file", "Bearer of-the-environment", "Bearer of-the-file"]


@pytest.mark.parametrize("content", [b"", b"two words", "ü".encode(), b"a\nb"])
def test_a_damaged_token_is_refused_without_being_shown(tmp_path: Path, content: bytes):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UserError) as refused:
        Client("http://localhost:1", tmp_path / "token")
    assert not content or content.decode() not in str(refused.value)


def test_no_token_over_plain_http_to_another_machine():
    with pytest.raises(UserError, match="unencrypted"):
        Client("http://example.org", "secret")
    for url in ("https://example.org", "http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"):
        Client(url, "secret").close()
    Client("http://example.org", "secret", plain_http=True).close()
    Client("http://example.org").close()  # nothing to lose


@pytest.mark.parametrize(
    "url", ["", "localhost:8765", "ftp://x", "http://", "http://me:pw@x", "http://x/?a=b", "http://x:y"]
)
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(UserError, match="no address of a server") as refused:
        Client(url)
    assert "pw" not in str(refused.value)


def test_a_redirect_is_not_followed(scripted: Scripted):
    elsewhere = Scripted()
    scripted.script((307, {"Location": f"{elsewhere.url}/v1/runs/x"}, b""))
    with pytest.raises(UserError, match=f"leads to {elsewhere.url}"):
        Client(scripted.url, "secret").run("x")
    assert not elsewhere.asked
    elsewhere.server.shutdown()
    elsewhere.server.server_close()


def test_no_proxy_stands_before_this_machine(scripted: Scripted, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    scripted.script(said(RUN))
    assert Client(scripted.url, "secret").run("x").state == "running"


def test_only_what_is_safe_is_sent_again(scripted: Scripted):
    one = Client(scripted.url)
    scripted.script((0, {}, b""), (503, {}, b""), said(RUN))
    run = one.run("x")
    assert len(scripted.asked) == 3
    scripted.script((0, {}, b""), said(RUN, 201))
    one.submit({"model": {}})
    keys = [headers["Idempotency-Key"] for method, _, headers, _ in scripted.asked if method == "POST"]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    scripted.asked.clear()
    scripted.script((0, {}, b""), said(RUN))
    with pytest.raises(Failure, match="broke the connection"):
        run.cancel()
    assert len(scripted.asked) == 1


def test_problems_are_told_with_their_sentence(scripted: Scripted):
    one = Client(scripted.url, "secret")
    scripted.script(said({"detail": "config key 'x' is unknown.", "status": 422}, 422))
    with pytest.raises(UserError, match=r"^config key 'x' is unknown\.$"):
        one.submit({"x": 1})
    scripted.script(said({"detail": "the queue is full."}, 429))
    with pytest.raises(Failure, match=r"^the queue is full\.$"):
        one.submit({"x": 1})
    scripted.script((502, {}, b"<html>nginx"))
    with pytest.raises(Failure, match="answered 502"):
        one.run("x")
    scripted.script((200, {}, b"<html>some page"))
    with pytest.raises(Failure, match="something else than JSON"):
        one.run("x")
    with pytest.raises(Failure, match="cannot be reached"):
        Client("http://127.0.0.1:1").run("x")


def test_configurations_are_sent_as_text_or_as_a_mapping(scripted: Scripted, tmp_path: Path):
    scripted.script(said(RUN))
    file = tmp_path / "small.yaml"
    file.write_text("model: {}\n")
    one = Client(scripted.url)
    one.submit(file)
    one.submit(str(file), name="other", id="mine", executor="slurm")
    one.submit("model: {}\n")
    one.submit({"data": {"images": file}})
    sent = [json.loads(body) for _, _, _, body in scripted.asked]
    assert sent == [
        {"config_yaml": "model: {}\n", "name": "small"},
        {"config_yaml": "model: {}\n", "name": "other", "id": "mine", "executor": "slurm"},
        {"config_yaml": "model: {}\n"},
        {"config": {"data": {"images": str(file)}}},
    ]


def test_events_are_taken_up_where_the_connection_broke(scripted: Scripted):
    stream = {"Content-Type": "text/event-stream"}
    broken = {**stream, "Content-Length": "100000"}
    scripted.script(
        said(RUN),
        (200, broken, event(rev=3) + event(rev=4) + b"data: {half"),
        (503, {}, b""),
        (200, stream, event(rev=9, state="done") + event(rev=10)),
    )
    run = Client(scripted.url).run("x")
    assert [one["rev"] for one in run.events()] == [3, 4, 9]
    assert run.state == "done"
    assert [headers.get("Last-Event-ID") for _, path, headers, _ in scripted.asked if "events" in path] == [
        None,
        "4",
        "4",
    ]


def test_waiting_has_an_end(scripted: Scripted):
    scripted.answer = lambda _, path: said(RUN) if "events" not in path else (200, {}, event())
    with pytest.raises(Failure, match="is running after"):
        Client(scripted.url).run("x").wait(0.3)


def files(**sizes: int) -> Answer:
    listed = [{"path": name, "bytes": size, "modified": "2026-01-01T00:00:00+00:00"} for name, size in sizes.items()]
    return said({"artifacts": listed})


def test_a_download_goes_on_where_it_broke(scripted: Scripted, tmp_path: Path):
    content = bytes(range(100))
    scripted.script(
        said(RUN),
        files(a=100),
        (200, {"Content-Length": "100"}, content[:40]),
        (206, {}, content[40:]),
        files(a=100),
    )
    run = Client(scripted.url).run("x")
    assert run.download(tmp_path) == [tmp_path / "a"]
    assert (tmp_path / "a").read_bytes() == content
    assert scripted.asked[-1][2]["Range"] == "bytes=40-"
    before = len(scripted.asked)
    run.download(tmp_path)
    assert len(scripted.asked) == before + 1  # the list alone: nothing has changed
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_server_that_ignores_ranges_begins_again(scripted: Scripted, tmp_path: Path):
    content = bytes(range(100))
    scripted.script(said(RUN), files(a=100), (200, {"Content-Length": "100"}, content[:40]), (200, {}, content))
    run = Client(scripted.url).run("x")
    run.download(tmp_path)
    assert (tmp_path / "a").read_bytes() == content


def test_a_file_of_another_size_is_not_kept(scripted: Scripted, tmp_path: Path):
    scripted.script(said(RUN), files(a=10), (200, {}, b"x" * 30))
    run = Client(scripted.url).run("x")
    with pytest.raises(Failure, match="has 30 bytes, not 10"):
        run.download(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", "a\\b", "a\0b", "."])
def test_no_file_is_written_outside_of_the_folder(scripted: Scripted, tmp_path: Path, name: str):
    scripted.script(said(RUN), files(**{name: 1}), (200, {}, b"x"))
    run = Client(scripted.url).run("x")
    with pytest.raises(Failure, match="no place below a folder"):
        run.download(tmp_path / "to")
    assert not list(tmp_path.rglob("*x*"))


def test_the_log_is_followed_from_file_to_file(scripted: Scripted, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    scripted.script(
        said(RUN),
        said({"default": "service.log"}),
        (200, {}, b"starting\n"),
        said(RUN),
        said({"default": "logs/rank-0000.log"}),
        (200, {}, b"one\ntw"),
        said(RUN),
        said({"default": "logs/rank-0000.log"}),
        (416, {}, b""),
        said({**RUN, "state": "done"}),
        said({"default": "logs/rank-0000.log"}),
        (206, {}, b"o\nend"),
    )
    assert list(Client(scripted.url).run("x").log(follow=True)) == ["starting", "one", "two", "end"]
    assert [headers["Range"] for _, _, headers, _ in scripted.asked if "Range" in headers] == ["bytes=6-", "bytes=6-"]
