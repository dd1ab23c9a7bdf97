"""The Hugging Face Hub on loopback, for the real clients: huggingface_hub, diffusers, transformers and datasets.

Two servers: the hub, and the CDN that it sends clients to for the bytes of large files, by signed addresses. It answers
as huggingface.co does (documentation of the Hub API, and what huggingface_hub 2.4 reads of the answers), and fails when
it is told to: ``Hub.fault``. Nothing here knows of ``probe``.
"""

import hashlib
import json
import re
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from . import upload
from .content import Commit, File, Kind, Repository, folder_entry

CHUNK = 1 << 16
TOKEN = "hf_" + "Owner" * 6
STRANGER = "hf_" + "Guest" * 6
LFS = ".git/info/lfs/objects/batch"


@dataclass(frozen=True)
class Request:
    """One request that was answered."""

    at: Literal["hub", "cdn"]
    method: str
    path: str
    """The path with its query."""
    status: int
    bytes: int
    """What was sent of the body."""
    user: str | None
    """Whose token came with it: "owner", "stranger", "?" for a token that nobody has, None without one."""
    range: str | None


@dataclass
class Fault:
    """What goes wrong, and for which requests."""

    path: str
    """A regular expression, searched in the path."""
    at: Literal["hub", "cdn"]
    method: str | None
    """HEAD, GET, ...; None for all."""
    times: float
    """How many requests are left that it meets."""
    status: int | None
    """Answer with this status instead of what was asked for."""
    headers: Mapping[str, str]
    cut: int | None
    """Close the connection after so many bytes of the body."""
    wait: float
    """Seconds before the answer; the connection is open meanwhile."""
    pace: float | None
    """Bytes per second of the body."""


@dataclass
class Answer:
    """An answer before it is sent."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Path = b""


class Refusal(Exception):
    """A request that the hub refuses, with its error code and its message."""

    def __init__(self, status: int, code: str | None, message: str, **headers: str):
        super().__init__(message)
        named = {"X-Error-Code": code} if code else {}
        self.answer = as_json({"error": message}, status, {**named, "X-Error-Message": message, **headers})


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer in JSON."""
    body = json.dumps(value).encode()
    return Answer(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, body)


