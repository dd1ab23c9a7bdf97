"""Runs side by side: known differences come out, other protocols are refused by name, every rendering stands."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import t

from probe.cli.main import app, main
from probe.errors import UserError
from probe.files import write_atomically
from probe.report.compare.build import compare
from probe.report.compare.page import page, write_comparison
from probe.report.compare.schema import ComparedError
from probe.report.page.markdown import markdown
from probe.report.run.build import build_report
from probe.report.run.schema import Mean
from probe.results.files import read_table, write_table

from ...figures import drawn

pytestmark = pytest.mark.usefixtures("undrawn")

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, run_class: type) -> Make:
    """``make("a", levels=(3, 6))`` writes a finished run of that name; ``config`` and ``images`` change its files."""

    def one(name: str, /, config: dict[str, Any] | None = None, images: str | None = None, **changes: Any) -> Path:
        written = run_class(**{"draws": (1.0,) * 16} | changes)  # without spread over draws
        run: Path = written.write(tmp_path / name)
        settings = yaml.safe_load((run / "config.yaml").read_text())
        settings["sparse"] = {"levels": list(written.levels)}
        settings |= config or {}
        (run / "config.yaml").write_text(yaml.safe_dump(settings))
        manifest = json.loads((run / "manifest.json").read_text())
        if images is not None:
            manifest["data"]["photos"]["sha256"] = images
        (run / "manifest.json").write_text(json.dumps(manifest))
        write_atomically(run / "report" / "report.json", json.dumps(build_report(run)))
        return run

    return one


MEANS = {"attractors": 0.53, "random_orthogonal": 0.61}


def at(report, level: int, run: int, measure: str) -> ComparedError:
    return report.datasets["photos"].levels[level].runs[run].measures[measure]


def test_a_common_shift_is_seen_exactly_where_images_are_the_same(make: Make):
    """Errors of images vary by 0.05 around 0.43 and 0.53; paired, the difference has no spread."""
    report = compare([make("a"), make("b", means=MEANS)])
    gap = at(report, 0, 1, "latent_mse")
    assert (gap.difference.mean, *gap.difference.ci95) == pytest.approx((0.1, 0.1, 0.1))
    assert gap.verdict == "higher"
    assert at(report, 0, 0, "latent_mse").difference is None
    assert report.datasets["photos"].paired == {"a": True, "b": True}
    back = compare([make("c", means=MEANS), make("d")])
    assert at(back, 0, 1, "latent_mse").verdict == "lower"


def test_the_same_numbers_are_undecided(make: Make):
    """At 5 % by latent MSE; other measures have intervals over images alone, and no verdict."""
    report = compare([make("a"), make("b")])
    found = {(level.fraction, name): one for level in report.datasets["photos"].levels
             for name, one in level.runs[1].measures.items()}  # fmt: skip
    known = {place for place, one in found.items() if one.over_starts}
    assert known == {(0.05, "latent_mse"), (0.05, "latent_ratio")}
    assert {place for place, one in found.items() if one.intervals_over == "images and draws of starts"} == known
    assert {one.verdict for place, one in found.items() if place in known} == {"undecided"}
    assert {one.verdict for place, one in found.items() if place not in known} == {None}
    assert all(one.difference.ci95 == one.over_images for one in found.values())
    assert [(one.key, one.values) for one in report.differs] == []
    said = markdown(page(report))
    rows = [line for line in said.splitlines() if line.startswith("| ") and "| b |" in line and " of d" not in line]
    by_level = {row.split(" |")[0]: row for row in rows if "alone: no verdict" in row}
    assert [row.count("(over images alone: no verdict)") for row in by_level.values()] == [1, 2, 2]
    assert "both at 5 % of d, are over images and draws of starts (a and b). Those of pixel MSE" in said


def test_ratios(make: Make):
    report = compare([make("a", spread=0.0), make("b", spread=0.0, means=MEANS)])
    for level in range(3):
        assert at(report, level, 0, "latent_ratio").value.mean == pytest.approx(0.43 / 0.61)
        assert at(report, level, 1, "pixel_ratio").value.mean == pytest.approx(0.53 / 0.61)
        assert at(report, level, 0, "floor_ratio").value.mean == pytest.approx(0.043 / 2**level / 0.006)
    assert [level.fraction for level in report.datasets["photos"].levels] == [0.05, 6 / 64, 12 / 64]


def test_a_complete_basis_gives_no_ratio(make: Make):
    """At rounding level the control's error is no unit to measure in."""
    runs = [make("a"), make("b")]
    for run in runs:
        path = run / "reconstructions" / "photos.parquet"
        frame, about = read_table(path)
        frame.loc[(frame["method"] == "random_orthogonal") & (frame["atoms"] == 12), "latent_mse"] = 1e-28
        del about["sha256"]
        write_table(path, frame, about)
    report = compare(runs)
    missing = ComparedError(value=Mean(mean=None, ci95=None), difference=None, verdict=None)
    assert at(report, 2, 1, "latent_ratio") == missing
    assert at(report, 1, 1, "latent_ratio").difference.mean == 0
    assert at(report, 2, 1, "pixel_ratio").difference.mean == 0


