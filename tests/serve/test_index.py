"""The index: pages, filters and revisions, and what it does with files that are not its own."""

import os
import random
import sqlite3
import stat
from dataclasses import replace

import pytest

from probe.errors import Failure, UserError
from probe.serve.index import Index, Row
from probe.serve.states import State

ROW = Row("a", "a", "run", State.QUEUED, "", None, "local", "2026-11-28T00:00:00+00:00", True)


@pytest.fixture
def index(tmp_path):
    index = Index(tmp_path / "own" / "index.sqlite")
    yield index
    index.close()


def test_pages_are_a_sorted_list_cut_to_pieces(index):
    chance = random.Random(0)
    rows = []
    for number in range(200):  # many of one second
        moment = f"2026-11-28T00:00:{chance.randrange(10):02}+00:00"
        state, kind = chance.choice(list(State)), chance.choice(["run", "study"])
        rows.append(replace(ROW, id=f"r{number}", submitted=moment, state=state, kind=kind, model=chance.choice("xyz")))
        index.put(rows[-1])
    rows.sort(key=lambda row: row.id)
    rows.sort(key=lambda row: row.submitted, reverse=True)
    for filters in (
        {},
        {"state": ["done"]},
        {"state": [State.DONE, State.LOST], "kind": "run"},
        {"model": "x", "kind": "study"},
        {"model": "none"},
    ):
        expected = [
            row.id
            for row in rows
            if row.state in filters.get("state", list(State))
            and filters.get("kind", row.kind) == row.kind
            and filters.get("model", row.model) == row.model
        ]
        found, cursor, pages = [], None, 0
        while pages == 0 or cursor:
            page, cursor = index.page(**filters, cursor=cursor, limit=7)
            found, pages = found + [row.id for row in page], pages + 1
        assert found == expected
        assert pages == max(-(-len(expected) // 7), 1)
    assert sum(index.counts().values()) == 200
    assert len(index.page(limit=1000)[0]) == 200
    assert len(index.page(limit=-1)[0]) == 1


@pytest.mark.parametrize(
    "cursor", ["", "x", "AAAA", "bnVsbA", "WzEsMl0", "WyJcdWQ4MDAiLCJ4Il0", "é", "'; drop table runs; --"]
)
def test_a_cursor_of_somebody_else_is_refused(index, cursor):
    with pytest.raises(UserError, match="cursor"):
        index.page(cursor=cursor)


def test_revisions_grow_with_every_change_and_across_restarts(index):
    first = index.put(ROW)
    assert index.put(replace(ROW, updated="later", fingerprint="1 2")).rev == first.rev  # nothing that anybody sees
    assert index.fingerprints() == {"a": ("1 2", State.QUEUED)}
    second = index.put(replace(ROW, state=State.RUNNING, progress={"done": 1}))
    assert second.rev > first.rev
    third = index.put(replace(ROW, id="b"))
    assert index.since(first.rev) == [second, third]
    assert index.since(third.rev) == []
    assert index.get("a") == second
    index.remove("b")
    assert index.rev > third.rev
    index.close()
    again = Index(index.file)
    assert again.put(replace(ROW, id="c")).rev > third.rev
    again.close()


def test_ids_keys_and_what_is_ours(index):
    index.put(replace(ROW, key="k", digest="d"))
    index.put(replace(ROW, id="b", ours=False, state=State.RUNNING))
    assert index.by_key("k").id == "a"
    assert index.by_key("other") is None
    assert index.ids(ours=True) == ["a"]
    assert index.ids(State.RUNNING, ours=False) == ["b"]
    assert index.ids(State.DONE, ours=False) == []
    index.clear()
    assert index.page() == ([], None)


def test_the_file_is_private_and_in_wal_mode(index):
    assert stat.S_IMODE(os.stat(index.file).st_mode) == 0o600
    with sqlite3.connect(index.file) as other:
        assert other.execute("pragma journal_mode").fetchone() == ("wal",)
    other.close()


@pytest.mark.parametrize("what", ["noise", "empty", "other table", "other version", "half"])
def test_another_file_in_its_place_is_set_aside(tmp_path, caplog, what):
    file = tmp_path / "index.sqlite"
    index = Index(file)
    for number in range(200):
        index.put(replace(ROW, id=f"r{number}"))
    index.close()
    if what == "noise":
        file.write_bytes(b"x" * 5000)
    elif what == "half":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 // 4096 * 4096 - 100])
    elif what == "empty":
        file.write_bytes(b"")
    elif what == "other table":
        file.unlink()
        with sqlite3.connect(file) as other:
            other.execute("create table mine (a)")
        other.close()
    else:
        with sqlite3.connect(file) as other:
            other.execute("pragma user_version = 99")
        other.close()
    again = Index(file)
    assert again.page() == ([], None)
    again.put(ROW)
    assert again.get("a").id == "a"
    again.close()
    aside = [one.name for one in tmp_path.iterdir() if "damaged" in one.name]
    assert len(aside) == (what != "empty")
    assert ("made again" in caplog.text) == (what != "empty")


def test_damage_while_it_is_open_is_repaired(index):
    index.put(ROW)
    with sqlite3.connect(index.file) as other:
        other.execute("drop table runs")
    other.close()
    with pytest.raises(Failure, match="made again"):
        index.get("a")
    assert index.get("a") is None
    assert index.put(ROW).id == "a"


def test_who_asks_after_its_end_is_refused_and_the_file_is_kept(index):
    index.put(ROW)
    index.close()
    with pytest.raises(Failure, match="the server stops"):
        index.get("a")
    assert Index(index.file).get("a").id == "a"


def test_a_run_that_is_put_back_from_the_trash_hides_no_other_of_its_key(index):
    for id in ("a", "b"):
        index.put(replace(ROW, id=id, key="k"))
    assert {row.id for row in index.page()[0]} == {"a", "b"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Failure, match="--index"):
        Index(tmp_path / "file" / "index.sqlite")
