"""report.html in a real headless Chromium, opened from disk: nothing is fetched, nothing complains, controls work."""

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import probe.report
from probe.config import DatasetConfig
from probe.data.load import load_images
from probe.report.compare.page import write_comparison
from probe.report.run.write import write_report
from probe.results.files import read_tensors, write_tensors

PHONE = {"width": 390, "height": 844}
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, run_class: type) -> Path:
    """Two data sets (one with a hostile source), and 200 atoms with all kinds of certificates, seen by CLIP."""
    certificate = [1] * 5 + [0] * 20 + [-1] * 175
    basin = np.random.default_rng(0).permutation(np.arange(1, 201)).tolist()
    changes = {"basin": basin, "certificate": certificate, "outcome": [0] * 12, "source": "folder:</script><b>x"}
    changes |= {"undecided": 15, "clip": True}
    path: Path = run_class(**changes).write(tmp_path_factory.mktemp("page") / "run")
    with_sets(path, ["photos", "more"])
    write_report(path)
    return path


def with_sets(run: Path, names: list[str]) -> None:
    """Copies of the run's data set under these names."""

    config, manifest = (
        yaml.safe_load((run / "config.yaml").read_text()),
        json.loads((run / "manifest.json").read_text()),
    )
    for name in names:
        for kind in ("parquet", "safetensors"):
            if name != "photos":
                shutil.copy(run / f"reconstructions/photos.{kind}", run / f"reconstructions/{name}.{kind}")
        config["datasets"][name], manifest["data"][name] = config["datasets"]["photos"], manifest["data"]["photos"]
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (run / "manifest.json").write_text(json.dumps(manifest))


def drawn(page, panel: int = 0) -> int:
    """Curves with a line in a data set's plot."""
    return page.locator(f"#panel-{panel} .scatterlayer .trace .js-line").count()


def cards(page) -> list[str]:
    return page.locator("#gallery .atom").evaluate_all(
        "atoms => atoms.map(atom => atom.querySelector('b').textContent)"
    )


def test_tabs_by_mouse_and_keyboard(run: Path, open_page):
    page = open_page(run)
    assert page.locator("[role=tabpanel]:visible").count() == 1
    page.get_by_role("tab", name="more").click()
    assert page.locator("#panel-1").is_visible()
    assert not page.locator("#panel-0").is_visible()
    assert drawn(page, 1) == drawn(page, 0) > 0
    page.keyboard.press("ArrowRight")  # round to the first
    assert page.locator("#panel-0").is_visible()
    assert page.get_by_role("tab", name="photos").get_attribute("aria-selected") == "true"
    assert page.evaluate("document.activeElement.id") == "tab-0"


def test_methods_metrics_and_hover(run: Path, open_page):
    page = open_page(run)
    before = drawn(page)
    page.get_by_role("checkbox", name="Gaussian", exact=True).uncheck()
    assert drawn(page) == before - 3  # a line, and two that bound its band
    assert "latent MSE" in page.locator("#panel-0 .ytitle").text_content()
    page.locator("#metric").select_option("psnr")
    assert page.locator("#panel-0 .ytitle").text_content() == "PSNR (dB)"
    page.locator("#metric").select_option("latent_mse")
    box = page.locator("#panel-0 .scatterlayer .point").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#panel-0 .hoverlayer text")
    said = page.locator("#panel-0 .hoverlayer").text_content()
    assert "0.431 [" in said  # of the end points at 3 atoms, as report.json has it
    assert "bases 0.601 to 0.621" in said


def test_headline_ratios_and_verdicts_follow_the_metric(run: Path, open_page):
    page = open_page(run)
    top, below = page.locator("select.metric").first, page.locator("#metric")
    headline, ratios = page.locator(".headline:visible"), page.locator(".forest:visible h3")
    assert headline.text_content().startswith("By latent MSE, the end points beat the random orthogonal basis")
    top.select_option("pixel_mse")
    assert below.input_value() == "pixel_mse"
    assert headline.text_content().startswith("By pixel MSE, ")
    assert ratios.text_content().startswith("Ratios by pixel MSE")
    assert "(pixel MSE with 3 atoms 0.0431 against " in page.locator("#panel-0 .verdict:visible").text_content()
    assert page.locator("#panel-0 .ytitle").text_content() == "pixel MSE"
    below.select_option("ssim")
    assert top.input_value() == "ssim"
    assert headline.text_content().startswith("Verdicts are drawn by latent and by pixel MSE only")
    assert ratios.count() == page.locator(".verdict:visible").count() == 0
    below.select_option("latent_mse")
    assert ratios.count() == page.locator(".verdict:visible").count() == 1