def test_a_control_that_was_left_out_gives_no_ratio(make: Make):
    report = compare([make(name, means={"attractors": 0.4}) for name in ("a", "b")])
    assert at(report, 0, 1, "latent_ratio").value.mean is None
    assert at(report, 0, 1, "latent_mse").value.mean == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": {"resolution": 64}}, r"resolution \(32 and 64\)"),
        (
            {"config": {"model": {"source": "embedded:cifar-attractors", "latents": "scaled"}}},
            r"model.latents \(raw and",
        ),
        ({"levels": (3, 6)}, r"sparse.levels \(3, 6, 12 and 3, 6\)"),
        ({"name": "other"}, r"datasets \(photos and other\)"),
        ({"images": "ef" * 32}, r"images of photos \(cdcdcdcdcdcd... and efefefefefef...\).*--unpaired"),
    ],
)
def test_other_protocols_are_refused_by_name(make: Make, changes: dict[str, Any], named: str):
    with pytest.raises(UserError, match=named) as caught:
        compare([make("a"), make("b", **changes)])
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("(") == 1


def test_what_else_differs_is_listed(make: Make):
    config = {
        "solver": {"tolerance": 1e-6, "certificates": 4},
        "model": {"source": "embedded:cifar-attractors", "clamp": True},
    }
    report = compare([make("a"), make("b", config=config)])
    assert {one.key: one.values for one in report.differs} == {
        "solver.tolerance": ["1e-05", "1e-06"],
        "model.clamp": ["false", "true"],
    }


def test_other_images_are_independent_samples(make: Make):
    runs = [make("a"), make("b", images="ef" * 32, n_images=30, planned=30)]
    report = compare(runs, unpaired=True)
    data = report.datasets["photos"]
    assert (data.n, data.paired) == ({"a": 20, "b": 30}, {"a": True, "b": False})
    low, high = at(report, 0, 1, "latent_mse").difference.ci95
    # Means of uniform noise of width 0.1 over 20 and 30 images, independent of each other.
    assert high - low == pytest.approx(2 * 1.96 * 0.1 / 12**0.5 * (1 / 20 + 1 / 30) ** 0.5, rel=0.3)
    assert any("different images" in note for note in report.notes)


def test_what_the_runs_reports_warn_of_is_said_again(make: Make):
    many = {"outcome": [0] * 40, "basin": [1] * 40, "certificate": [1] * 40}
    sound, none, broken = make("a", **many), make("b", **many | {"certificate": [0] * 40}), make("c", unreadable=["x"])
    notes = compare([sound, none, broken]).notes
    assert [note for note in notes if note.startswith("a")] == []
    assert any(note.startswith("b: None of the 40 atoms are certified attractors") for note in notes)
    assert any(note.startswith("c: photos: 1 image could not be read (x)") for note in notes)
    short = "Dictionaries smaller than the largest level (c 5 of 12): errors no longer fall there."
    assert short in notes
    alike = compare([make("d", unreadable=["x"]), make("e", unreadable=["x"])]).notes
    assert sum("could not be read" in note for note in alike) == 1
    assert any(note.startswith("d and e: photos: 1 image") for note in alike)


def test_models_of_different_d_are_compared_at_the_fractions_that_both_have(make: Make):
    other = make("b", levels=(6, 12, 24, 48), five_percent=6, means=MEANS)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["model"] |= {"d": 128, "latent_shape": [8, 4, 4]}
    (other / "manifest.json").write_text(json.dumps(manifest))
    write_atomically(other / "report" / "report.json", json.dumps(build_report(other)))
    report = compare([make("a"), other])
    levels = report.datasets["photos"].levels
    # 3 of 64 and 6 of 128 both stand for 5 %.
    assert [(level.fraction, *(run.atoms for run in level.runs)) for level in levels] == [
        (0.05, 3, 6), (6 / 64, 6, 12), (12 / 64, 12, 24),
    ]  # fmt: skip
    assert report.levels_left_out == [48 / 128]
    assert at(report, 0, 1, "latent_ratio").verdict == "higher"
    assert set(levels[0].runs[0].measures) == {"pixel_mse", "latent_ratio", "pixel_ratio", "floor_ratio"}
    assert report.similarities == []
    assert any("differ in shape" in note for note in report.notes)


# Of 16 blocks; sqrt(15 / 16 sum (share - 1)^2) = 0.0387 of the error.
DRAWS = (0.99, 1.01) * 8
STUDENT = t.ppf(0.975, 15)


