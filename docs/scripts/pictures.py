"""The pictures of a report in these pages: ``python docs/scripts/pictures.py RUN_DIR``, of a finished quickstart.

Needs Chromium (`make debian`) and the extra ``dev``.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "images"
PARTS = {  # each from the top of the first element to the bottom of the second
    "forest.png": (".headline", ".key-line"),
    "report.png": ("#datasets", "#panel-0 .curve"),
    "reconstructions.png": ("#panel-0 h4", "#panel-0 .strip:last-of-type"),
    "gallery.png": ("#gallery", "#gallery > :nth-child(16)"),
}


def main(run: Path) -> None:
    """Write docs/images/*.png: parts of RUN_DIR/report/report.html."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 960, "height": 900}, device_scale_factor=1.5).new_page()
        page.goto((run / "report" / "report.html").resolve().as_uri())
        for name, (first, last) in PARTS.items():
            take(page, first, last, IMAGES / name)
        browser.close()


def take(page: Page, first: str, last: str, file: Path) -> None:
    """A picture of the page between two elements, as wide as the page."""
    top, bottom = page.locator(first).first.bounding_box(), page.locator(last).last.bounding_box()
    if top is None or bottom is None:
        sys.exit(f"{page.url} has no {first} or {last}; change PARTS in {__file__}.")
    y = top["y"] - 14
    clip = {"x": 0, "y": y, "width": 960, "height": bottom["y"] + bottom["height"] + 5 - y}
    page.screenshot(path=file, full_page=True, clip=clip)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
