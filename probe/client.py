"""``probe serve`` from Python: submit work, follow it, read its report.

    from probe.client import Client
    client = Client("http://127.0.0.1:8765", token=Path("runs/.probe-serve/token"))
    run = client.submit("quickstart").wait()
    run.report["summary"]

Nothing here imports torch. Whatever a server answers is checked before it names a file.
"""

import ipaddress
import json
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from probe.errors import Failure, UserError
from probe.names import given_path, printable
from probe.packaged import given_config, naming

if TYPE_CHECKING:
    import httpx

TERMINAL = frozenset({"done", "failed", "cancelled", "lost"})
"""States in which nothing happens until someone asks for it."""
WAITS = (0.3, 0.7, 1.5)
"""Seconds before a request that is safe to repeat is sent again."""
PATIENCE = 120.0
"""Seconds without an answer after which a run is no longer followed: a server that restarts is back in a few."""
QUIET = 45.0
"""Seconds of silence after which an event stream is opened again; the server sends something every 15."""
SLOW = 180.0
"""Seconds that a comparison or a plan may take."""
BRIEFLY = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed."""
_FILE = re.compile(r"\.ya?ml$|^[\w-]+(/[\w-]+)?$")
"""What is no text of a configuration but its file or its name: a lone word holds no keys."""


class Client:
    """A server, by its address; a context manager, which closes its connections.

    Attributes:
        url: the address, without a slash at the end.
    """

    def __init__(self, url: str, token: str | Path | None = None, *, plain_http: bool = False, timeout: float = 30.0):
        """Nothing is sent yet.

        Args:
            url: for example ``http://127.0.0.1:8765`` or ``https://host/below/this/path``.
            token: the token, or the file with it as a ``Path``; by default what PROBE_TOKEN holds, or the file that
                PROBE_TOKEN_FILE names. Without any of them no token is sent.
            plain_http: send the token over http to another machine, where everyone between can read it.
            timeout: seconds to wait for an answer.

        Raises:
            UserError: the address or the token cannot be used, or httpx (extra ``serve``) is not installed.
        """
        try:
            import httpx
        except ImportError:
            raise UserError("the client of a server needs httpx: pip install 'latent-probe[serve]'.") from None
        self.url, host = _checked(url)
        secret = _token(token)
        if secret and not plain_http and self.url.startswith("http:") and not _is_loopback(host):
            raise UserError(
                f"{self.url} would get the token unencrypted; use https or an ssh tunnel, or allow it with "
                "--plain-http (in Python: plain_http=True)."
            )
        # Redirects are not followed and no proxy stands before this machine, so nobody else gets the token.
        direct: dict[str, Any] = {"http://": None, "https://": None} if _is_loopback(host) else {}
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {secret}"} if secret else {},
            timeout=httpx.Timeout(timeout, connect=10.0),
            follow_redirects=False,
            mounts=direct,
        )

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        config: str | os.PathLike[str] | Mapping[str, Any],
        *,
        name: str | None = None,
        id: str | None = None,
        executor: str | None = None,
        kind: str | None = None,
    ) -> "RemoteRun":
        """Queue a run, study, OOD experiment or round trip. Sent again after a lost connection, it is queued once.

        Args:
            config: a configuration: a file, the name of one in the package, its YAML text, or a mapping.
            name: shown in lists; by default the name of the file.
            id: the name of its folder; by default the server makes one. The same id with the same configuration is the
                same work.
            executor: ``local`` or ``slurm``; by default the server's.
            kind: refuse the configuration of another kind.

        Raises:
            UserError: the server refuses it, with the sentence that the command line has.
            Failure: the server cannot be reached, or its queue is full.
        """
        body = _body(config)
        file = _file(config)
        if name is None and file:
            name = file.stem
        given = {"name": name, "id": id, "executor": executor, "kind": kind}
        body |= {key: value for key, value in given.items() if value is not None}
        key = {"Idempotency-Key": str(uuid.uuid4())}
        with naming(file):
            return RemoteRun(self, self._json("/v1/runs", method="POST", json=body, headers=key))

    def run(self, id: str) -> "RemoteRun":
        """A run by its id. UserError if there is none."""
        return RemoteRun(self, self._json(f"/v1/runs/{quote(id, safe='')}"))

    def runs(
        self, state: str | Iterable[str] = (), kind: str | None = None, model: str | None = None
    ) -> Iterator["RemoteRun"]:
        """All runs, the newest first; or those of a state (or several), kind and model."""
        wanted: dict[str, Any] = {"state": [state] if isinstance(state, str) else list(state), "limit": 200}
        wanted |= {key: value for key, value in (("kind", kind), ("model", model)) if value is not None}
        while True:
            found = self._json("/v1/runs", wanted)
            yield from (RemoteRun(self, one) for one in found["runs"])
            if not found["next"]:
                return
            wanted["cursor"] = found["next"]

    def compare(self, *runs: "str | RemoteRun") -> dict[str, Any]:
        """compare.json of finished runs; differences are to the first one."""
        return dict(self._json("/v1/compare", {"runs": _ids(runs)}, timeout=SLOW))

    def comparison_text(self, *runs: "str | RemoteRun") -> str:
        """compare.md of finished runs."""
        return self._ask("GET", "/v1/compare", params={"runs": _ids(runs), "format": "md"}, timeout=SLOW).text

    def plan(self, config: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
        """What a configuration will cost on the server; nothing is run.

        Returns:
            ``plans``, as ``probe plan --json`` writes them, and ``text``, as it prints them.
        """
        with naming(_file(config)):
            return dict(self._json("/v1/plan", method="POST", json=_body(config), timeout=SLOW))

    def board(self) -> Any:
        """The leaderboard over the finished runs."""
        return self._json("/v1/board", timeout=SLOW)

    def _json(self, path: str, params: dict[str, Any] | None = None, method: str = "GET", **options: Any) -> Any:
        with self._open(method, path, params=params, **options) as answer:
            answer.read()
            return answer.json()

    def _ask(self, method: str, path: str, **options: Any) -> "httpx.Response":
        """An answer, read whole."""
        with self._open(method, path, **options) as answer:
            answer.read()
            return answer

    @contextmanager
    def _open(
        self, method: str, path: str, *, accept: Iterable[int] = (), **options: Any
    ) -> "Iterator[httpx.Response]":
        """An answer whose body is still to be read; GET, and POST with a key, are repeated if the server is away.

        Args:
            accept: statuses that are no errors here.

        Raises:
            UserError, Failure: what the server says, or that it cannot be reached.
        """
        import httpx

        request = self._http.build_request(method, self.url + path, **options)
        safe = method == "GET" or "Idempotency-Key" in request.headers
        for wait in (*WAITS, None):
            try:
                answer = self._http.send(request, stream=True)
            except httpx.HTTPError as error:
                if wait is None or not (safe or isinstance(error, httpx.ConnectError)):
                    raise _unreachable(self.url, error) from None
                time.sleep(wait)
                continue
            try:
                if wait is not None and safe and (pause := _pause(answer, wait)) is not None:
                    time.sleep(pause)
                    continue
                if not answer.is_success and answer.status_code not in accept:
                    raise _refused(self.url, answer)
                with _reading(self.url):
                    yield answer
                return
            finally:
                answer.close()


class RemoteRun:
    """A run, study, OOD experiment or round trip on a server, as it was when last asked for.

    Attributes:
        client: its server.
        data: the server's answer: state, reason, progress, stages, times (``GET /v1/runs/{id}``).
    """

    def __init__(self, client: Client, data: dict[str, Any]):
        self.client, self.data = client, data

    def __repr__(self) -> str:
        return f"<RemoteRun {self.id}: {self.state}{f', {self.reason}' if self.reason else ''}>"

    @property
    def id(self) -> str:
        """Its name on the server."""
        return str(self.data["id"])

    @property
    def kind(self) -> str:
        """``run``, ``study``, ``ood`` or ``roundtrip``."""
        return str(self.data["kind"])

    @property
    def state(self) -> str:
        """queued, running, stopping, done, failed, cancelled or lost, as last heard; ``refresh()`` asks again."""
        return str(self.data["state"])

    @property
    def reason(self) -> str:
        """Why it is in this state; may be empty."""
        return str(self.data.get("reason") or "")

    def refresh(self) -> "RemoteRun":
        """Ask the server."""
        self.data = self.client._json(self._path())
        return self

    def wait(self, timeout: float | None = None) -> "RemoteRun":
        """Wait until it is done, failed, cancelled or lost; ``state`` says which.

        Raises:
            Failure: it is in none of these after ``timeout`` seconds, or the server is away for long.
        """
        for _ in self.events(timeout):
            pass
        return self

    def events(self, timeout: float | None = None) -> Iterator[dict[str, Any]]:
        """Its data now and after every change, until it has ended; ``state`` follows.

        A lost connection is opened again, and what was seen is not repeated.

        Raises:
            Failure: as ``wait``.
        """
        import httpx

        end = None if timeout is None else time.monotonic() + timeout
        seen, heard = None, time.monotonic()
        while True:
            left = QUIET if end is None else min(QUIET, end - time.monotonic())
            if left <= 0:
                raise Failure(f"{self.id} is {self.state} after {timeout:g} seconds.")
            headers: dict[str, str] = {} if seen is None else {"Last-Event-ID": str(seen)}
            limits = httpx.Timeout(left, connect=min(10.0, left))
            try:
                with self.client._open("GET", self._path("/events"), headers=headers, timeout=limits) as answer:
                    for data in _data_of(answer.iter_lines()):
                        heard = time.monotonic()
                        seen, self.data = data["rev"], data
                        yield data
                        if self.state in TERMINAL:
                            return
                        if end is not None and heard > end:
                            break
                self.refresh()  # the server closed the stream: it ends, or the run has ended and nothing is new
                heard = time.monotonic()
                if self.state in TERMINAL:
                    if self.data["rev"] != seen:
                        yield self.data
                    return
            except Failure:
                if time.monotonic() - heard > PATIENCE:
                    raise
            time.sleep(min(1.0, max(0.0, left)))

    def log(self, follow: bool = False) -> Iterator[str]:
        """Its log, line by line; ``follow`` goes on until the run has ended."""
        name, at, rest = "", 0, b""
        while True:
            ended = self.state in TERMINAL
            default = self.client._json(self._path("/logs"), {"list": 1})["default"]
            if default and default != name:  # the worker's own log follows that of its start
                name, at, rest = default, 0, b""
            if name:
                more = self._bytes(self._path("/logs"), {"file": name}, at)
                at, *lines = at + len(more), *(rest + more).split(b"\n")
                rest = lines.pop()
                yield from (line.decode(errors="replace") for line in lines)
            if ended or not follow:
                if rest:
                    yield rest.decode(errors="replace")
                return
            time.sleep(1.0)
            self.refresh()

    def cancel(self) -> "RemoteRun":
        """Stop it, or take it out of the queue; ``wait()`` sees it end. What is done is kept."""
        return self._post("/cancel")

    def resume(self) -> "RemoteRun":
        """Queue it again, to go on where it stopped."""
        return self._post("/resume")

    def delete(self) -> None:
        """Move its folder to the server's trash. Only work that the server made, and that is not running."""
        self.client._ask("DELETE", self._path())

    @property
    def report(self) -> dict[str, Any]:
        """report.json. UserError if it is not written yet."""
        return dict(self.client._json(self._path("/report.json"), timeout=SLOW))

    @property
    def report_html(self) -> str:
        """The report as a page that needs no other file."""
        return self.client._ask("GET", self._path("/report.html"), timeout=SLOW).text

    @property
    def artifacts(self) -> list[dict[str, Any]]:
        """The files of its results: ``path``, ``bytes``, ``modified`` and ``type`` of each."""
        return list(self.client._json(self._path("/artifacts"))["artifacts"])

    def download(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Fetch its files into a folder. Called again, it goes on where it stopped, and fetches only what changed.

        Returns:
            The files, in the server's order.

        Raises:
            Failure: a file arrived with another size than the server said.
        """
        to = given_path(Path(folder))
        return [self._fetch(one, to) for one in self.artifacts]

    def _fetch(self, artifact: Mapping[str, Any], folder: Path) -> Path:
        """One file: into NAME.part, by ranges, then renamed."""
        import httpx

        name, size = str(artifact["path"]), int(artifact["bytes"])
        target, changed = folder / _inside(name), _time(artifact)
        if target.is_file() and target.stat().st_size == size and changed in (None, int(target.stat().st_mtime)):
            return target
        part = target.with_name(f".{target.name}.{size}-{changed or 0}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        for wait in (*WAITS, None):
            at = part.stat().st_size if part.exists() else 0
            if at >= size:
                break
            try:
                self._append(part, self._path(f"/artifacts/{quote(name)}"), at)
            except (Failure, httpx.HTTPError):
                if wait is None:
                    raise
                time.sleep(wait)
        part.touch()
        if (found := part.stat().st_size) != size:
            part.unlink()
            raise Failure(f"{printable(name)} of {self.id} has {found} bytes, not {size}; download it again.")
        if changed is not None:
            os.utime(part, (changed, changed))
        os.replace(part, target)
        return target

    def _append(self, part: Path, path: str, at: int) -> None:
        headers = {"Range": f"bytes={at}-"} if at else {}
        with self.client._open("GET", path, headers=headers) as answer, part.open("ab") as file:
            if answer.status_code != 206:  # all of it
                file.truncate(0)
            for piece in answer.iter_bytes():
                file.write(piece)

    def _bytes(self, path: str, params: dict[str, Any], at: int) -> bytes:
        """What a file has from a byte on; nothing if it has not grown."""
        headers = {"Range": f"bytes={at}-"} if at else {}
        with self.client._open("GET", path, params=params, headers=headers, accept=[416]) as answer:
            if answer.status_code == 416:
                return b""
            return answer.read() if answer.status_code == 206 or not at else answer.read()[at:]

    def _post(self, what: str) -> "RemoteRun":
        self.data = self.client._json(self._path(what), method="POST")
        return self

    def _path(self, below: str = "") -> str:
        return f"/v1/runs/{quote(self.id, safe='')}{below}"


def _ids(runs: Iterable[str | RemoteRun]) -> str:
    return ",".join(one if isinstance(one, str) else one.id for one in runs)


def _checked(url: str) -> tuple[str, str]:
    """An address without its last slash, and its host."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment or "@" in parts.netloc:
        raise UserError(
            f"{printable(url.rpartition('@')[2])!r} is no address of a server; write it as http://127.0.0.1:8765 or "
            "https://HOST/PATH, without name, password and query."
        )
    return url.rstrip("/"), host


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _token(given: str | Path | None) -> str:
    """The token that is to be sent; empty for none. It is in no message."""
    if given is None and not (given := os.environ.get("PROBE_TOKEN")) and (file := os.environ.get("PROBE_TOKEN_FILE")):
        given = Path(file)
    if isinstance(given, Path):
        try:
            text, where = given_path(given).read_text("ascii"), f"the token file {given}"
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not ASCII text"
            raise UserError(f"the token file {given} cannot be read: {reason}.") from None
    else:
        text, where = given or "", "the token"
    token = text.strip()
    if not (token.isascii() and token.isprintable() and " " not in token) or (isinstance(given, Path) and not token):
        raise UserError(f"{where} is no token: it must be one word in ASCII.")
    return token


def _file(config: object) -> Path | None:
    """The file that a configuration is in; None for a mapping or a text."""
    if isinstance(config, os.PathLike):
        return given_config(Path(config))
    if isinstance(config, str) and "\n" not in config and _FILE.search(config.strip()):
        return given_config(config.strip())
    return None


def _body(config: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as the server takes it: a text stays text, so that messages can name its lines."""
    if file := _file(config):
        from probe.reading import YAML_BYTES, read_text

        return {"config_yaml": read_text(file, YAML_BYTES)}
    if isinstance(config, Mapping):
        return {"config": json.loads(json.dumps(config, default=os.fspath))}
    return {"config_yaml": str(config)}


def _inside(name: str) -> PurePosixPath:
    """A file's name from a server, if it stays below the folder that it is to be written to."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or "\0" in name:
        raise Failure(f"the server names a file {printable(name)!r}, which is no place below a folder.")
    return path


def _time(artifact: Mapping[str, Any]) -> int | None:
    """When a file was last changed, in whole seconds since 1970."""
    from datetime import datetime

    given = artifact.get("modified")
    return None if given is None else int(datetime.fromisoformat(str(given)).timestamp())


def _data_of(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The data of a stream's events, which are JSON; comments (heartbeats) are skipped."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield json.loads("\n".join(data))
            data = []


def _pause(answer: "httpx.Response", wait: float) -> float | None:
    """Seconds after which a request should be repeated; None if its answer stands."""
    if answer.status_code not in BRIEFLY:
        return None
    after = answer.headers.get("Retry-After", "")
    if after.isdigit():
        return float(after) if int(after) <= 30 else None
    return None if answer.status_code == 429 else wait


@contextmanager
def _reading(url: str) -> Iterator[None]:
    """A connection that breaks while an answer is read is a failure, in one sentence."""
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        raise _unreachable(url, error) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise Failure(f"{url} answered with something else than JSON; is it a server of `probe serve`?") from None


def _unreachable(url: str, error: Exception) -> Failure:
    import httpx

    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        return Failure(f"{url} cannot be reached ({str(error) or 'no answer'}); does `probe serve` run there?")
    what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "broke the connection"
    return Failure(f"{url} {what} ({str(error) or type(error).__name__}).")


def _refused(url: str, answer: "httpx.Response") -> UserError | Failure:
    """The sentence of a problem (RFC 9457), or what a status means that came from elsewhere."""
    import httpx

    status, sentence = answer.status_code, ""
    with suppress(httpx.HTTPError, ValueError, AttributeError):
        sentence = str(json.loads(answer.read()).get("detail") or "")
    if not sentence:
        where = answer.headers.get("Location")
        leads = f", which leads to {printable(where)}; give that address" if where else ""
        sentence = f"{url} answered {status} {answer.reason_phrase}{leads}."
    if status in (401, 403) and "Authorization" not in answer.request.headers:
        sentence += " No token was given: set PROBE_TOKEN_FILE (or PROBE_TOKEN)."
    return Failure(sentence) if status >= 500 or status == 429 else UserError(sentence)