def test_intervals_count_the_draw_of_the_starts(make: Make):
    """Paired by image the difference of 0.1 has no spread; what is left are both draws."""
    report = compare([make("a", draws=DRAWS), make("b", draws=DRAWS, seed=1, means=MEANS)])
    gap = at(report, 0, 1, "latent_mse")
    sd = 15**0.5 * 0.01
    half = STUDENT * sd * np.hypot(*(at(report, 0, run, "latent_mse").value.mean for run in (0, 1)))
    assert gap.difference.ci95 == pytest.approx((0.1 - half, 0.1 + half))
    assert gap.over_images == pytest.approx((0.1, 0.1))
    assert gap.verdict == ("higher" if half < 0.1 else "undecided")
    value = at(report, 0, 0, "latent_mse").value
    alone = at(compare([make("c"), make("d")]), 0, 0, "latent_mse").value
    parts = (value.mean - alone.ci95[0], STUDENT * sd * value.mean)
    assert value.mean - value.ci95[0] == pytest.approx(np.hypot(*parts))
    assert report.datasets["photos"].draws == {"a": True, "b": True}
    assert not any("older" in note or "did not measure" in note for note in report.notes)


def test_the_same_starts_are_left_out_of_both(make: Make):
    """With one seed, start i is the same noise in both: what a block does to both cancels."""
    report = compare([make("a", draws=DRAWS, spread=0.0), make("b", draws=DRAWS, means=MEANS, spread=0.0)])
    half = STUDENT * 15**0.5 * 0.01 * 0.1
    assert at(report, 0, 1, "latent_mse").difference.ci95 == pytest.approx((0.1 - half, 0.1 + half))
    assert at(report, 0, 1, "latent_mse").verdict == "higher"
    opposite = compare([make("c", draws=DRAWS, spread=0.0), make("d", draws=DRAWS[::-1], means=MEANS, spread=0.0)])
    half = STUDENT * 15**0.5 * 0.01 * (0.43 + 0.53)
    assert at(opposite, 0, 1, "latent_mse").difference.ci95 == pytest.approx((0.1 - half, 0.1 + half))


def test_older_runs_have_intervals_over_images_alone(make: Make):
    report = compare([make("a", draws=DRAWS), make("b", means=MEANS, draws=())])
    assert at(report, 0, 1, "latent_mse").difference.ci95 == pytest.approx((0.1, 0.1))
    assert at(report, 0, 1, "latent_mse").verdict is None
    assert report.verdict.endswith("no verdict on 1 of 1 data set (photos).")
    assert report.datasets["photos"].draws == {"a": True, "b": False}
    assert any(note.startswith("b: made by a version that did not measure") for note in report.notes)


def test_the_verdict_counts_data_sets(make: Make):
    report = compare([make("a"), make("b", means=MEANS), make("c")])
    assert report.verdict == (
        "By latent MSE at 5 % of d, as a ratio to each run's own random orthogonal basis: b has a lower (better) ratio "
        "than a on none, a higher one on 1 of 1 data set (photos); c has a lower (better) ratio than a on none, no "
        "difference is seen on 1 of 1 data set (photos)."
    )


def test_common_data_sets_only(make: Make, tmp_path: Path):
    """A run with one more data set, which the other lacks."""
    both, one = make("a"), make("b")
    for file in both.glob("reconstructions/photos.*"):
        shutil.copy(file, file.with_name(f"more{file.suffix}"))
    settings = yaml.safe_load((both / "config.yaml").read_text())
    settings["datasets"]["more"] = settings["datasets"]["photos"]
    (both / "config.yaml").write_text(yaml.safe_dump(settings))
    manifest = json.loads((both / "manifest.json").read_text())
    manifest["data"]["more"] = manifest["data"]["photos"]
    (both / "manifest.json").write_text(json.dumps(manifest))
    write_atomically(both / "report" / "report.json", json.dumps(build_report(both)))
    with pytest.raises(UserError, match=r"datasets \(more, photos and photos\); .*--common to compare on photos"):
        compare([both, one])
    report = compare([one, both], common=True)
    assert list(report.datasets) == ["photos"]
    assert report.datasets_left_out == ["more"]
    assert "Data sets left out because not all runs have them: more." in report.notes
    with pytest.raises(UserError, match="no data set in common"):
        compare([one, make("c", name="other")], common=True)


def test_solver_and_dictionary_facts(make: Make):
    report = compare([make("a"), make("b", outcome=[0] * 12)])
    first, second = report.runs
    assert first.outcomes == {"converged": 9, "cycle": 1, "max_steps": 1, "diverged": 1}
    assert (second.outcomes["converged"], second.certified, second.atoms) == (12, 3, 5)
    assert first.share == pytest.approx(6 / 12)  # settled starts of the three certified basins: 2 each


