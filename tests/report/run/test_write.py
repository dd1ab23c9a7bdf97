"""The files: complete, self-contained, escaped, repeatable; and bad input in one sentence."""

import hashlib
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

import probe.report
from probe.errors import UserError
from probe.files import write_atomically
from probe.report.run.build import build_report
from probe.report.run.tables import five_percent_table
from probe.report.run.write import write_report

pytestmark = pytest.mark.usefixtures("undrawn")

Make = Callable[..., Path]
PLOTLY = Path(probe.report.__file__).parent / "page" / "plotly"
SCRIPT = "folder:<script>alert(1)</script>|`x`"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, run_class: type) -> Path:
    """Written once: the tests below only look at it."""
    changes = {"source": SCRIPT, "unreadable": ["<img src=x onerror=alert(1)>.png"]}
    run: Path = run_class(**changes).write(tmp_path_factory.mktemp("hostile") / "run")
    write_report(run)
    return run


def test_files(hostile: Path):
    report = hostile / "report"
    stems = ["forest_latent_mse", "forest_pixel_mse", "decomposition", "steps", "residual", "gallery"]
    stems += ["photos_latent_mse", "photos_pixel_mse", "photos_examples"]
    expected = {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    assert {path.name for path in (report / "figures").iterdir()} == expected
    assert {path.name for path in report.iterdir()} == {"figures", "report.json", "report.md", "report.html"}
    assert json.loads((report / "report.json").read_text()) == build_report(hostile)


def test_html_loads_nothing(hostile: Path):
    page = (hostile / "report" / "report.html").read_text()
    tags: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(page)
    assert {tag for tag, _ in tags}.isdisjoint({"link", "iframe", "object", "embed", "base", "form"})
    addresses = [a[key] for _, a in tags for key in ("src", "href", "srcset", "data", "action") if key in a]
    assert addresses
    assert all(address and address.startswith("data:image/") for address in addresses)
    assert not re.search(r"https?:|@import|innerHTML", page)


def test_the_plotly_that_a_page_holds_is_the_one_stated():
    digest = hashlib.sha256((PLOTLY / "plotly-basic.min.js").read_bytes()).hexdigest()
    assert f"sha256 `{digest}`" in (PLOTLY / "README.md").read_text()
    assert "MIT License" in (PLOTLY / "LICENSE").read_text()


def test_html_escapes_user_text(hostile: Path):
    page = (hostile / "report" / "report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert "--out &#39;my runs/first&#39;" in page


def test_html_says_what_matters(hostile: Path):
    page = (hostile / "report" / "report.html").read_text()
    assert "Before you believe a number" in page
    assert "end points (3 of 5 certified attractors)" in page
    assert "beat the random orthogonal basis" in page
    assert "cd" * 32 in page


def test_markdown(hostile: Path):
    text = (hostile / "report" / "report.md").read_text()
    assert "<img" not in text
    assert "| photos | 20 | 3 | 0.431 " in text
    (row,) = re.findall(r"\| end points \| 3 \|.*", text)
    cells = row.strip("| ").split(" | ")
    # Latent and pixel MSE, PSNR, SSIM, the ratios to the random bases, to one step and to the autoencoder.
    assert [cell.split()[0] for cell in cells[2:]] == ["0.431", "0.0431", "13.7", "0.957", "0.706", "1.10", "7.19"]
    (head,) = re.findall(r"\| at 3 atoms \|.*", text)
    assert len(head.split("|")) == len(row.split("|"))
    assert re.search(r"\| mean image \| 0 \| 0.900 .*\| 0.0800 ", text)
    assert "mean of 2 bases; the mean latent MSE of single bases is 0.601 to 0.621 (standard deviation 0.0141)" in text
    for name in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (hostile / "report" / name).is_file()


def test_writing_again_gives_the_same_bytes(hostile: Path):
    first = {path: path.read_bytes() for path in (hostile / "report").rglob("*") if path.is_file()}
    write_report(hostile)
    assert {path: path.read_bytes() for path in (hostile / "report").rglob("*") if path.is_file()} == first


def test_bare_run(make_run: Make):
    """No atom, one image, one level, no dictionary method: every rendering still stands."""
    run = make_run(
        outcome=[3], basin=[], certificate=[], means={"dct": 0.4}, n_images=1, planned=1, levels=(3,), absent={}
    )
    report = write_report(run)
    assert report["gallery"] == []
    Console(file=io.StringIO()).print(five_percent_table(report, 80))


def test_terminal_table(make_run: Make):
    output = io.StringIO()
    Console(width=120, file=output).print(five_percent_table(build_report(make_run()), 120))
    text = output.getvalue()
    assert "photos" in text
    assert "0.391*" in text
    assert text.count("*") == 2  # one best control, one in the caption
    assert "0.431" in text


@pytest.mark.parametrize(
    "name",
    [
        "config.yaml",
        "manifest.json",
        "attractors/shard-1.safetensors",
        "dictionary.safetensors",
        "gallery.safetensors",
        "reconstructions/photos.parquet",
        "reconstructions/photos.safetensors",
    ],
)
@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_bad_file(make_run: Make, name: str, how: str):
    run = make_run()
    path = run / name
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + (b": [" if name == "config.yaml" else b""))
    with pytest.raises(UserError) as caught:
        write_report(run)
    sentence = str(caught.value)
    assert str(path.parent if how == "missing" and "attractors" in name else path) in sentence
    assert "\n" not in sentence
    assert not (run / "report").exists()


def test_contradicting_files(make_run: Make):
    run = make_run()
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["data"]["photos"]["n_used"] = 19
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="holds 20 images where manifest"):
        build_report(run)
    del manifest["model"]["d"]
    manifest["data"]["photos"]["n_used"] = 20
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="unexpected content"):
        build_report(run)


def test_no_run_directory(tmp_path: Path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="is not the directory of a run"):
            build_report(path)


def test_write_atomically_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "new folder" / "file"
    write_atomically(path, "old é")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_text("utf-8") == "old é"
    assert [item.name for item in path.parent.iterdir()] == ["file"]
