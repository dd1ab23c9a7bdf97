"""The leaderboard takes the finished runs of the index: neither other kinds and states, nor what was deleted."""

from types import SimpleNamespace

import pytest

from probe.serve import board
from probe.serve.index import Index, Row
from probe.serve.states import State
from probe.serve.supervisor import Absent


def test_finished_runs_of_all_pages_are_ranked(tmp_path, monkeypatch: pytest.MonkeyPatch):
    index = Index(tmp_path / "index.sqlite")
    for number in range(7):
        index.put(row(f"run{number}"))
    index.put(row("study", kind="study"))
    index.put(row("running", state=State.RUNNING))

    def folder(id):
        if id == "run3":
            raise Absent("there is no run run3.")
        return tmp_path / id

    monkeypatch.setattr(board, "MOST", 2)
    found = board.board(SimpleNamespace(index=index, folder=folder))
    assert found["groups"] == []
    assert {one["id"] for one in found["refused"]} == {f"run{number}" for number in range(7)} - {"run3"}


def row(id: str, kind: str = "run", state: State = State.DONE) -> Row:
    submitted = f"2026-01-01T00:00:{len(id):02}+00:00"
    return Row(id, id, kind, state, "", None, None, submitted, ours=True)