def test_a_ratio_is_left_of_the_line_at_1_if_the_end_points_are_better(run: Path, open_page):
    page = open_page(run)
    for control, side in (("random orthogonal", -1), ("one step", 1)):
        panel = page.locator(".forest:visible .panel", has_text=f"/ {control}")
        dot, line = (panel.locator(f".track .{kind}").first.bounding_box() for kind in ("dot", "one"))
        assert side * (dot["x"] + dot["width"] / 2 - line["x"]) > 1
    oracles = page.locator(".forest:visible .panel.oracle").all_text_contents()
    assert oracles
    assert all("oracle, does not compete" in text for text in oracles)


def test_a_wide_table_scrolls_on_a_phone(run: Path, open_page):
    page = open_page(run, viewport={"width": 375, "height": 812})
    table = page.get_by_role("group", name="Errors by data set and method")
    assert table.evaluate("one => one.scrollWidth > one.clientWidth")
    assert table.evaluate("one => getComputedStyle(one).backgroundImage.includes('gradient')")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    table.evaluate("one => { one.scrollLeft = 1e6 }")
    right = page.locator("th", has_text="PCA (oracle)").first.bounding_box()
    assert right["x"] + right["width"] <= 375


def test_the_slider_changes_the_pictures(run: Path, open_page):
    page = open_page(run)
    slider, picture = page.locator("#panel-0 input[type=range]"), page.locator("#panel-0 img[data-method=attractors]")
    assert page.locator("#atoms-0").text_content() == "3 atoms"
    before = picture.get_attribute("src")
    slider.focus()
    page.keyboard.press("End")
    assert page.locator("#atoms-0").text_content() == "12 atoms"
    assert slider.get_attribute("aria-valuetext") == "12 atoms"
    assert picture.get_attribute("src") != before
    assert page.locator("#atoms-1").text_content() == "3 atoms"


def test_the_gallery_is_sorted_filtered_and_drawn_in_parts(run: Path, open_page):
    page = open_page(run)
    found = [int(text.split()[0]) for text in cards(page)]
    assert found == list(range(200, 184, -1))
    for shown in (136, 200):
        page.get_by_role("button", name="Show more").click()
        assert len(cards(page)) == shown
    assert not page.get_by_role("button", name="Show more").is_visible()
    page.locator("#kind").select_option("attractor")
    assert len(cards(page)) == 5
    assert page.locator("#counted").text_content() == "5 of 5 shown"
    kinds = {"undecided": 15, "not an attractor": 20, "not examined": 160, "": 200}
    for kind, of_it in kinds.items():
        page.locator("#kind").select_option(kind)
        assert page.locator("#counted").text_content() == f"{min(of_it, 16)} of {of_it} shown"


def said(page, order: str, what: str) -> list:
    """What a pattern finds on each of the cards shown, in that order of the gallery."""
    page.locator("#order").select_option(order)
    page.get_by_role("button", name="Show more").click()
    return page.locator("#gallery .atom").evaluate_all(
        f"atoms => atoms.map(atom => atom.querySelector('figcaption').innerText.match(/{what}/m)?.[1])"
    )


def test_the_gallery_is_sorted_by_what_the_certificates_say(run: Path, open_page):
    page = open_page(run)
    radii = said(page, "spectral_radius", "= ([0-9.]+)")
    assert radii[:41] == ["0.9"] * 5 + ["1"] * 15 + ["1.3"] * 20 + [None]
    kinds = said(page, "certificate", "^(attractor|undecided|not an attractor|not examined)$")
    assert kinds[:41] == ["attractor"] * 5 + ["undecided"] * 15 + ["not an attractor"] * 20 + ["not examined"]
    page.locator("#order").select_option("residual")
    page.get_by_role("button", name="Show more").click()
    atoms = page.locator("#gallery .atom").evaluate_all("atoms => atoms.map(atom => Number(atom.dataset.atom))")
    assert atoms == list(range(199, 63, -1))  # atom i has a smaller residual than atom i - 1


def test_the_gallery_is_sorted_by_label(run: Path, open_page):
    page = open_page(run)
    found = said(page, "label", "(cat|dog|eel) [(]")
    assert found == ["cat"] * 67 + ["dog"] * 67 + ["eel"] * 2  # of 67, 67 and 66, the first 136
    similar = said(page, "label", r"cat [(]([.0-9]+)")[:67]
    assert similar == sorted(similar, reverse=True)
    assert [bool(x) for x in said(page, "label", "(as noise has)")[:67]] == [float(x) <= 0.25 for x in similar]


