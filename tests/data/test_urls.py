"""Addresses against a real HTTP server on this machine."""

import contextlib
import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from probe.config import DatasetConfig
from probe.data import download
from probe.data.load import load_images
from probe.data.source import UnreadableImage
from probe.errors import UserError


def png(index: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (index, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """/ok/I a picture, /late/I the same after a moment, and the ways in which the web fails."""

    agents: set[str] = set()  # noqa: RUF012

    def do_GET(self):
        Handler.agents.add(self.headers["User-Agent"])
        kind, _, index = self.path[1:].partition("/")
        if kind == "late":
            time.sleep(0.02 * (9 - int(index)))
        if kind == "silent":  # longer than the patience of those who ask
            time.sleep(3)
        if kind in ("404", "500"):
            return self.send_error(int(kind))
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has had enough, as it should
            self.body(kind, index)
        return None

    def body(self, kind: str, index: str) -> None:
        if kind in ("ok", "late"):
            self.wfile.write(png(int(index)))
        elif kind == "html":
            self.wfile.write(b"<html>moved</html>")
        elif kind == "large":
            self.wfile.write(b"0" * 200_000)
        elif kind == "drip":
            for _ in range(20):
                self.wfile.write(b"0" * 70_000)
                time.sleep(0.05)

    def log_message(self, *args):
        pass


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(download, "SILENCE_SECONDS", 0.3)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("PROBE_ALLOW_PRIVATE_HOSTS", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def table(path, addresses, column="URL"):
    import pandas

    frame = pandas.DataFrame({column: addresses, "TEXT": "a caption"})
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return f"urls:{path}"


def load(source, n, holdout, **more):
    return load_images("web", DatasetConfig(source=source, n=n, holdout=holdout, **more), resolution=4)


def numbers(images):
    return images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_the_order_does_not_depend_on_speed(server, tmp_path, name):
    source = table(tmp_path / name, [f"{server}/late/{i}" for i in range(10)])
    bare, again, full = load(source, 4, 0), load(source, 4, 0), load(source, 4, 6)
    assert bare.ids == again.ids == full.ids
    assert bare.ids == [f"{server}/late/{i}" for i in numbers(bare.images)]
    assert sorted(numbers(full.images) + numbers(full.heldout)) == list(range(10))
    assert load(source, 4, 0, seed=1).ids != bare.ids
    assert Handler.agents == {download.USER_AGENT}


BAD = ("404/x", "500/x", "silent/x", "html/x", "large/x", "drip/x")


def test_every_failure_is_counted_and_replaced(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 150_000)
    monkeypatch.setattr(download, "SILENCE_SECONDS", 2.0)  # long enough for the good ones on a busy machine
    bad = [f"{server}/{path}" for path in BAD]
    bad += ["http://127.0.0.1:1/refused", "ftp://127.0.0.1/x", "not an address", "http://[bad", "file:///etc/passwd"]
    good = [f"{server}/ok/{i}" for i in range(5)]
    got = load(table(tmp_path / "t.parquet", [*bad, None, *good], column="url"), 100, 0)
    assert sorted(numbers(got.images)) == list(range(5))
    assert sorted(got.unreadable) == sorted([*bad, "None"])
    assert got.source["available"] == len(bad) + 6
    assert got.source["column"] == "url"


@pytest.mark.parametrize(("path", "message"), [("silent/x", "timed out"), ("large/x", "more than"), ("404/x", "404")])
def test_why(server, impatient, monkeypatch, path, message):
    monkeypatch.setattr(download, "MAX_BYTES", 150_000)
    with pytest.raises(UnreadableImage, match=message):
        download.download(f"{server}/{path}")


def test_a_server_that_drips_is_left(server, monkeypatch):
    monkeypatch.setattr(download, "DEADLINE_SECONDS", 0.2)
    with pytest.raises(UnreadableImage, match="not complete after"):
        download.download(f"{server}/drip/x")


def test_an_address_is_taken_once(server, tmp_path):
    got = load(table(tmp_path / "t.csv", [f"{server}/ok/{i % 3}" for i in range(9)]), 2, 9)
    assert sorted(numbers(got.images) + numbers(got.heldout)) == [0, 1, 2]


def test_the_search_is_bounded(server, tmp_path):
    source = table(tmp_path / "t.csv", [f"{server}/404/{i}" for i in range(50)])
    with pytest.raises(UserError, match="none of the 8 images tried"):
        load(source, 2, 10)


def test_bad_tables(tmp_path):
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(UserError, match="cannot be read as parquet"):
        load(f"urls:{tmp_path}/bad.parquet", 1, 0)
    with pytest.raises(UserError, match="no file matches"):
        load(f"urls:{tmp_path}/gone.csv", 1, 0)
    source = table(tmp_path / "t.csv", ["x"], column="link")
    with pytest.raises(UserError, match="which column to use is not clear; set column to one of 'link', 'TEXT'"):
        load(source, 1, 0)
    with pytest.raises(UserError, match="has no column 'lnk': did you mean 'link'"):
        load(source, 1, 0, column="lnk")


@pytest.mark.parametrize(
    ("name", "cells", "words"),
    [
        ("a.csv", b"url\nhttp://x/\xe9.png\n", "cannot be read as a table of addresses"),
        ("a.parquet", [["http://x/a"]], "cannot be read as a table of addresses"),
        ("a.tsv", b"url\n", "is a .parquet or .csv file; give one"),
        ("a.csv.gz", b"", "is a .parquet or .csv file; give one"),
    ],
)
def test_tables_without_addresses(name, cells, words, tmp_path):
    import pandas

    if isinstance(cells, bytes):
        (tmp_path / name).write_bytes(cells)
    else:
        pandas.DataFrame({"url": cells}).to_parquet(tmp_path / name)
    with pytest.raises(UserError, match=words):
        load_images("mine", DatasetConfig(source=f"urls:{tmp_path}/{name}", n=1, holdout=0), resolution=4)
