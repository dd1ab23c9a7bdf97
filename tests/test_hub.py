"""Patience with an address that does not answer, and what messages leave out."""

from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

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
