"""What progress.json says, as `probe status` reads it."""

import json
from pathlib import Path

import pytest

from jobs.progress import progress
from jobs.world import World
from probe.results.layout import PROGRESS


@pytest.mark.parametrize(("part", "done", "none_left"), [(2.5, 5, False), (3.0, 6, True), (3.2, 6, True)])
def test_a_stage_is_never_more_than_done(tmp_path: Path, part: float, done: int, none_left: bool):
    with progress(tmp_path, World(), 1, "models", "models", total=6, before=2) as meter:
        meter.finish(1)
        meter.update(part)
    said = json.loads((tmp_path / PROGRESS).read_text())
    assert (said["done"], said["total"]) == (done, 6)
    assert said["rate"] > 0
    assert (said["seconds_left"] == 0) == none_left
    assert said["seconds_left"] >= 0
