"""A page of every kind of block, with hostile text in every place, parsed again from what is rendered."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure as Drawing
from PIL import Image
from rich.console import Console

from probe.report.page.content import (
    Bullets,
    Code,
    Figure,
    Film,
    Note,
    Page,
    Provenance,
    Reel,
    Section,
    Table,
    Verdicts,
)
from probe.report.page.html import html
from probe.report.page.markdown import markdown
from probe.report.page.terminal import terminal
from probe.report.page.write import rendered, write

HOSTILE = "<script>alert(1)</script>|`*_[x](y)\\\x1b\n# no heading"
BLOCKS = [
    HOSTILE,
    Note(HOSTILE),
    Note(["read ", Code(HOSTILE), ", then stop."]),
    Bullets([HOSTILE]),
    Verdicts([HOSTILE]),
    Verdicts([HOSTILE], ["holds"]),
    Table(["", HOSTILE], [[HOSTILE, "1.2 [1.1, 1.3]"]], ours=True),
    Table(["", HOSTILE], [["a", "x [1.1, 1.3]"]], facts=True),
    Figure("figures/one", HOSTILE),
    Section(HOSTILE, [Section(HOSTILE, ["within"])]),
]
PAGE = Page(
    HOSTILE,
    HOSTILE,
    [HOSTILE],
    BLOCKS,
    Provenance(HOSTILE, {"git_revision": None, "x": HOSTILE}, config={"a": HOSTILE}),
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_html_holds_no_markup_of_others():
    page = html(PAGE, {"figures/one.svg": b"<svg/>"})
    parser = Tags()
    parser.feed(page)
    tags = [tag for tag, _ in parser.found]
    assert "script" not in tags
    assert [attrs["src"] for tag, attrs in parser.found if tag == "img"] == ["data:image/svg+xml;base64,PHN2Zy8+"]
    assert "\x1b" not in page
    assert "default-src 'none'; script-src 'none'" in str(parser.found)
    assert parser.found[0] == ("html", {"lang": "en"})
    assert [tag for tag in tags if tag[0] == "h" and tag[1:].isdigit()] == ["h1", "h2", "h3", "h2"]
    assert tags.count("th") == 4
    assert all(attrs == {"scope": "col"} for tag, attrs in parser.found if tag == "th")
    assert "<td>1.2<small>[1.1, 1.3]</small></td>" in page
    assert "<td>x [1.1, 1.3]</td>" in page  # facts stay on one line
    assert "<tr><td>git revision</td><td>unknown</td></tr>" in page


def test_markdown_holds_no_markup_of_others():
    text = markdown(PAGE)
    lines = text.splitlines()
    assert "<script" not in re.sub("`[^`]*`", "", text.replace("\\`", ""))  # a code span shows what it holds
    assert "\x1b" not in text
    assert [line.split()[0] for line in lines if line.startswith("#")] == ["#", "##", "##", "###", "##"]
    tables = [line for line in lines if line.startswith("| ")]
    assert {line.replace("\\\\", "").replace("\\|", "").count("|") for line in tables} == {3}
    assert "read `<script>alert(1)</script>\\|'*_[x](y)" in text
    assert text.count("](figures/one.png)") == 1
    assert lines[-1] == "The configuration is in report.json, `provenance`."


def test_a_film_is_hostile_text_and_figures_without_script():
    cells = [(HOSTILE, "a"), (HOSTILE, HOSTILE), ("b", HOSTILE)]
    reel = Reel(HOSTILE, "figures/sheet", [[HOSTILE, "2 dB"]] * 3)
    film = Film([reel], ["original", HOSTILE], cells, 8, [Figure("figures/one", HOSTILE)])
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "png")
    made = Page("film", "", [], [Section("inside", [film], folded=True)])
    page = html(made, {"figures/one.png": picture.getvalue(), "figures/sheet.webp": b"sheet"})
    parser = Tags()
    parser.feed(page)
    scripts = [attrs for tag, attrs in parser.found if tag == "script"]
    assert scripts == [{"type": "application/json"}, {}]
    held = re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1]
    assert json.loads(held)["reels"] == [{"sheet": "data:image/webp;base64,c2hlZXQ=", "said": [[HOSTILE, "2 dB"]] * 3}]
    digest = base64.b64encode(hashlib.sha256(re.findall(r"<script>(.*?)</script>", page, re.S)[0].encode()).digest())
    assert f"script-src 'sha256-{digest.decode()}'" in str(parser.found)
    assert [attrs["data-cell"] for tag, attrs in parser.found if "data-cell" in attrs] == ["0", "1", "2"]
    assert [attrs for tag, attrs in parser.found if tag == "td" and "data-cell" not in attrs] == [{}]
    assert markdown(made).count("](figures/one.png)") == 1


def test_a_table_in_a_terminal():
    Console(file=(file := io.StringIO()), width=80).print(Table(["a", "b"], [["x", "1 [0, 2]"]]).rich("title"))
    assert "title" in file.getvalue()
    assert "1 [0, 2]" in file.getvalue()


def test_a_page_in_a_terminal_has_all_words_and_no_control_characters():
    folded = Section("never", ["seen"], folded=True)
    long = Table(["name", "hash"], [["x", "ab" * 40]], facts=True)
    page = Page(PAGE.title, PAGE.lead, PAGE.warnings, [*BLOCKS, folded, long], PAGE.provenance)
    Console(file=(file := io.StringIO()), width=50, markup=False, emoji=False).print(terminal(page))
    shown = file.getvalue()
    assert max(map(len, shown.splitlines())) <= 50
    assert "\x1b" not in shown
    assert "ab" * 40 in re.sub(r"[^a-b]", "", shown)
    assert "seen" not in shown
    assert "…" not in shown
    assert [words in shown for words in ("within", "1.2 [1.1, 1.3]", "then stop.")] == [True] * 3


def test_json_is_written_last(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr("probe.report.page.write.write_atomically", lambda path, data: order.append(path.name))
    figure = Drawing()
    write(tmp_path, rendered(PAGE, "page", {"figures/one": figure}), "page", {})
    assert order == ["one.png", "one.svg", "page.md", "page.html", "page.json"]


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write(tmp_path, {}, "page", {"a": float("nan")})
    write(tmp_path, {}, "page", {"a": "é"})
    assert json.loads((tmp_path / "page.json").read_text("utf-8")) == {"a": "é"}