class Hub:
    """A hub with its CDN, from ``with`` on.

    ``token`` is accepted, and sees everything; ``stranger`` is another user's, who sees what is open to all. Pages of
    trees have ``page`` entries.
    """

    def __init__(self, page: int = 10) -> None:
        self.page = page
        self.token = TOKEN
        self.stranger = STRANGER
        self.secret = secrets.token_hex(16)
        """What signs addresses of the CDN; it is part of each."""
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.closing = threading.Event()
        self._repositories: dict[tuple[Kind, str], Repository] = {}
        self._renamed: dict[str, str] = {}
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="hub-")
        self._servers = {at: _Server(self, at) for at in ("hub", "cdn")}
        self.url, self.cdn = (f"http://127.0.0.1:{self._servers[at].server_port}" for at in ("hub", "cdn"))

    def __enter__(self) -> "Hub":
        for server in self._servers.values():
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
        self._folder.cleanup()

    def create(self, name: str, kind: Kind = "model", *, gated: bool = False, private: bool = False) -> Repository:
        """A repository without a commit."""
        made = Repository(name, kind, Path(self._folder.name), gated=gated, private=private)
        self._repositories[kind, name] = made
        return made

    def add(
        self, name: str, folder: Path | str, kind: Kind = "model", *, gated: bool = False, private: bool = False
    ) -> Repository:
        """A repository with one commit on main: a folder's files."""
        made = self.create(name, kind, gated=gated, private=private)
        made.commit(folder, title="The first version")
        return made

    def repository(self, name: str, kind: Kind = "model") -> Repository | None:
        """A repository by its name; None if there is none."""
        return self._repositories.get((kind, name))

    def rename(self, old: str, new: str) -> None:
        """Rename a repository; its old name leads to the new one."""
        self._renamed[old] = new
        for kind, name in list(self._repositories):
            if name == old:
                moved = self._repositories.pop((kind, name))
                moved.name = new
                self._repositories[kind, new] = moved

    def remove(self, name: str) -> None:
        """Delete a repository."""
        for key in [key for key in self._repositories if key[1] == name]:
            del self._repositories[key]

    def fault(
        self,
        path: str,
        *,
        at: Literal["hub", "cdn"] = "hub",
        method: str | None = None,
        times: float = 1,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        cut: int | None = None,
        wait: float = 0.0,
        pace: float | None = None,
    ) -> Fault:
        """Let the next ``times`` requests (inf: all) fail as :class:`Fault` says; ``faults.clear()`` ends it."""
        made = Fault(path, at, method, times, status, headers or {}, cut, wait, pace)
        self.faults.append(made)
        return made

    def environment(self, cache: Path | str, token: str | None = None) -> dict[str, str]:
        """What a process needs to meet this hub: environment variables, to be added to its own.

        ``HF_ENDPOINT`` is read when a library is imported, so it takes a new process.
        """
        settings = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_OFFLINE": "0",  # the other tests forbid the network
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",  # uploads would need its servers, too
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_CACHE": str(Path(cache) / "datasets"),
        }
        return settings | ({"HF_TOKEN": token} if token else {})

    # What follows answers requests.

    def met(self, at: str, method: str, path: str) -> Fault | None:
        """The fault that a request meets, counted."""
        with self._lock:
            for fault in self.faults:
                wanted = fault.at == at and fault.method in (None, method) and fault.times > 0
                if wanted and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def note(self, request: Request) -> None:
        """Log a request."""
        with self._lock:
            self.requests.append(request)

    def user(self, authorization: str | None) -> str | None:
        """Whose token a request brings."""
        known = {f"Bearer {self.token}": "owner", f"Bearer {self.stranger}": "stranger"}
        return known.get(authorization, "?") if authorization else None

    def found(self, kind: Kind, path: str, user: str | None, address: str) -> tuple[Repository, str]:
        """The repository at the beginning of a path, and the rest of the path.

        Raises:
            Refusal: absent, or not for this user; or renamed, with the new address.
        """
        if user == "?":
            raise Refusal(401, None, "Invalid credentials in Authorization header")
        parts = path.split("/")
        for length in (2, 1):
            name = "/".join(parts[:length])
            if (new := self._renamed.get(name)) is not None:
                raise Refusal(
                    307, None, f"Temporary Redirect. Redirecting to {new}", Location=address.replace(name, new)
                )
            repository = self._repositories.get((kind, name))
            if repository is not None and (not repository.private or user == "owner"):
                return repository, "/".join(parts[length:])
        if user is None:
            raise Refusal(401, "RepoNotFound", "Invalid username or password.")
        raise Refusal(404, "RepoNotFound", "Repository not found")

    def api(
        self, kind: Kind, path: str, query: dict[str, list[str]], body: bytes | None, user: str | None, address: str
    ) -> Answer:
        """The hub's API on a repository: info, tree, paths-info, refs and commits. body: what was posted, else None."""
        repository, rest = self.found(kind, path, user, address)
        verb, _, rest = rest.partition("/")
        if verb == "refs":
            return as_json(_refs(repository))
        if body is not None and verb != "paths-info":
            _must_write(user)
            made = upload.posted(self, repository, verb, rest, body)
            if made is not None:
                return as_json(made)
        revision, _, inside = rest.partition("/")
        commit = _commit(repository, unquote(revision) or "main")
        if verb in ("", "revision"):
            return as_json(repository.info(commit, sizes="blobs" in query))
        if verb == "tree":
            return self._tree(commit, unquote(inside), query, address)
        if verb == "paths-info":
            return as_json(_paths(commit, parse_qs((body or b"").decode()).get("paths", [])))
        if verb == "commits":
            upto = repository.history[: repository.history.index(commit) + 1]
            return as_json([_as_commit(each) for each in reversed(upto)])
        raise Refusal(404, None, f"Sorry, we can't find {verb}")

    def of_users(self, path: str, body: bytes | None, user: str | None) -> Answer:
        """The hub's API on users and new repositories."""
        if path == "validate-yaml":
            return as_json({"errors": [], "warnings": []})
        if path == "whoami-v2":
            _must_write(user, "owner", "stranger")
            return as_json({"type": "user", "name": user, "orgs": [], "auth": {"type": "access_token"}})
        if path == "repos/create" and body is not None:
            _must_write(user)
            return as_json(*upload.created(self, json.loads(body)))
        raise Refusal(404, None, "Sorry, we can't find the page you are looking for.")

    def large_files(self, kind: Kind, path: str, body: bytes, user: str | None, address: str) -> Answer:
        """The LFS endpoint of a repository, for uploads."""
        _must_write(user)
        repository, _ = self.found(kind, path, user, address)
        return as_json(upload.batch(self, repository, json.loads(body)))

    def taken(self, path: str, query: dict[str, list[str]], body: bytes) -> Answer:
        """What the CDN takes of an upload."""
        if query.get("Signature") != [self.secret] or hashlib.sha256(body).hexdigest() != path.removeprefix("/repos/"):
            return Answer(403)
        (Path(self._folder.name) / path.removeprefix("/repos/")).write_bytes(body)
        return Answer(200)

    def _tree(self, commit: Commit, path: str, query: dict[str, list[str]], address: str) -> Answer:
        """One page of a tree."""
        if path and not any(name.startswith(f"{path}/") for name in commit.files):
            raise Refusal(404, "EntryNotFound", f"{path} does not exist on this revision")
        entries = commit.tree(path) if query.get("recursive") == ["true"] else commit.folder(path)
        if query.get("expand") == ["true"]:
            last = {"id": commit.sha, "title": commit.title, "date": commit.date}
            entries = [entry | {"lastCommit": last} for entry in entries]
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + self.page < len(entries):
            kept = "&".join(f"{key}={query[key][0]}" for key in ("recursive", "expand") if key in query)
            following = f"{self.url}{urlsplit(address).path}?{kept}&cursor={start + self.page}"
            headers = {"Link": f'<{following}>; rel="next"'}
        return as_json(entries[start : start + self.page], headers=headers)

    def resolve(self, kind: Kind, path: str, user: str | None, address: str) -> Answer:
        """A file: by the CDN if it is large, else by the hub's own cache of small ones."""
        repository, rest = self.found(kind, path, user, address)
        verb, _, rest = rest.partition("/")
        revision, _, inside = rest.partition("/")
        if verb != "resolve":
            raise Refusal(404, None, "Sorry, we can't find the page you are looking for.")
        if repository.gated and user != "owner":
            what = f"Access to {kind} {repository.name} is restricted"
            if user is None:
                raise Refusal(
                    401, "GatedRepo", f"{what}. You must have access to it and be authenticated to access it."
                )
            raise Refusal(403, "GatedRepo", f"{what} and you are not in the authorized list. Ask for access.")
        commit = _commit(repository, unquote(revision))
        file = commit.files.get(unquote(inside))
        if file is None:
            raise Refusal(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit.sha})
        about = {"X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes"}
        if not file.large:
            here = (
                f"/api/resolve-cache/{kind}s/{repository.name}/{commit.sha}/{quote(file.path)}?etag=%22{file.etag}%22"
            )
            return Answer(307, about | {"Location": here, "ETag": f'"{file.etag}"'})
        there = f"{self.cdn}/repos/{file.sha256}?Expires=1900000000&Signature={self.secret}"
        linked = {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.etag}"'}
        return Answer(302, about | linked | {"Location": there})

    def cached(self, path: str, user: str | None, address: str) -> Answer:
        """A small file at the address that ``resolve`` led to: kind, name, commit, path."""
        kind, _, rest = path.partition("/")
        repository, rest = self.found("dataset" if kind == "datasets" else "model", rest, user, address)
        sha, _, inside = rest.partition("/")
        commit = _commit(repository, sha)
        file = commit.files[unquote(inside)]
        return _bytes(file, {"X-Repo-Commit": commit.sha})

    def delivered(self, path: str, query: dict[str, list[str]]) -> Answer:
        """What the CDN answers."""
        at = Path(self._folder.name) / path.removeprefix("/repos/")
        if query.get("Signature") != [self.secret]:
            return Answer(403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
        if not at.is_file():
            return Answer(404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>")
        return Answer(200, {"ETag": f'"{at.name}"', "Accept-Ranges": "bytes"}, at)


def _must_write(user: str | None, *users: str) -> None:
    """Refuse those who may not write."""
    if user not in (users or ("owner",)):
        raise Refusal(401 if user in (None, "?") else 403, None, "Invalid username or password.")


def _commit(repository: Repository, revision: str) -> Commit:
    try:
        return repository[revision]
    except KeyError:
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}") from None


def _refs(repository: Repository) -> dict[str, Any]:
    def listed(refs: Mapping[str, Commit], folder: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": c.sha} for name, c in refs.items()]

    return {"branches": listed(repository.branches, "heads"), "tags": listed(repository.tags, "tags"), "converts": []}


def _as_commit(commit: Commit) -> dict[str, Any]:
    return {"id": commit.sha, "title": commit.title, "message": "", "date": commit.date, "authors": []}


def _paths(commit: Commit, paths: list[str]) -> list[dict[str, Any]]:
    """The files and folders of these paths; those that are absent are left out."""
    found = []
    for path in paths:
        if path in commit.files:
            found.append(commit.files[path].entry())
        elif any(name.startswith(f"{path}/") for name in commit.files):
            found.append(folder_entry(path))
    return found


def _bytes(file: File, headers: Mapping[str, str]) -> Answer:
    return Answer(200, {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes", **headers}, file.at)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub: Hub, at: Any) -> None:
        self.hub = hub
        self.at: Literal["hub", "cdn"] = at
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no news; anything else is a mistake of this file."""
        import sys

        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Nothing on stderr; ``Hub.requests`` is the log."""

    def do_GET(self) -> None:
        self._respond()

    do_HEAD = do_POST = do_PUT = do_GET

    def _respond(self) -> None:
        hub = self.server.hub
        length = int(self.headers.get("Content-Length") or 0)
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
        body = b"".join(self._chunks()) if chunked else self.rfile.read(length)
        fault = hub.met(self.server.at, self.command, self.path)
        if fault and fault.wait and hub.closing.wait(fault.wait):
            self.close_connection = True
            return
        if fault and fault.status:
            answer = Answer(fault.status, dict(fault.headers), HTTPStatus(fault.status).phrase.encode())
        else:
            try:
                answer = self._answer(body)
            except Refusal as refused:
                answer = refused.answer
        self._send(answer, fault)

    def _chunks(self) -> Iterator[bytes]:
        """The body of a request that does not say its length."""
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, body: bytes) -> Answer:
        hub = self.server.hub
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        posted = body if self.command == "POST" else None
        if self.server.at == "cdn":
            return hub.taken(address.path, query, body) if self.command == "PUT" else hub.delivered(address.path, query)
        user = hub.user(self.headers.get("Authorization"))
        path = address.path.removeprefix("/")
        if path.startswith("api/resolve-cache/"):
            return hub.cached(path.removeprefix("api/resolve-cache/"), user, self.path)
        for kind in ("model", "dataset"):
            if path.startswith(f"api/{kind}s/"):
                return hub.api(kind, path.removeprefix(f"api/{kind}s/"), query, posted, user, self.path)
        if path.startswith("api/"):
            return hub.of_users(path.removeprefix("api/"), posted, user)
        kind = "dataset" if path.startswith("datasets/") else "model"
        path = path.removeprefix("datasets/")
        if path.endswith(LFS):
            return hub.large_files(kind, path.removesuffix(LFS), body, user, self.path)
        return hub.resolve(kind, path, user, self.path)

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        hub = self.server.hub
        size = answer.body.stat().st_size if isinstance(answer.body, Path) else len(answer.body)
        asked = self.headers.get("Range")
        start, end = 0, size
        if asked and answer.status == 200 and "Accept-Ranges" in answer.headers:
            start, end = _range(asked, size)
            if start >= size:
                answer = Answer(416, {"Content-Range": f"bytes */{size}"})
                start = end = 0
            else:
                answer.status = 206
                answer.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        sent = 0
        try:
            if self.command != "HEAD":
                sent = self._body(answer.body, start, end, fault)
        finally:
            user = hub.user(self.headers.get("Authorization"))
            hub.note(Request(self.server.at, self.command, self.path, answer.status, sent, user, asked))

    def _body(self, body: bytes | Path, start: int, end: int, fault: Fault | None) -> int:
        """Send bytes from start to end, as far as a fault allows; how many were sent."""
        stop = end if fault is None or fault.cut is None else min(end, start + fault.cut)
        pace = fault.pace if fault else None
        step = CHUNK if pace is None else max(1, int(pace / 10))
        sent = 0
        with _opened(body) as read:
            for at in range(start, stop, step):
                self.wfile.write(read(at, min(step, stop - at)))
                sent += min(step, stop - at)
                if pace is not None and self.server.hub.closing.wait(0.1):
                    break
        if start + sent < end:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        return sent


class _opened:
    """Bytes, or a file, to be read in pieces."""

    def __init__(self, body: bytes | Path) -> None:
        self._file = body.open("rb") if isinstance(body, Path) else None
        self._bytes = b"" if isinstance(body, Path) else body

    def __enter__(self) -> Callable[[int, int], bytes]:
        return self._read

    def _read(self, at: int, size: int) -> bytes:
        if self._file is None:
            return self._bytes[at : at + size]
        self._file.seek(at)
        return self._file.read(size)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _range(asked: str, size: int) -> tuple[int, int]:
    """First byte, and one after the last, of a Range header: a-b, a- or -n."""
    first, _, last = asked.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
