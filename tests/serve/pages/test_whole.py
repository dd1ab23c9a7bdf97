"""A researcher in front of a real server: submits, watches, cancels, reads, compares, ranks."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from ...jobs.conftest import configure
from ..service import Service
from .conftest import Server

pytestmark = [pytest.mark.busy, pytest.mark.slow]
LONG = 400_000
"""Milliseconds that only a hang can take."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "root").start()
    yield service
    service.close()


def test_two_runs_from_the_form_to_the_leaderboard(service, browse, tmp_path):
    text = configure(tmp_path).read_text()
    token = (service.root / ".probe-serve" / "token").read_text().strip()
    server = Server(f"http://127.0.0.1:{service.port}", None, token)
    page = browse(server, "/submit")

    def submit(name: str, text: str) -> None:
        page.goto(server.url + "/submit")
        page.get_by_text("Advanced: the whole configuration").click()
        page.get_by_label("Name").fill(name)
        page.get_by_label("Configuration in YAML").fill(text)
        expect(page.locator("#yaml-state")).to_have_text("Valid: the configuration of a run.", timeout=LONG)
        page.get_by_role("button", name="Submit", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name, timeout=LONG)

    submit("one", text)
    submit("two", text.replace("seed: 1", "seed: 2"))
    submit("three", text)
    page.get_by_text("Cancel", exact=True).click()
    page.get_by_role("button", name="Yes, cancel it").click()
    expect(page.locator("#state .state")).to_have_text("cancelled", timeout=LONG)
    page.get_by_role("link", name="Runs", exact=True).click()
    for name in ("one", "two"):
        expect(page.get_by_label(f"Compare {name}")).to_be_visible(
            timeout=LONG
        )  # it is done; nobody loaded the page anew
    page.get_by_role("link", name="one", exact=True).click()
    expect(page.frame_locator("iframe").get_by_role("heading", level=1)).to_contain_text("Probe of", timeout=LONG)
    expect(page.locator("#log")).to_contain_text(re.compile(r"\w"), timeout=LONG)
    page.go_back()
    page.get_by_label("Compare one").check()
    page.get_by_label("Compare two").check()
    page.get_by_role("button", name="Compare ticked runs").click(timeout=LONG)
    expect(page.frame_locator("iframe").get_by_role("heading", level=1)).to_contain_text("Comparison of", timeout=LONG)
    page.get_by_role("link", name="Leaderboard").click()
    expect(page.locator(".board tbody th")).to_have_count(2, timeout=LONG)
