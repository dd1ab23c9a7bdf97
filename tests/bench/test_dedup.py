"""The bench on clusters of a known number: all contenders find it; what does not fit is not run."""

import json
from pathlib import Path

import pytest

from probe.bench import dedup
from probe.bench.dedup import clusters, compare
from probe.cli.main import main


def test_all_find_the_clusters():
    points, known = clusters(600, 32, 40)
    assert known == 40
    found = {row.tool: row for row in compare(points, repeats=1)}
    assert [row.atoms for row in found.values()] == [40, 40, 40, None, 40]
    assert [row.components for row in found.values()] == [40, 40, 40, 40, None]
    assert found["probe"].ratio == 1
    assert all(row.seconds is not None and row.recall == 1 and row.gib is not None for row in found.values())


def test_greedy_counts_agree_where_clusters_overlap():
    points, _ = clusters(500, 16, 20, spread=0.12)
    found = {row.tool: row for row in compare(points, repeats=1)}
    assert (
        found["scikit-learn DBSCAN"].components == found["FAISS range_search"].components == found["probe"].components
    )
    # Ties between points with as many neighbours are broken otherwise, so the counts may differ by a little.
    assert found["torch N x N"].atoms == pytest.approx(found["probe"].atoms, rel=0.05)
    assert found["probe"].atoms > 20


def test_what_does_not_fit_is_not_run():
    points, _ = clusters(600, 8, 2)
    found = {row.tool: row for row in compare(points, repeats=1, memory=100_000)}
    assert [tool for tool, row in found.items() if row.seconds is None] == [*found][2:]
    assert all("GiB" in row.note for row in [*found.values()][2:])


def test_what_takes_hours_is_not_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dedup, "PER_SECOND", 1)
    points, _ = clusters(600, 8, 20)
    found = {row.tool: row for row in compare(points, repeats=1)}
    assert [row.note for row in found.values()] == ["", ""] + ["takes about 800.0 hours of a core"] * 3


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["bench", "dedup", *arguments])
    return int(left.value.code or 0)


def test_command(capsys: pytest.CaptureFixture[str]):
    assert run("--points", "300", "--d", "16", "--clusters", "7", "--repeats", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["points"], found["d"], found["clusters"], found["rows"][0]["atoms"]) == (300, 16, 7, 7)
    assert run("--points", "300", "--d", "16", "--repeats", "1") == 0
    assert "scikit-learn" in capsys.readouterr().out


def test_no_run_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "dedup", str(tmp_path)]) == 2
    assert "is not the directory of a run" in capsys.readouterr().err
