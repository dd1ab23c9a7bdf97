"""Finished pages against golden files: every heading, sentence, table and alternative text, in order.

After a change that is meant, `PROBE_WRITE_GOLDEN=1 pytest tests/report/test_golden.py` writes the golden files again;
read the difference before it is committed.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from probe.report.compare.page import write_comparison
from probe.report.ood import write_ood_report
from probe.report.page.html import html
from probe.report.page.markdown import markdown
from probe.report.page.write import write
from probe.report.roundtrip import write_roundtrip_report
from probe.report.study import write_study_report
from probe.report.study.schema import StudyReport
from probe.report.study.write import page
from probe.report.theory.write import write_theory

from ..roundtrips import finished

GOLDEN = Path(__file__).parent / "golden"
FINISHED = Path(__file__).parents[1] / "jobs" / "finished"
BLOCKS = {"title", "h1", "h2", "h3", "p", "li", "tr", "pre", "strong", "summary", "figcaption", "option"}
UNSEEN = {"style", "script"}


class Visible(HTMLParser):
    """A line for each block that a reader sees, or that a screen reader says."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.tag, self.text = "", ""

    def flush(self, tag: str = "") -> None:
        text = " ".join(self.text.split())
        if text and self.tag not in UNSEEN:
            self.lines.append(f"{self.tag}: {text}")
        self.tag, self.text = tag, ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS or tag in UNSEEN:
            self.flush(tag)
        elif tag in ("td", "th"):
            self.text += " | " if self.text else ""
        elif tag == "img":
            self.flush()
            self.lines.append(f"img: {dict(attrs)['alt']}")
        else:
            self.text += " " if tag in ("small", "section") else ""

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS or tag in UNSEEN:
            self.flush()

    def handle_data(self, data: str) -> None:
        self.text += data


def visible(page: str) -> str:
    parser = Visible()
    parser.feed(page)
    return "\n".join(parser.lines) + "\n"


def contraction(out: Path) -> tuple[Path, str]:
    study = Path(shutil.copytree(FINISHED / "study", out / "study"))
    write_study_report(study, [str(file.relative_to(study)) for file in sorted(study.glob("cells/*"))])
    return study / "report", "report"


def bottleneck(out: Path) -> tuple[Path, str]:
    report = StudyReport.model_validate_json((GOLDEN / "bottleneck.json").read_text())
    made = page(report, {"made-up": ["made-up", "made-up_attractors"]})
    pictures = dict.fromkeys(("figures/made-up.svg", "figures/made-up_attractors.svg"), b"")
    write(out, {"report.md": markdown(made), "report.html": html(made, pictures)}, "report", {})
    return out, "report"


def ood(out: Path) -> tuple[Path, str]:
    folder = Path(shutil.copytree(FINISHED / "ood", out / "ood"))
    write_ood_report(folder)
    return folder / "report", "report"


def compare(out: Path) -> tuple[Path, str]:
    runs = [Path(shutil.copytree(FINISHED / "run", out / name)) for name in ("first", "<second>")]
    settings = yaml.safe_load((runs[1] / "config.yaml").read_text())
    settings["solver"]["tolerance"] = 1e-6
    (runs[1] / "config.yaml").write_text(yaml.safe_dump(settings))
    write_comparison(runs, out / "compare")
    return out / "compare", "compare"


def theory(out: Path) -> tuple[Path, str]:
    write_theory(out / "theory", json.loads((GOLDEN / "theory.json").read_text()))
    return out / "theory", "theory"


def roundtrip(out: Path) -> tuple[Path, str]:
    write_roundtrip_report(finished(out / "trips"))
    return out / "trips" / "report", "report"


@pytest.mark.parametrize("make", [contraction, bottleneck, ood, compare, theory, roundtrip])
def test_a_page_is_as_it_was(make: Callable[[Path], tuple[Path, str]], tmp_path: Path, request):
    if make is roundtrip:
        request.getfixturevalue("no_panels")
    folder, name = make(tmp_path)
    page = visible((folder / f"{name}.html").read_text("utf-8"))
    found = {"html": re.sub(r"(?<=The whole configuration\n).*\n", "", page)}
    found["md"] = (folder / f"{name}.md").read_text("utf-8")
    for kind, text in found.items():
        golden = GOLDEN / f"{make.__name__}.{kind}.txt"
        if os.environ.get("PROBE_WRITE_GOLDEN"):
            golden.write_text(text, "utf-8")
        assert text == golden.read_text("utf-8")
