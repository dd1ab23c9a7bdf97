"""Ten thousand runs: a page is read from the index alone, and looking through their folders holds no request up."""

import asyncio
import os
import shutil
import sys
import time
from pathlib import Path

import httpx
import pytest

from probe.serve.app import create_app
from probe.serve.index import Row
from probe.serve.settings import Settings
from probe.serve.states import State

from .service import Service, memory, seconds_of, served, until

MANY = 10_000
FINISHED = Path(__file__).parents[1] / "jobs" / "finished"
OPENED: list[str] = []
"""What this process opens or lists, while it is watched."""
WATCHED = [False]


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if WATCHED[0] and event in ("open", "os.listdir", "os.scandir"):
        OPENED.append(str(arguments[0]))


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The application, whose index has ten thousand runs and whose supervisor looks at nothing."""
    app = create_app(Settings(root=tmp_path_factory.mktemp("root"), token=None))
    supervisor = app.state.supervisor
    for number in range(MANY):
        state = list(State)[number % len(State)]
        supervisor.index.put(
            Row(
                *(
                    f"run-{number:05d}",
                    f"name {number}",
                    ("run", "study", "ood")[number % 3],
                    state,
                    "a reason",
                    "a/model",
                ),
                executor="local",
                submitted=f"2026-11-28T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}+00:00",
                ours=True,
                stages=[{"name": "attractors", "state": "complete", "done": 4, "planned": 4, "unit": "parts"}] * 5,
                summary={"d": 64, "atoms": 12},
            )
        )
    return app


def test_a_page_of_ten_thousand_runs_reads_no_run_directory(app, capsys):
    supervisor = app.state.supervisor
    sys.addaudithook(_watch)

    async def ask() -> tuple[list[str], list[float]]:
        found: list[str] = []
        times: list[float] = []
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765") as http:
            cursor = None
            while True:
                query = {"limit": 200, **({"cursor": cursor} if cursor else {})}
                OPENED.clear()
                WATCHED[0], began = True, time.thread_time()
                answer = await http.get("/v1/runs", params=query)
                WATCHED[0] = False
                times.append(1000 * (time.thread_time() - began))
                assert answer.status_code == 200, answer.text
                assert [name for name in OPENED if str(supervisor.settings.root) in name] == []
                page = answer.json()
                found += [run["id"] for run in page["runs"]]
                if not (cursor := page["next"]):
                    return found, times

    found, times = asyncio.run(ask())
    assert found == [f"run-{number:05d}" for number in reversed(range(MANY))]
    began = time.thread_time()
    rows, _ = supervisor.index.page(state=["failed"], kind="ood", limit=50)
    one = 1000 * (time.thread_time() - began)
    assert len(rows) == 50
    with capsys.disabled():
        print(f"\n{len(times)} pages of 200 of {MANY} runs: {min(times):.1f} to {max(times):.1f} ms each")
        print(f"50 of one state and kind, without HTTP: {one:.1f} ms")


@pytest.mark.parametrize("query", ["", "where state in ('failed') and", "where kind = 'ood' and"])
def test_a_page_walks_an_index_and_sorts_nothing(app, query):
    """SQLite's plan: no table is scanned, and nothing is sorted."""
    where = f"{query or 'where'} submitted <= '2026-11-28T02' order by submitted desc, id limit 51"
    with app.state.supervisor.index._working() as connection:
        plan = " ".join(row[3] for row in connection.execute(f"explain query plan select * from runs {where}"))
    assert "USING INDEX" in plan
    assert "TEMP B-TREE" not in plan


def test_the_service_is_small_and_has_no_torch(tmp_path, capsys):
    service = Service(tmp_path / "root", slots=1)
    service.root.mkdir()
    try:
        began = time.monotonic()
        service.start()
        seconds, cpu = time.monotonic() - began, seconds_of(service.pid)
        service.runs()
        mb = memory(service.pid)
        maps = Path(f"/proc/{service.pid}/maps").read_text()
    finally:
        service.close()
    with capsys.disabled():
        print(f"\nready after {cpu:.1f} s of a processor ({seconds:.1f} s on the clock), {mb:.0f} MB")
    assert mb < 200
    assert "libtorch" not in maps
    assert "libarrow" not in maps


@pytest.fixture
def foreign(tmp_path):
    """Ten thousand run directories that somebody else made, links to two; where they are."""
    root = tmp_path / "root"
    for number in range(MANY):
        folder = root / f"group-{number % 100:02d}" / f"run-{number:05d}"
        if number % 100 == 0:
            shutil.copytree(FINISHED / "ood", folder, copy_function=os.link)
        else:
            folder.mkdir(parents=True)
            os.link(FINISHED / "run" / "config.yaml", folder / "config.yaml")
    return root


@pytest.mark.slow
@pytest.mark.busy
def test_the_first_look_at_ten_thousand_folders_holds_nothing_up(foreign, capsys):
    with served(foreign) as service:
        began, cpu, times, known = time.monotonic(), seconds_of(service.pid), [], 0
        while known < MANY:
            asked = time.monotonic()
            service.http.get("/v1/runs").raise_for_status()
            times.append(time.monotonic() - asked)
            time.sleep(0.1)
            if len(times) % 50 == 0:
                known = len(service.runs())
                assert time.monotonic() - began < 1800, f"{known} are known"
        seconds, used = time.monotonic() - began, seconds_of(service.pid) - cpu
        mb = memory(service.pid)
        asked = time.monotonic()
        service.http.get("/v1/runs").raise_for_status()
        one = time.monotonic() - asked
        # The second look finds nothing new, and costs little.
        cpu = seconds_of(service.pid)
        until(lambda: time.monotonic() - asked > 35, 60)
        again = seconds_of(service.pid) - cpu
    times.sort()
    with capsys.disabled():
        print(
            f"\n{MANY} foreign folders known after {seconds:.0f} s ({used:.0f} s of a processor); {len(times)} "
            f"requests meanwhile, median {1000 * times[len(times) // 2]:.0f} ms, longest {1000 * times[-1]:.0f} ms; "
            f"then {1000 * one:.0f} ms; {mb:.0f} MB; 35 s with a second look take {again:.1f} s of a processor"
        )
    assert len(times) > 20  # so none waited for the whole
    assert mb < 300