def test_the_nearest_image_is_that_of_the_atom(run: Path, open_page):
    page = open_page(run)
    for _ in range(2):
        page.get_by_role("button", name="Show more").click()
    card = page.locator("#gallery .atom[data-atom='137']")
    assert "near photos/image-137 (" in card.inner_text()
    shown = """async (element) => {
        const style = getComputedStyle(element), image = new Image();
        image.src = style.backgroundImage.slice(5, -2);
        await image.decode();
        const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
        [canvas.width, canvas.height] = [image.width, image.height];
        pen.drawImage(image, 0, 0);
        const [columns, rows] = style.backgroundSize.split(" ").map((size) => Math.round(parseFloat(size) / 100));
        const [x, y] = style.backgroundPosition.split(" ").map((at) => parseFloat(at) / 100);
        const middle = (size, count, at) => Math.floor((size / count) * (at * (count - 1) + 0.5));
        return [...pen.getImageData(middle(image.width, columns, x), middle(image.height, rows, y), 1, 1).data];
    }"""
    near = card.get_by_role("img", name="Nearest image, photos/image-137").evaluate(shown)
    assert near == pytest.approx([137, 137, 137, 255], abs=4)  # a JPEG


def test_a_logarithmic_axis(run: Path, open_page):
    page = open_page(run)
    kind = "document.querySelector('#panel-0 .curve').layout.yaxis.type"
    assert page.evaluate(kind) == "linear"
    page.get_by_role("checkbox", name="logarithmic").check()
    assert page.evaluate(kind) == "log"
    assert drawn(page) > 0


