"""The page of a round trip: its film in a headless Chromium, and what a browser without a script shows."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from probe.report.roundtrip import write_roundtrip_report

from ...roundtrips import finished


@pytest.fixture(scope="module")
def trips(tmp_path_factory: pytest.TempPathFactory, no_panels) -> Path:
    path = finished(tmp_path_factory.mktemp("page") / "trips")
    write_roundtrip_report(path)
    return path


def shown(cell) -> list[float]:
    """Grey values in the middle of the picture and of the difference that a cell shows, by what the browser paints."""
    return [_middle(tile.screenshot()) for tile in cell.locator(".thumbnail").all()]


def _middle(png: bytes) -> float:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    return float(pixels[pixels.shape[0] // 2, pixels.shape[1] // 2])


def test_the_slider_shows_pictures_and_differences_of_every_model(trips: Path, open_page):
    page = open_page(trips)
    page.locator("select.reel").select_option(label="digits: image 0")
    slider, output = page.locator(".film input[type=range]"), page.locator(".film output")
    cells = page.locator(".film [data-cell]")
    assert cells.count() == 7  # two models and three settings, and the control that loses something
    slider.focus()
    page.keyboard.press("Home")
    assert output.text_content() == "original"
    image, now, difference = shown(cells.first)
    assert now == image
    assert image == pytest.approx(0.5 * 255, abs=12)
    assert difference < 3
    page.keyboard.press("ArrowRight")
    assert shown(cells.first)[2] == pytest.approx(8 * 6, abs=4)  # the film darkens by 6 levels a cycle
    assert output.text_content() == slider.get_attribute("aria-valuetext") == "after 1 cycle"
    page.keyboard.press("End")
    assert output.text_content() == "after 8 cycles"
    original, now, difference = shown(cells.first)
    assert original == image
    assert image - now == pytest.approx(6 * 8, abs=4)
    assert difference > 250  # 48 levels times the gain of 8, clipped
    assert cells.first.locator("small").text_content() == "31.6 dB"
    said = cells.first.locator(".thumbnail").last.get_attribute("aria-label")
    assert said == "good, nothing, after 8 cycles: difference from the original"


def test_pictures_and_views_are_chosen(trips: Path, open_page):
    page = open_page(trips)
    cell = page.locator(".film [data-cell='3']")  # the bad model, with nothing between cycles
    page.locator("select.reel").select_option(label="digits: worst image of each cell")
    assert cell.locator("small").text_content() == "image 5: 20.5 dB"  # 31 - 7 x 1.5
    page.locator("select.reel").select_option(label="textures: best image of each cell")
    assert cell.locator("small").text_content().startswith("image 0: ")
    for label, part in (("original", ".original"), ("picture", ".now"), ("difference x 8", ".difference")):
        box = page.get_by_role("checkbox", name=label)
        assert cell.locator(part).is_visible()
        box.focus()
        page.keyboard.press("Space")
        assert cell.locator(part).is_hidden()


def test_a_phone_and_paper(trips: Path, open_page):
    page = open_page(trips, viewport={"width": 375, "height": 812})
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.locator(".plot.scrolls").first.evaluate("one => one.scrollWidth > one.clientWidth")
    page.emulate_media(media="print")
    assert page.locator(".film .static img").first.is_visible()
    assert not page.locator(".film [type=range]").is_visible()


def test_without_scripts_strips_stand_for_the_film(trips: Path, open_page):
    page = open_page(trips, java_script_enabled=False)
    assert page.locator(".film .static img").count() == 4  # worst and best of two data sets
    assert page.locator(".film .static img").first.is_visible()
    assert not page.locator(".film [type=range]").is_visible()


def test_a_sheet_holds_pictures_and_then_their_differences(trips: Path):
    page = (trips / "report" / "report.html").read_text("utf-8")
    film = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])
    assert film["stops"] == ["original", *(f"after {n} cycle{'s' * (n > 1)}" for n in (1, 2, 3, 5, 7, 8))]
    data = base64.b64decode(film["reels"][0]["sheet"].partition(",")[2])
    sheet = np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(float)
    tiles = sheet.reshape(2 * len(film["cells"]), 16, len(film["stops"]), 16).swapaxes(1, 2)
    original = np.linspace(0, 255, 16)
    for place, (model, _) in enumerate(film["cells"]):
        for at, cycle in enumerate((0, 1, 2, 3, 5, 7, 8)):
            lost = 0 if model == "no model" else 6 * cycle
            now = (original - lost).clip(0, 255).astype(np.uint8)
            assert tiles[place, at].mean(0) == pytest.approx(now, abs=14)  # lossy, with edges
            gap = (8 * np.abs(original.astype(np.uint8).astype(float) - now)).clip(0, 255)
            assert tiles[len(film["cells"]) + place, at].mean(0) == pytest.approx(gap, abs=14)


def test_what_the_film_leaves_out_is_said(trips: Path, tmp_path: Path, no_panels):
    said = "Left out, because their pictures equal the images: no model (nothing and 8 bits)."
    for page in ("report.md", "report.html"):
        assert said in (trips / "report" / page).read_text("utf-8")
    lossy = finished(tmp_path / "trips", between=["jpeg:75"])
    write_roundtrip_report(lossy)
    assert "Left out, because" not in (lossy / "report" / "report.md").read_text("utf-8")
