"""The built site: strict, every link leads somewhere, nothing is fetched from anywhere else."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href", "use": "href"}
"""Attributes that make a browser load something; a link of these kinds only names a page."""
NAMES_ONLY = {"canonical", "prev", "next", "alternate"}


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if given.get(LOADS.get(tag, "")) and given.get("rel") not in NAMES_ONLY:
            self.loads.append(given[LOADS[tag]])


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly in a process without proxies, as `make docs` builds it."""
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page by its file, the one for missing pages aside: its links are absolute."""
    return {file: Page(file) for file in sorted(site.rglob("*.html")) if file.name != "404.html"}


def test_every_link_leads_to_a_file_and_an_anchor(site: Path, pages: dict[Path, Page]):
    broken = []
    for file, page in pages.items():
        for link in page.links:
            if urlsplit(link).scheme in ("http", "https", "mailto"):
                continue
            path, anchor = urldefrag(link)
            target = (file.parent / unquote(path)).resolve() if path else file
            there = target.is_file() and target.is_relative_to(site.resolve())
            if not there or (anchor and target in pages and unquote(anchor) not in pages[target].anchors):
                broken.append(f"{file.relative_to(site)}: {link}")
    assert not broken


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[Path, Page]):
    for file, page in pages.items():
        for address in page.loads:
            parts = urlsplit(address)
            assert not parts.netloc, f"{file.relative_to(site)} loads {address}"
            assert parts.scheme == "data" or (file.parent / unquote(parts.path)).exists(), f"{file}: {address}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text()
        assert "url(http" not in text, sheet
        assert "url(//" not in text, sheet
        assert "@import" not in text, sheet


def test_in_a_browser_nothing_is_fetched_and_the_search_works(site: Path, chromium):
    requests: list[str] = []
    complaints: list[str] = []
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for name in ("index", "concepts", "developing/architecture", "reference/cli"):
        page.goto((site / f"{name}.html").as_uri())
    page.locator(".md-search__input").click()
    page.keyboard.type("spectral radius")
    page.locator(".md-search-result__item").first.wait_for()
    page.close()
    assert requests
    assert not [address for address in requests if not address.startswith(("file:", "data:", "blob:"))]
    assert not complaints
