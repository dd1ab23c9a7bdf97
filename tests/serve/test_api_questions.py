"""Questions that a command answers: what is kept of them, and what becomes of them when they fail."""

import json
import stat
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from probe.errors import Failure, UserError
from probe.serve import questions
from probe.serve.questions import Questions
from probe.serve.settings import Settings

from .http import Served, serving

COMMAND = """#!{python}
import json, os, sys, time
with open(os.environ["ASKED"], "a") as file:
    print(json.dumps([os.getpid(), sys.argv[1:]]), file=file)
words = sys.argv[4:]
if "sleep" in words:
    time.sleep(600)
if "wrong" in words:
    print("some line\\nprobe: the runs differ; choose others.", file=sys.stderr)
    sys.exit(2)
if "broken" in words:
    sys.exit(-9)
print(json.dumps({{"words": words[0]}}))
time.sleep(0.3)
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`probe` is a script that notes what it was asked in the file returned."""
    script, noted = tmp_path / "python", tmp_path / "asked"
    script.write_text(COMMAND.format(python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    noted.touch()
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setenv("ASKED", str(noted))
    return noted


@pytest.fixture
def room(tmp_path: Path) -> Questions:
    return Questions(Settings(root=tmp_path), threading.Event())


def test_an_answer_is_kept_by_what_it_depends_on(asked, room):
    async def ask() -> None:
        first = await room.answer(["a"], ["compare", "x"])
        assert json.loads((first / "stdout").read_text()) == {"words": "compare"}
        assert await room.answer(["a"], ["compare", "x"]) == first
        assert await room.answer(["b"], ["compare", "x"]) != first
        assert await room.answer(["a"], ["compare", "y"]) != first

    anyio.run(ask)
    assert len(asked.read_text().splitlines()) == 3
    assert not list(room.folder.glob(".new-*"))


def test_the_same_asked_by_many_is_asked_once_and_two_at_most_at_a_time(asked, room, monkeypatch):
    most, at_work = 0, 0
    before = Questions._run

    async def counted(*arguments) -> None:
        nonlocal most, at_work
        at_work += 1
        most = max(most, at_work)
        await before(*arguments)
        at_work -= 1

    monkeypatch.setattr(Questions, "_run", counted)

    async def ask() -> None:
        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(room.answer, [number % 4], ["compare"])

    anyio.run(ask)
    assert len(asked.read_text().splitlines()) == 4
    assert most == 2
    assert room._asked == {}


def test_errors_are_those_of_the_command_and_nothing_is_kept_of_them(asked, room):
    async def ask() -> None:
        with pytest.raises(UserError, match=r"^the runs differ; choose others\.$"):
            await room.answer([], ["compare", "wrong"])
        with pytest.raises(Failure, match="failed with status"):
            await room.answer([], ["compare", "broken"])

    anyio.run(ask)
    assert list(room.folder.iterdir()) == []


@pytest.mark.parametrize("why", ["slow", "stopped", "left"])
def test_a_command_ends_with_the_wait_for_it(why, asked, room, monkeypatch):
    if why == "slow":
        monkeypatch.setattr(questions, "SECONDS", 0.5)

    async def ask() -> None:
        async with anyio.create_task_group() as group:

            async def one() -> None:
                with pytest.raises(Failure, match="longer than" if why == "slow" else "the server stops"):
                    await room.answer([], ["compare", "sleep"])

            group.start_soon(one)
            while not asked.read_text():
                await anyio.sleep(0.05)
            if why == "stopped":
                room._stops.set()
            if why == "left":
                group.cancel_scope.cancel()

    anyio.run(ask)
    pid = json.loads(asked.read_text())[0]
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_table_of_models_is_what_its_command_prints(asked, room):
    assert anyio.run(questions.models, room) == {"words": "models"}


def test_the_oldest_answers_go(asked, room, monkeypatch):
    monkeypatch.setattr(questions, "KEPT", 2)

    async def ask() -> list[Path]:
        return [await room.answer([number], ["compare"]) for number in range(3)]

    answers = anyio.run(ask)
    assert [answer.exists() for answer in answers] == [False, True, True]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served") / "root", slots=0) as one:
        yield one


@pytest.mark.slow
def test_comparing_what_is_not_finished_is_the_command_lines_mistake(served):
    for id in ("a", "b"):
        served.http.post("/v1/runs", json={"config": {}, "id": id})
    answer = served.http.get("/v1/compare?runs=a,b", timeout=120)
    assert answer.status_code == 422
    assert "a" in answer.json()["detail"]
    assert served.http.get("/v1/compare?runs=a").status_code == 422


@pytest.mark.slow
def test_a_plan(served):
    body = {"config": {"seeds": {"count": 8}}, "gpu": ["H100"], "pilot": 0}
    plan = served.http.post("/v1/plan", json=body, timeout=150).json()
    assert plan["plans"][0]["machine"].startswith("H100")
    assert "attractors" in plan["text"]
    wrong = served.http.post("/v1/plan", json={**body, "gpu": ["nonsense"]}, timeout=150)
    assert (wrong.status_code, "nonsense" in wrong.json()["detail"]) == (422, True)
