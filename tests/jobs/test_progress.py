"""What progress.json says, as `probe status` reads it."""

import json
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from jobs.progress import progress
from jobs.stopping import Ended
from jobs.world import World
from probe.results.layout import PROGRESS


@pytest.mark.parametrize(("part", "done", "none_left"), [(2.5, 5, False), (3.0, 6, True), (3.2, 6, True)])
def test_a_stage_is_never_more_than_done(tmp_path: Path, part: float, done: int, none_left: bool):
    with progress(tmp_path, World(), "models", "models", total=6, before=2) as meter:
        meter.finish(1)
        meter.update(part)
    said = json.loads((tmp_path / PROGRESS).read_text())
    assert (said["done"], said["total"]) == (done, 6)
    assert said["rate"] > 0
    assert (said["seconds_left"] == 0) == none_left
    assert said["seconds_left"] >= 0


@pytest.mark.parametrize(("total", "said"), [(3, "images: 1 data set in "), (4, "images: 2 data sets in ")])
def test_one_unit_is_not_said_as_several(tmp_path: Path, caplog, total: int, said: str):
    with caplog.at_level("INFO"), progress(tmp_path, World(), "images", "data sets", total=total, before=2) as meter:
        meter.finish(total - 2)
    assert said in caplog.text


def test_a_notebook_has_one_line_that_changes(tmp_path: Path, monkeypatch, capsys):
    shown: list[str] = []

    class Handle:
        def update(self, data, raw):
            shown.append(data["text/plain"])

    notebook, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    notebook.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    display.display = lambda data, raw, display_id: Handle()
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with progress(tmp_path, World(), "attractors", "starts", total=4, before=0) as meter:
        meter.finish(4)
    assert shown[-1].startswith("attractors: 4/4 starts, ")
    assert shown[-1].endswith("0 s left")
    assert capsys.readouterr().out == ""


def test_the_end_of_another_rank_ends_the_work_of_a_thread_and_not_the_process(tmp_path: Path):
    """Without the handlers that only the main thread can have, SIGUSR1 would kill this process."""
    ended: list[int] = []

    class Two(World):
        def watch(self):
            raise Ended(75, "rank 1 was stopped")

    def work():
        world = Two()
        world.size = 2
        try:
            with progress(tmp_path, world, "attractors", "starts", total=4) as meter:
                while True:
                    meter.update(0.5)
                    time.sleep(0.05)
        except Ended as end:
            ended.append(end.status)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(120)
    assert ended == [75]