def test_dictionaries_of_one_latent_space(make: Make):
    found = compare([make("a"), make("b", basin=[1, 1], certificate=[1, 1])]).similarities[0]
    # The first five and the first two coordinates.
    assert (found.a_in_b.mean, found.b_in_a.mean) == pytest.approx((0.4, 1.0))
    assert found.chamfer == pytest.approx(0.7)
    assert found.overlap == pytest.approx(2 / 10**0.5)
    assert found.overlap_null == pytest.approx(10 / (64 * 10**0.5))
    assert 0 < found.chamfer_null < 0.3


def test_other_weights_in_one_shape_are_noted(make: Make):
    runs = [make("a"), make("b")]
    assert not any("different weights" in note for note in compare(runs).notes)
    path = runs[1] / "report" / "report.json"
    path.write_text(path.read_text().replace("ab" * 32, "ba" * 32))
    assert any("different weights" in note for note in compare(runs).notes)


def test_names(make: Make, tmp_path: Path):
    runs = [make("x/run"), make("y/run")]
    assert [one.name for one in compare(runs).runs] == [str(path) for path in runs]
    for few in (runs[:1], [runs[0], runs[0]]):
        with pytest.raises(UserError, match="two run directories"):
            compare(few)
    (runs[1] / "report" / "report.json").unlink()
    with pytest.raises(UserError, match=f"run `probe report {runs[1]}` first"):
        compare(runs)


def test_files(make: Make, tmp_path: Path):
    out = tmp_path / "out"
    hostile = {"model": {"source": "python:<script>alert(1)</script>.py:load"}}
    content = write_comparison([make("a"), make("b", means=MEANS), make("c", config=hostile)], out)
    assert {path.name for path in out.iterdir()} == {
        "compare.html", "compare.md", "compare.csv", "compare.json", "ratios.png", "ratios.svg",
    }  # fmt: skip
    assert json.loads((out / "compare.json").read_text()) == content
    rows = list(csv.DictReader(io.StringIO((out / "compare.csv").read_text())))
    assert len(rows) == 3 * 3 * 5  # levels, runs, measures
    row = next(one for one in rows if (one["run"], one["measure"], one["atoms"]) == ("b", "latent_mse", "3"))
    assert row["verdict"] == "higher"
    assert np.isclose(float(row["difference"]), 0.1)
    page = (out / "compare.html").read_text()
    assert "<script" not in page
    assert not re.search(r"https?:|url\(|@import", page)
    assert "<script" not in (out / "compare.md").read_text()


def test_the_command_prints_tables_on_a_terminal_and_markdown_elsewhere(
    make: Make, tmp_path: Path, capsys, monkeypatch
):
    command = ["compare", str(make("a")), str(make("b")), "--out", str(tmp_path / "out")]
    app(command, standalone_mode=False)
    assert capsys.readouterr().out == (tmp_path / "out" / "compare.md").read_text()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    app(command, standalone_mode=False)
    shown = capsys.readouterr().out
    assert "What the solver found" in shown
    assert "| a |" not in shown


ODD = [
    "$x_{$",
    "_hidden",
    "=1+1",
    "[red]a",
    "a|b`c*d_\\",
    "<b>&amp;",
    "\x1b[31mred\u202e",
    "猫",
    "n" * 240,
    "$",
    r"\$a$",
]


def test_runs_with_odd_names(make: Make, tmp_path: Path):
    runs, out = [make(name) for name in ODD], tmp_path / "out"
    with drawn(True):
        write_comparison(runs, out)
    rows = list(csv.DictReader(io.StringIO((out / "compare.csv").read_text("utf-8"))))
    found = list(dict.fromkeys(row["run"] for row in rows))
    assert found[:4] == ["$x_{$", "_hidden", "'=1+1", "[red]a"]
    assert found[6] == r"\x1b[31mred\u202e"
    assert len(found) == len(ODD)
    svg = (out / "ratios.svg").read_text("utf-8")
    for name in ("$x_{$", "_hidden", "=1+1", "[red]a", r"\$a$"):
        assert re.search(rf">\s*{re.escape(name)}</text>", svg), name
    assert "n" * 61 not in svg
    page = (out / "compare.html").read_text("utf-8")
    assert "&lt;b&gt;&amp;amp;" in page
    assert "<b>&amp;" not in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", page)
    about = (out / "compare.md").read_text("utf-8").partition("What the solver found")[2].partition("##")[0]
    lines = [line for line in about.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 + len(ODD)
    assert len({len(re.sub(r"\\.", "", line).split("|")) for line in lines}) == 1  # as many cells


def test_command(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    runs, out = [str(make("a")), str(make("b", config={"resolution": 64}))], str(tmp_path / "out")
    assert main(["compare", *runs, "--out", out]) == 2
    assert "resolution (32 and 64)" in capsys.readouterr().err
    assert not Path(out).exists()
