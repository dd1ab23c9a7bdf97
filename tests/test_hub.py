"""Patience with an address that does not answer, and what messages leave out."""

import socket
import warnings
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import _check_disk_space
from huggingface_hub.utils import hf_raise_for_status, http_backoff

from probe import hub
from probe.errors import reason_of, without_secrets


class Clock:
    """A clock that stands still unless it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(hub, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(hub, "_hosts", {})


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def ask(address: str = "http://hub.example/a", timeout: float | None = None) -> dict:
    """Begin a request as the client does; its limits."""
    request = httpx2.Request("GET", address, extensions={"timeout": httpx2.Timeout(timeout).as_dict()})
    hub._before(request)
    return request.extensions["timeout"]


def answer(address: str = "http://hub.example/a") -> None:
    hub._after(httpx2.Response(200, request=httpx2.Request("GET", address)))


def test_a_file_that_does_not_fit_is_refused_with_both_sizes(monkeypatch, tmp_path):
    left = SimpleNamespace(free=3 * 2**30)
    monkeypatch.setattr("huggingface_hub.file_download.shutil", SimpleNamespace(disk_usage=lambda place: left))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hub.be_patient()
        _check_disk_space(3 * 2**30, tmp_path)
        with pytest.raises(UserWarning) as caught:  # before the first byte is asked for
            _check_disk_space(9 * 2**30, tmp_path)
    assert hub.refused(caught.value, "owner/name") == (
        f"does not fit on the disk (a file has 9 GiB, and {tmp_path} has 3 GiB left); free some, or set HF_HOME to a "
        "folder on a larger disk, and rerun."
    )


def test_silence_is_borne_for_all_requests_together(clock):
    assert ask()["read"] == hub.FIRST  # the client would wait for ever
    clock.now += 10
    assert ask("http://hub.example/b", timeout=60)["read"] == hub.FIRST - 10
    assert ask("http://other.example/b", timeout=2)["read"] == 2
    clock.now += 5
    with pytest.raises(OfflineModeIsEnabled, match=r"^http://hub.example has not answered for 15 s$"):
        ask("http://hub.example/c")
    clock.now += 30
    with pytest.raises(OfflineModeIsEnabled):
        ask()
    clock.now += hub.REST
    assert ask()["read"] == hub.FIRST  # work of hours tries again


def test_an_address_that_answered_has_more_time(clock):
    ask()
    answer()
    clock.now += 600
    assert ask()["read"] == hub.LATER
    clock.now += 50
    ask()
    clock.now += 50
    assert ask(timeout=10)["read"] == 10
    clock.now += 20
    with pytest.raises(OfflineModeIsEnabled):
        ask()


def fail(said: str = "[Errno -2] Name or service not known") -> None:
    hub._failed(httpx2.ConnectError(said, request=httpx2.Request("GET", "http://hub.example/a")))


def test_a_connection_that_fails_at_once_is_tried_once_more(clock):
    ask()
    fail()
    clock.now += 1
    ask()
    cause = r"^http://hub.example: \[Errno -2\] Name or service not known$"
    with pytest.raises(OfflineModeIsEnabled, match=cause):
        fail()
    with pytest.raises(OfflineModeIsEnabled, match=cause):
        ask()
    clock.now += hub.REST + 1
    ask()
    fail()  # once more
    answer()
    for _ in range(hub.CONNECTIONS):  # what has answered may come back
        ask()
        fail()
    clock.now += hub.LATER / 2
    ask()
    clock.now += hub.LATER / 2
    with pytest.raises(OfflineModeIsEnabled, match=r"has not answered for 120 s: \[Errno -2\] Name or"):
        ask()


def test_a_client_that_replaces_another_is_watched_too(clock, monkeypatch):
    """The hub's library replaces its client when a connection fails."""
    asked = []
    watcher = SimpleNamespace(asked=lambda request: asked.append(request.url.host), answered=lambda response: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    hub.be_patient()
    with socket.socket() as closed, hub.watched(watcher):
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(OfflineModeIsEnabled, match=rf"^{address}: .*refused"):
            http_backoff("GET", address, base_wait_time=0)
    assert asked == ["127.0.0.1"] * 2
    assert not hub._watchers


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("for url 'https://cdn.example/x?Expires=1&Signature=abc' now", "for url 'https://cdn.example/x?...' now"),
        ("GET https://cdn.example/x?a=1, again", "GET https://cdn.example/x?... again"),
        ("at https://me:word@hub.example/x?a=1", "at https://hub.example/x?..."),
        ("Bearer hf_AbCdEf0123456789", "Bearer hf_..."),
        ("hf_hub_download of https://hub.example/x failed", "hf_hub_download of https://hub.example/x failed"),
        ("what? nothing", "what? nothing"),
    ],
)
def test_secrets_are_left_out(text, told):
    assert without_secrets(text) == told
    assert reason_of(OSError(text)) == told


def test_a_password_in_the_address_of_the_hub_is_left_out(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://me:word@hub.example")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    said = hub.refused(OfflineModeIsEnabled("https://hub.example has not answered for 15 s"), "a/b")
    assert "cannot be reached (https://hub.example has not answered for 15 s)" in said


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (
            400,
            'Invalid metadata in README.md.\n- "license" must be one of [apache-2.0, mit]',
            'Invalid metadata in README.md. - "license" must be one of [apache-2.0, mit]',
        ),
        (409, "You already created this model repo", "You already created this model repo"),
        (413, "", "413"),
    ],
)
def test_what_the_hub_refuses_to_take_is_said_in_its_words(status, said, expected):
    request = httpx2.Request("POST", "https://huggingface.co/api/models/a/b/commit/main")
    with pytest.raises(HfHubHTTPError) as raised:
        hf_raise_for_status(httpx2.Response(status, json={"error": said} if said else {}, request=request))
    told = hub.not_pushed(raised.value, "a/b")
    assert told is not None
    assert told.startswith(f"cannot be pushed to: https://huggingface.co refuses it ({status}: ")
    assert expected in told
    assert "network" not in told
    assert "\n" not in told
    assert told.endswith(").")
