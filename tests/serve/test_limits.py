"""Bounds on what runs take of the disk."""

import os
from pathlib import Path

from probe.serve.limits import MIB, Limits, disk_used


def filled(folder: Path, *sizes: int) -> Path:
    """A folder with files of so many bytes, one level deeper each."""
    for number, size in enumerate(sizes):
        folder = folder / str(number)
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(os.urandom(size))
    return folder


def test_a_run_over_its_quota_has_a_reason(tmp_path: Path):
    filled(tmp_path / "run", MIB, MIB)
    assert Limits(run_bytes=None).over_quota(tmp_path / "run") is None
    assert Limits(run_bytes=3 * MIB).over_quota(tmp_path / "run") is None
    said = Limits(run_bytes=MIB).over_quota(tmp_path / "run")
    assert said is not None
    assert said.endswith("more than its quota of 0.0009766 GiB.")
    assert Limits(run_bytes=1).over_quota(tmp_path / "absent") is None


def test_all_runs_together(tmp_path: Path):
    runs = [tmp_path / "a", tmp_path / "b", tmp_path / "absent"]
    filled(runs[0], MIB)
    filled(runs[1], MIB)
    assert Limits().full(runs) is None
    assert Limits(total_bytes=3 * MIB).full(runs) is None
    assert "delete" in str(Limits(total_bytes=2 * MIB).full(runs))
    assert Limits(total_bytes=2 * MIB).full(runs[:1]) is None


def test_links_lead_nowhere_and_holes_take_nothing(tmp_path: Path):
    filled(tmp_path / "outside", 5 * MIB)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "run" / "loop").symlink_to(tmp_path / "run")
    with (tmp_path / "run" / "hole").open("wb") as file:
        file.truncate(100 * MIB)
    assert disk_used(tmp_path / "run", 10 * MIB) < MIB


def test_counting_ends_when_it_is_enough(tmp_path: Path, monkeypatch):
    filled(tmp_path / "run", *[MIB] * 5)
    looked = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looked.append(path) or real(path))
    assert disk_used(tmp_path / "run", MIB) == 2 * MIB
    assert len(looked) == 3
