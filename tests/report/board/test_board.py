"""The leaderboard of reports that differ in one thing each, which is written into their report.json."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from typer.testing import CliRunner

from probe.board.build import board
from probe.board.page import write_leaderboard
from probe.board.runs import find_runs
from probe.cli.main import app
from probe.errors import UserError
from probe.report.compare.build import compare
from probe.report.run.build import build_report

Report = dict[str, Any]
DRAWS = tuple(1 + 0.01 * ((-1) ** block) for block in range(16))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, run_class: type) -> Report:
    """Five atoms of twelve starts; 5 % of d are three."""
    run = run_class(draws=DRAWS).write(tmp_path_factory.mktemp("board") / "run")
    return build_report(run)


@pytest.fixture
def runs(report: Report, tmp_path: Path) -> Callable[..., dict[str, Path]]:
    """runs(name=change): folders of finished runs; each change edits a copy of the report, or is None. Weights differ
    unless a change says otherwise."""

    def make(**changes: Callable[[Report], Any] | None) -> dict[str, Path]:
        for name, change in changes.items():
            content = json.loads(json.dumps(report))
            content["model"]["weights_sha256"] = f"weights of {name}"
            if change:
                change(content)
            folder = tmp_path / name
            (folder / "report").mkdir(parents=True)
            (folder / "config.yaml").write_text("{}\n")
            (folder / "report/report.json").write_text(json.dumps(content))
        return {name: tmp_path / name for name in changes}

    return make


def scaled(by: float) -> Callable[[Report], Any]:
    """A report with other ratios on its data set."""

    def change(content: Report) -> None:
        ratio = content["datasets"]["photos"]["starts"]["ratio"]
        ratio["mean"] *= by
        ratio["over_both"] = [by * end for end in ratio["over_both"]]

    return change


def setting(key: str, value: Any) -> Callable[[Report], Any]:
    def change(content: Report) -> None:
        section = content["provenance"]["config"]
        *parents, last = key.split(".")
        for parent in parents:
            section = section[parent]
        section[last] = value

    return change


def test_numbers_are_those_of_the_report(report: Report, runs):
    found = board(runs(a=None, b=scaled(2)))
    (group,) = found["groups"]
    assert [row["id"] for row in group["rows"]] == ["a", "b"]
    assert (
        [row["rank"] for row in group["rows"]] == [[1, 1], [2, 2]] == [row["ranks"]["photos"] for row in group["rows"]]
    )
    cells, data = group["rows"][0]["cells"], report["datasets"]["photos"]
    ratio = data["starts"]["ratio"]
    ours = next(level for level in data["levels"] if level["atoms"] == 3)["methods"]["attractors"]
    assert [cells["random.photos"][key] for key in ("value", "low", "high")] == [ratio["mean"], *ratio["over_both"]]
    contrast = ours["difference_strongest"]
    strongest = [cells["strongest.photos"][key] for key in ("value", "low", "high")]
    assert strongest == [contrast["latent_ratio"]["mean"], *contrast["latent_ratio"]["ci95"]]
    assert cells["strongest.photos"]["text"].endswith("] one step")
    wilson = stats.binomtest(9, 12).proportion_ci(method="wilson")
    assert [cells["converged"][key] for key in ("value", "low", "high")] == pytest.approx([0.75, *wilson])
    assert [cells[key]["value"] for key in ("d", "seed", "atoms", "certified")] == [64, 0, 5, 3]
    assert {column["key"] for column in group["columns"]} == cells.keys()


def test_intervals_that_overlap_are_a_tie(runs):
    (group,) = board(runs(a=None, b=scaled(1.001), c=scaled(3)))["groups"]
    assert {row["id"]: row["rank"] for row in group["rows"]} == {"a": [1, 2], "b": [1, 2], "c": [3, 3]}
    assert [row["cells"]["rank"]["text"] for row in group["rows"]] == ["1 to 2", "1 to 2", "3"]


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("resolution", setting("resolution", 64)),
        ("seeds.count", setting("seeds.count", 1000)),
        ("solver.max_steps", setting("solver.max_steps", 3)),
        ("sparse.controls", setting("sparse.controls", ["random_orthogonal"])),
        ("sparse.random_bases", setting("sparse.random_bases", 1)),
        ("model.clamp", setting("model.clamp", True)),
        ("images of photos", lambda content: content["datasets"]["photos"].update(sha256="other")),
        ("images of photos", lambda content: content["datasets"]["photos"].update(sha256=None)),
    ],
)
def test_another_protocol_is_another_group(key: str, change, runs):
    first, second = board(runs(a=None, b=scaled(2), other=change))["groups"]
    assert [len(group["rows"]) for group in (first, second)] == [2, 1]
    assert second["apart"].startswith(f"Not ranked with the runs above, which have another protocol: {key} (")
    assert second["rows"][0]["rank"] is None
    assert "No other model" in second["rows"][0]["unranked"]


def test_settings_that_buy_nothing_may_differ_and_are_listed(runs):
    (group,) = board(runs(a=None, b=setting("sparse.batch_size", 1)))["groups"]
    assert group["differs"] == [{"key": "sparse.batch_size", "values": {"a": "64", "b": "1"}}]


def test_the_same_model_again_is_marked_and_counts_once(runs):
    def again(content: Report) -> None:
        content["model"]["weights_sha256"] = "weights of a"
        setting("seeds.seed", 7)(content)

    (group,) = board(runs(a=None, again=again, b=scaled(2)))["groups"]
    rows = {row["id"]: row for row in group["rows"]}
    assert group["models"] == 2
    assert {name: row["repeats"] for name, row in rows.items()} == {"a": ["again"], "again": ["a"], "b": []}
    assert {name: row["rank"] for name, row in rows.items()} == {"a": [1, 1], "again": [1, 1], "b": [2, 2]}
    assert group["differs"] == [{"key": "seeds.seed", "values": {"a": "0", "again": "7", "b": "0"}}]


def test_models_without_weights_are_not_taken_for_one(runs):
    bare = lambda content: content["model"].update(weights_sha256=None)  # noqa: E731
    (group,) = board(runs(a=bare, b=bare))["groups"]
    assert group["models"] == 2
    assert [row["repeats"] for row in group["rows"]] == [[], []]


@pytest.mark.parametrize(
    ("said", "change"),
    [
        ("Too few atoms: 2, where 5 % of d are 3", lambda one: one["dictionary"].update(atoms=2)),
        ("Made by a version", lambda one: one["datasets"]["photos"].update(starts=None)),
        ("Too few starts", lambda one: one["datasets"]["photos"]["starts"]["ratio"].update(over_both=None)),
        ("No ratio to the random", lambda one: one["datasets"]["photos"]["starts"]["ratio"].update(mean=None)),
    ],
)
def test_a_run_without_a_rank_is_shown_with_the_reason(said: str, change, runs):
    (group,) = board(runs(a=None, bad=change, b=scaled(2)))["groups"]
    assert [(row["id"], row["rank"]) for row in group["rows"]] == [("a", [1, 1]), ("b", [2, 2]), ("bad", None)]
    assert group["rows"][2]["unranked"].startswith(said)


def test_a_row_of_borrowed_atoms_shows_those_and_none_of_its_own(runs, tmp_path: Path):
    lent = {"source": "owner/name", "revision": "0" * 40, "sha256": "1", "atoms": 77, "certified": 66, "model": "M",
            "weights_sha256": None}  # fmt: skip
    (group,) = board(found := runs(a=None, lent=lambda one: one.update(borrowed=lent), b=scaled(2)))["groups"]
    cells = group["rows"][-1]["cells"]
    assert [cells["atoms"][key] for key in ("value", "text")] == [77, "77 borrowed"]
    assert [cells["certified"][key] for key in ("value", "text")] == [None, "-"]
    assert "owner/name@000000000000" in group["rows"][-1]["unranked"]
    write_leaderboard(found, tmp_path / "out")
    assert "| lent | - | 64 | 0 | 77 borrowed | - |" in (tmp_path / "out/leaderboard.md").read_text()


def test_a_run_without_certificates_has_no_rank(runs):
    bare = setting("solver.certificates", 0)
    (group,) = board(runs(a=bare, b=bare))["groups"]
    assert [row["unranked"][:15] for row in group["rows"]] == ["No certificates"] * 2


def test_what_is_no_finished_run_is_refused_and_the_rest_ranked(runs, tmp_path: Path):
    made = runs(
        a=None, b=scaled(2), unfinished=None, cut=None, bare=None, other=None, study=None, wrong=None, plugin=None
    )
    (made["unfinished"] / "report/report.json").unlink()
    text = (made["cut"] / "report/report.json").read_text()
    (made["cut"] / "report/report.json").write_text(text[: len(text) // 2])
    setting("sparse.controls", ["of a plug-in"])(content := json.loads(text))
    (made["plugin"] / "report/report.json").write_text(json.dumps(content))
    (made["study"] / "config.yaml").write_text("study: bottleneck\n")
    for name, keys in {"bare": ("datasets", {}), "other": ("schema_version", 2), "wrong": ("provenance", {})}.items():
        content = json.loads((made[name] / "report/report.json").read_text())
        (made[name] / "report/report.json").write_text(json.dumps(content | dict([keys])))
    found = board(made | {"absent": tmp_path / "absent"})
    assert [row["id"] for row in found["groups"][0]["rows"]] == ["a", "b"]
    reasons = {one["id"]: one["reason"] for one in found["refused"]}
    assert reasons.keys() == {"unfinished", "cut", "bare", "other", "study", "wrong", "absent", "plugin"}
    assert all(reason.endswith(".") and str(tmp_path / name) in reason for name, reason in reasons.items())
    assert "no data set" in reasons["bare"]
    assert "a study, not a run" in reasons["study"]


def test_a_report_that_changed_is_read_again(runs):
    made = runs(a=None, b=scaled(2))
    board(made)
    file = made["a"] / "report/report.json"
    content = json.loads(file.read_text())
    scaled(3)(content)
    file.write_text(json.dumps(content))
    os.utime(file, ns=(1, 1))
    assert [row["id"] for row in board(made)["groups"][0]["rows"]] == ["b", "a"]


def test_runs_that_cannot_be_compared_are_not_ranked_together(tmp_path: Path, run_class: type):
    """The definition is one: what `probe compare` refuses, the board takes apart."""
    paths = [run_class(draws=DRAWS).write(tmp_path / "a"), run_class(draws=DRAWS).write(tmp_path / "b")]
    (tmp_path / "b/config.yaml").write_text((tmp_path / "b/config.yaml").read_text() + "resolution: 48\n")
    for path in paths:
        (path / "report").mkdir()
        (path / "report/report.json").write_text(json.dumps(build_report(path)))
    with pytest.raises(UserError, match="different protocols: they differ in resolution"):
        compare(paths)
    assert len(board({path.name: path for path in paths})["groups"]) == 2


def test_the_board_needs_no_torch(runs):
    made = runs(a=None, b=scaled(2))
    code = (
        "import sys; from pathlib import Path; from probe.board.build import board\n"
        f"board({{name: Path(name) for name in {list(map(str, made.values()))} }})\n"
        "print(sorted({'torch', 'pandas', 'scipy', 'matplotlib'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_command_writes_page_markdown_csv_and_json(runs, tmp_path: Path):
    runs(**{"a": None, "<b>x": scaled(2)})
    (tmp_path / "note.txt").write_text("")
    out = tmp_path.parent / "out"
    done = CliRunner().invoke(app, ["leaderboard", str(tmp_path), "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((out / "leaderboard.json").read_text())
    rows = list(csv.DictReader((out / "leaderboard.csv").read_text().splitlines()))
    assert [(row["run"], row["rank_best"], row["dataset"]) for row in rows] == [
        ("<b>x", "2", "photos"),
        ("a", "1", "photos"),
    ][::-1]
    assert float(rows[0]["ratio_random_low"]) < float(rows[0]["ratio_random"]) < float(rows[0]["ratio_random_high"])
    assert "| a | 1 | 64 |" in (out / "leaderboard.md").read_text()
    assert "<b>x" not in (out / "leaderboard.html").read_text()


def test_the_command_prints_tables_on_a_terminal_and_markdown_elsewhere(runs, tmp_path: Path, capsys, monkeypatch):
    runs(a=None, b=scaled(2))
    command = ["leaderboard", str(tmp_path), "--out", str(tmp_path.parent / "out")]
    app(command, standalone_mode=False)
    assert capsys.readouterr().out == (tmp_path.parent / "out/leaderboard.md").read_text()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    app(command, standalone_mode=False)
    shown = capsys.readouterr().out
    assert re.search(r"^ +a +1 +64 +0 +5 ", shown, re.M)
    assert "|" not in shown
    assert "sparse.levels" not in shown  # the protocol is in the files


def test_folders_are_named_by_their_last_part_where_that_is_enough(runs, tmp_path: Path):
    runs(a=None)
    shutil.copytree(tmp_path / "a", tmp_path / "more/a")
    shutil.copytree(tmp_path / "a", tmp_path / "more/b")
    found = find_runs([tmp_path / "a", tmp_path / "more", tmp_path / "more/b"])
    assert list(found) == [str(tmp_path / "a"), str(tmp_path / "more/a"), "b"]
    for folder in (tmp_path / "absent", tmp_path / "a/report"):
        with pytest.raises(UserError, match="give"):
            find_runs([folder])


def test_a_board_of_nothing_is_refused(runs, tmp_path: Path):
    made = runs(a=None)
    (made["a"] / "report/report.json").unlink()
    with pytest.raises(UserError, match=r"no run to rank in 1 folder \(.*report.json"):
        write_leaderboard(made, tmp_path / "out")


def test_a_click_on_a_head_sorts(runs, tmp_path: Path, open_page):
    write_leaderboard(runs(b=scaled(2), c=scaled(3), a=None), tmp_path / "board/report")
    (tmp_path / "board/report/leaderboard.html").rename(tmp_path / "board/report/report.html")
    page = open_page(tmp_path / "board")
    table = page.locator("table.sortable").nth(1)

    def names() -> list[str]:
        return table.locator("tbody tr td:first-child").all_inner_texts()

    assert names() == ["a", "b", "c"]
    head = table.get_by_role("button", name="photos")
    head.click()
    head.click()
    assert names() == ["c", "b", "a"]
    assert table.locator("th[aria-sort=descending]").inner_text() == "photos"
    table.get_by_role("button", name="run").press("Enter")
    assert names() == ["a", "b", "c"]
    assert page.locator("[aria-sort]").count() == 1
