"""Long parts of a stage show that they live."""

from jobs.progress import Meter
from jobs.run.dictionary import summary
from jobs.run.directory import RunDirectory
from jobs.run.work import RunWork
from probe.config import load_config

from .conftest import do


def test_points_that_are_certified_together_show_their_evaluations(own, tmp_path, monkeypatch):
    notes: list[str] = []
    seen = property(lambda meter: "", lambda meter, note: notes.append(note))
    monkeypatch.setattr(Meter, "note", seen, raising=False)
    run = RunDirectory.create(tmp_path / "run", load_config(own, ["datasets={}"]))
    do(run, "attractors", "dictionary")
    certified = [note for note in notes if note.startswith("certificates so far: ")]
    assert summary(RunWork(run))["certified"] > 1
    products = int(run.load("dictionary.safetensors", "products")[0]["products"].max())
    assert certified == [f"certificates so far: {n} evaluations and products" for n in range(1, len(certified) + 1)]
    assert len(certified) > products > 0  # one for all points together
