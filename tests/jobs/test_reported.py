"""A report is written again where its results, its files or the tool have changed, and only there."""

import shutil

import pytest

import jobs.reported
import probe

from .test_finished import FINISHED, WORKING
from .test_finished import _where_they_were_made as _where_they_were_made


@pytest.fixture(params=["run", "study", "ood", "roundtrip"])
def reported(request, tmp_path, monkeypatch):
    """reported(): resume a finished folder; the content of report/, and whether it was written."""
    folder, written = shutil.copytree(FINISHED / request.param, tmp_path / request.param), []
    keep = jobs.reported.keep_checksum
    monkeypatch.setattr("jobs.work.keep_checksum", lambda its: (written.append(its), keep(its)))

    def again():
        written.clear()
        run = probe.run(folder / "config.yaml", out=folder, trust_code=True)
        assert run.report.to_pandas() is not None
        files = {file: file.read_bytes() for file in (folder / "report").rglob("*") if file.is_file()}
        return files, bool(written)

    return folder, again


def test_a_report_is_written_once(reported, monkeypatch):
    folder, again = reported
    first, written = again()
    assert written  # the version that made the folder kept no checksum
    assert again() == (first, False)
    page = folder / "report" / "report.html"
    page.write_text("spoilt")
    assert again()[1]
    assert page.read_text().startswith("<!doctype html>")
    (folder / "report" / "report.json").unlink()
    assert again()[1]
    assert again()[1] is False
    with (folder / "config.yaml").open("a") as file:
        file.write("# a word\n")
    assert again()[1]
    monkeypatch.setattr(jobs.reported, "SOURCES", (".py",))  # another version of the tool
    assert again()[1]


def test_the_checksum_follows_every_result(reported):
    folder, again = reported
    again()
    directory = next(one for one in WORKING.values() if probe.open_run(folder).kind == one.NOUN).open(folder)
    before = jobs.reported.current_report(directory)
    results = list(jobs.reported._results(directory))
    assert before
    assert len(results) >= 1
    for file in results:
        kept = file.read_bytes()
        file.write_bytes(b"")
        assert jobs.reported.current_report(directory) is None
        file.write_bytes(kept)
        if file.suffix == ".parquet":  # the stages read tensors through, but not these
            damaged = bytearray(kept)
            damaged[len(kept) // 3] ^= 1
            file.write_bytes(damaged)
            assert jobs.reported.current_report(directory) is None
            file.write_bytes(kept)
    assert jobs.reported.current_report(directory) == before
    directory.update_manifest(stage_seconds={"attractors": 1e9})
    assert jobs.reported.current_report(directory) is None


def test_what_was_logged_is_logged_again_where_it_is_gone(tmp_path):
    """A tracker's files are no part of the results."""
    pytest.importorskip("tensorboard")
    folder = shutil.copytree(FINISHED / "run", tmp_path / "run")
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("log_with: []", "log_with: [tensorboard]"))
    for _ in range(2):
        probe.run(config, out=folder, trust_code=True)
        assert list((folder / "trackers").iterdir())
        shutil.rmtree(folder / "trackers")