def test_the_command_is_copied(run: Path, open_page):
    page = open_page(run, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    taken = page.evaluate("navigator.clipboard.readText().catch(() => getSelection().toString())")
    assert taken.strip() == "probe run configs/quickstart.yaml --out 'my runs/first'"


def test_dark_phone_and_print(run: Path, open_page):
    page = open_page(run, viewport=PHONE, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
    page.emulate_media(media="print", color_scheme="light")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.get_by_text("Every image is written with as many atoms as 5 % of the latent dimension d.").is_visible()
    assert page.locator("[role=tabpanel]:visible").count() == 2
    assert page.locator("#panel-1 .static img").first.is_visible()
    assert not page.locator("#more").is_visible()


def test_without_scripts_everything_is_there(run: Path, open_page):
    page = open_page(run, java_script_enabled=False)
    assert page.locator("[role=tabpanel]:visible").count() == 2
    assert page.locator("#panel-1 .static img").first.is_visible()
    assert not page.locator("[role=tablist]").is_visible()


def test_a_browser_that_cannot_unpack_plotly_shows_the_pictures(run: Path, chromium):
    page = chromium.new_context().new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto((run / "report" / "report.html").as_uri())
    page.wait_for_selector(".undrawn")
    assert page.locator("#panel-0 .static img").first.is_visible()
    assert not page.locator("#panel-0 .curve").is_visible()
    assert page.locator(".forest").first.is_visible()
    page.context.close()


def test_user_text_stays_text(run: Path, open_page):
    page = open_page(run)
    assert "folder:</script><b>x" in page.locator("#panel-0").text_content()


TOOLS = ["Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"]


def test_the_tool_bar_zooms_and_saves_and_nothing_else(run: Path, open_page):
    page = open_page(run)
    for panel in (0, 1):
        page.get_by_role("tab").nth(panel).click()
        buttons = page.locator(f"#panel-{panel} .modebar-btn")
        assert buttons.evaluate_all("all => all.map(one => one.dataset.title)") == TOOLS
    settings = page.evaluate("JSON.stringify(document.querySelector('#panel-1 .curve')._context)")
    assert not re.search("https?:|//|cloud|studio", re.sub('"show[A-Za-z]+":false', "", settings))
    with page.expect_download() as saved:
        page.locator("#panel-1 .modebar-btn").first.click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")


ESCAPES = {
    "a script": "document.body.append(Object.assign(document.createElement('script'), {textContent: 'seen = 1'}))",
    "a handler": "document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"seen = 1\">')",
    "a request": "fetch('http://127.0.0.1:9/x').catch(() => 0)",
    "a beacon": "navigator.sendBeacon('http://127.0.0.1:9/x', 'x')",
    "a picture": "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))",
    "a style": "document.body.insertAdjacentHTML('beforeend', '<p style=\"background: url(http://127.0.0.1:9/x)\">.')",
    "a frame": "document.body.insertAdjacentHTML('beforeend', '<iframe src=\"http://127.0.0.1:9/x\"></iframe>')",
    "a form": "document.body.insertAdjacentHTML('beforeend', '<form action=\"http://127.0.0.1:9/x\"></form>');"
    "document.forms[0].submit()",
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_nothing_leaves_the_page_even_if_markup_gets_in(run: Path, chromium, escape: str):
    context = chromium.new_context()
    page, sent, refused = context.new_page(), [], []
    page.on("request", lambda request: sent.append(request.url))
    page.on("requestfailed", lambda request: sent.remove(request.url) if request.failure == "csp" else None)
    page.on("console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto((run / "report" / "report.html").as_uri(), wait_until="commit")
    page.wait_for_selector("#copy")
    page.evaluate(ESCAPES[escape])
    page.wait_for_timeout(200)
    until = time.monotonic() + 60
    while not refused and time.monotonic() < until:
        page.wait_for_timeout(200)
    assert page.evaluate("typeof seen") == "undefined"
    assert [url for url in sent if not url.startswith(("file:", "data:", "blob:"))] == []
    assert refused
    context.close()


def test_a_comparison_loads_nothing_and_complains_of_nothing(tmp_path: Path, run_class: type, open_page):
    runs = [run_class().write(tmp_path / name) for name in ("$a$", "<script>b")]
    for one in runs:
        write_report(one)
    write_comparison(runs, tmp_path / "x" / "report")
    (tmp_path / "x/report/compare.html").rename(tmp_path / "x/report/report.html")
    page = open_page(tmp_path / "x")
    assert page.locator("img").first.evaluate("image => image.naturalWidth") > 100
    assert page.locator(".plot img").first.evaluate("image => image.width <= image.naturalWidth")  # not stretched
    assert page.evaluate("getComputedStyle(document.body).margin") == "0px"  # the style sheet is used
    assert page.get_by_text("<script>b").count() > 0


def test_every_page_has_a_policy():
    pages = [path for path in Path(probe.report.__file__).parent.rglob("*.j2") if "<html" in path.read_text("utf-8")]
    assert {path.name for path in pages} == {"page.html.j2", "report.html.j2"}
    for path in pages:
        head = path.read_text("utf-8").partition("</head>")[0]
        assert head.index('<meta http-equiv="Content-Security-Policy" content="{{ policy }}">') < head.index("<style")


def rewrite(path: Path, **arrays: np.ndarray) -> None:
    """Replace tensors of a result file."""
    tensors, about = read_tensors(path)
    del about["sha256"]
    write_tensors(path, tensors | {name: torch.from_numpy(one) for name, one in arrays.items()}, about)


@pytest.mark.parametrize("side", [32, pytest.param(128, marks=pytest.mark.slow)])
def test_4096_atoms_and_six_sets_are_less_than_30_megabytes(tmp_path: Path, run_class: type, open_page, side: int):
    m, rng = 4096, np.random.default_rng(0)
    path: Path = run_class(basin=[1] * m, certificate=[1] * 256 + [-1] * (m - 256), outcome=[0] * m, clip=True).write(
        tmp_path / "run"
    )
    few = load_images("tiles", DatasetConfig(source="bundled:photographs", n=300, holdout=0), resolution=side)
    tiles = few.images.numpy()

    def photographs(*shape: int) -> np.ndarray:
        """Photographs (*shape, 3, side, side), no two alike."""
        found = tiles[rng.integers(0, len(tiles), shape)]
        return found ^ rng.integers(0, 4, found.shape, dtype=np.uint8)

    thumbnails = photographs(m)
    rewrite(path / "gallery.safetensors", images=thumbnails[:64].copy(), thumbnails=thumbnails)
    rewrite(path / "semantics.safetensors", nearest_images=photographs(m))
    pictures = path / "reconstructions" / "photos.safetensors"
    shapes = {name: old.shape[:-4] for name, old in read_tensors(pictures)[0].items()}
    rewrite(pictures, **{name: photographs(*shape, 8) for name, shape in shapes.items()})
    with_sets(path, ["photos", *"abcde"])
    write_report(path)
    size = (path / "report" / "report.html").stat().st_size
    assert size < 30 * MEGABYTE
    page = open_page(path)
    page.locator("#gallery .atom").first.wait_for()
    page.locator("#panel-0 .scatterlayer .trace").first.wait_for()
    ready = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    print(f"{size / MEGABYTE:.1f} MB, loaded in {ready / 1000:.1f} s")
