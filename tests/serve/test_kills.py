"""Kill -9 of the service, of its shims and of its workers, at any instant: nothing is lost, and nothing runs twice."""

import json
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ..jobs.conftest import CLEAN, MAP, assert_same_run, configure, shard_files
from ..processes import Process
from .service import OVER, Service, Watcher, served, shims, until, workers

pytestmark = [pytest.mark.busy(450), pytest.mark.slow]

TINY = Path(__file__).parents[1] / "jobs" / "finished"
KINDS = ("run", "run", "study", "run", "run", "ood")
"""Of the runs that are queued, again and again."""
OTHERS: dict[str, dict[str, Any]] = {"run": {"resolution": 32}, "study": {"seeds": [1]}, "ood": {"seed": 5}}
"""What makes each kind another one."""
KINDS_OF_KILLS = ("server", "worker", "shim", "all")


@pytest.fixture(scope="module")
def configurations(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """A configuration of each kind; steps of the map take 20 ms, so that a run can be hit while it makes shards."""
    folder = tmp_path_factory.mktemp("models")
    found = {"run": yaml.safe_load(configure(folder).read_text())}
    (folder / "own.py").write_text(MAP.replace('"OWN_SLEEP", 0', '"OWN_SLEEP", 0.02'))
    for kind in ("study", "ood"):
        found[kind] = yaml.safe_load((TINY / f"{kind}.yaml").read_text())
    found["ood"]["model"]["source"] = f"python:{TINY}/tiny.py:load"
    return found


@pytest.fixture(scope="module")
def undisturbed(configurations, tmp_path_factory) -> dict[str, Path]:
    """The directories that `probe run`, `study` and `ood` make of them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for kind, config in configurations.items():
        file = folder / f"{kind}.yaml"
        file.write_text(yaml.safe_dump(config))
        arguments = [kind, file, "--out", folder / kind]
        process = Process("probe.cli.main", arguments, {**CLEAN, "OMP_NUM_THREADS": "1"}, folder / f"{kind}.txt")
        assert process.wait(1800) == 0, (folder / f"{kind}.txt").read_text()
    return {kind: folder / kind for kind in configurations}


def assert_same_report(one: Any, two: Any, where: str = "") -> None:
    """The same keys and values, numbers within float tolerance; of the provenance, only what was asked and drawn."""
    if where == ".provenance":
        one, two = ({name: given.get(name) for name in ("config", "data", "images_sha256")} for given in (one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        assert one.keys() == two.keys(), where
        for name in one:
            assert_same_report(one[name], two[name], f"{where}.{name}")
    elif isinstance(one, list) and isinstance(two, list):
        assert len(one) == len(two), where
        for at, (x, y) in enumerate(zip(one, two, strict=True)):
            assert_same_report(x, y, f"{where}[{at}]")
    elif isinstance(one, float) and isinstance(two, float):
        assert one == pytest.approx(two, rel=1e-4, abs=1e-6, nan_ok=True), where
    else:
        assert one == two, where


def report(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "report" / "report.json").read_text())
    return found


@dataclass
class Clients:
    """Two threads that ask, whatever happens to the server.

    Attributes:
        answers: how often each status was answered, and how often nobody was there to answer.
        cancelled: runs that the service said it would cancel.
        wrong: answers that must never be.
    """

    service: Service
    configurations: dict[str, dict[str, Any]]
    answers: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    resumed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response | None:
        """The answer, unless the server is gone meanwhile."""
        try:
            answer = httpx.request(
                method,
                f"http://127.0.0.1:{self.service.port}{path}",
                timeout=60,
                **{**given, "headers": {**self.service.http.headers, **given.get("headers", {})}},
            )
        except httpx.HTTPError:
            self.answers["nobody there"] += 1
            return None
        self.answers[str(answer.status_code)] += 1
        if answer.status_code >= 500:
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def submit(self, key: str, kind: str, other: bool = False) -> httpx.Response | None:
        """Submit a run by its key, or another one by the same key."""
        config = self.configurations[kind]
        config = {**config, **OTHERS[kind]} if other else config
        given = {"config": config, "kind": kind, "name": key}
        return self.ask("POST", "/v1/runs", json=given, headers={"Idempotency-Key": key})

    def must_submit(self, key: str, kind: str) -> str:
        """Ask until it is answered; the run's id."""
        while True:
            answer = self.submit(key, kind)
            if answer is not None and answer.status_code in (200, 201):
                self.kinds[str(answer.json()["id"])] = kind
                return str(answer.json()["id"])
            assert answer is None or answer.status_code >= 500, answer.text
            time.sleep(0.2)

    def bother(self, ids: dict[str, str], over: threading.Event, seed: int) -> None:
        """Submit what is there again, by the same key; with another content by the same key; and read."""
        chance = random.Random(seed)
        while not over.wait(chance.uniform(0, 0.3)):
            key = chance.choice(list(ids))
            match chance.choice(("again", "other", "list", "one")):
                case "again":
                    answer = self.submit(key, self.kinds[ids[key]])
                    if answer is not None and (answer.status_code != 200 or answer.json()["id"] != ids[key]):
                        self.wrong.append(f"{key} again: {answer.status_code} {answer.text[:300]}")
                case "other":
                    answer = self.submit(key, self.kinds[ids[key]], other=True)
                    if answer is not None and answer.status_code != 409:
                        self.wrong.append(f"{key} with another content: {answer.status_code} {answer.text[:300]}")
                case "list":
                    self.ask("GET", "/v1/runs")
                case "one":
                    answer = self.ask("GET", f"/v1/runs/{ids[key]}")
                    if answer is not None and answer.status_code == 404:
                        self.wrong.append(f"{key} is not there")


def strike(what: str, service: Service, chance: random.Random) -> str:
    """Kill -9 one of a kind, or all; what was killed."""
    at_work, at_watch = workers(service.root), shims(service.root)
    match what:
        case "worker" if at_work:
            return "worker" if chance.choice(at_work).kill() else ""
        case "shim" if at_watch:
            return "shim" if chance.choice(at_watch).kill() else ""
        case "all":
            service.kill()
            killed = [one.kill() for one in (*shims(service.root), *workers(service.root))]
            return f"all ({1 + sum(killed)})"
        case "server":
            service.kill()
            return "server"
    return ""


@pytest.mark.parametrize(("runs", "kills"), [(12, 20)])
def test_kills_at_random_instants_lose_and_double_nothing(configurations, undisturbed, tmp_path, capsys, runs, kills):
    chance = random.Random(21)
    root = tmp_path / "root"
    with served(root) as service, Watcher(root) as watcher:
        clients = Clients(service, configurations)
        ids: dict[str, str] = {}

        def one_more() -> None:
            key = f"key-{len(ids)}"
            ids[key] = clients.must_submit(key, KINDS[len(ids) % len(KINDS)])

        one_more()
        over = threading.Event()
        bothering = [threading.Thread(target=clients.bother, args=(ids, over, seed), daemon=True) for seed in range(2)]
        for thread in bothering:
            thread.start()
        struck: list[str] = []
        began = time.monotonic()
        try:
            submitting = threading.Thread(target=lambda: [one_more() for _ in range(runs - 1)], daemon=True)
            submitting.start()
            while len(struck) < kills:
                # Half of the instants are anywhere in the life of a run, half soon after a worker or a server began.
                if chance.random() < 0.5:
                    time.sleep(chance.uniform(0, 12))
                else:
                    before = sum(map(len, watcher.lives.values()))
                    end = time.monotonic() + 20
                    while sum(map(len, watcher.lives.values())) == before and time.monotonic() < end:
                        time.sleep(0.005)
                    time.sleep(chance.uniform(0, 1.5) ** 2)
                if killed := strike(chance.choice(KINDS_OF_KILLS), service, chance):
                    struck.append(killed)
                if not service.is_alive():
                    time.sleep(chance.choice((0, 0, chance.uniform(0, 3))))
                    service.start(wait=chance.random() < 0.7)  # or it is struck while it begins
                elif chance.random() < 0.1 and len(clients.cancelled) < 2:
                    run = chance.choice(list(ids.values()))
                    answer = clients.ask("POST", f"/v1/runs/{run}/cancel")
                    if answer is not None and answer.is_success and answer.json()["state"] != "done":
                        clients.cancelled.add(run)
                submitting.join(0)
                if not submitting.is_alive() and all(state in OVER for state in states(clients).values()):
                    one_more()  # so that there is something to strike
            submitting.join(600)
            until(service.is_ready, 180)

            def all_over() -> bool:
                found = states(clients)
                for id, state in found.items():
                    if state == "lost":
                        clients.resumed[id] += 1
                        clients.ask("POST", f"/v1/runs/{id}/resume")
                time.sleep(0.5)
                return bool(found) and all(state in OVER - {"lost"} for state in found.values())

            until(all_over, 1800)
        finally:
            over.set()
            for thread in bothering:
                thread.join(60)
        found = service.runs()
        seconds = time.monotonic() - began
        until(lambda: not workers(root) and not shims(root), 60)
        attempts = {id: json.loads((root / id / ".service.json").read_text())["attempts"] for id in found}
    with capsys.disabled():
        print(
            f"\n{len(struck)} kills in {seconds:.0f} s: {dict(Counter(one.partition(' ')[0] for one in struck))}, "
            f"{service.lives} lives of the service; {len(found)} runs, "
            f"{dict(Counter(run['state'] for run in found.values()))}, {len(clients.cancelled)} cancelled by us, "
            f"{sum(clients.resumed.values())} given up and resumed; "
            f"{sum(map(len, watcher.lives.values()))} workers, {sum(map(len, attempts.values()))} attempts, "
            f"at most {watcher.most} at once; /proc looked at {watcher.scans} times; answers {dict(clients.answers)}"
        )
    assert not watcher.doubled
    assert not clients.wrong
    assert set(found) == set(ids.values())
    assert {path.name for path in root.iterdir() if not path.name.startswith(".")} == set(ids.values())
    assert watcher.most <= service.slots
    for id, run in found.items():
        assert run["state"] == "done" or (run["state"] == "cancelled" and id in clients.cancelled), run
        if run["state"] == "done":
            kind = clients.kinds[id]
            assert_same_report(report(undisturbed[kind]), report(root / id))
            if kind == "run":
                assert len(shard_files(root / id)) == 10
                assert_same_run(undisturbed[kind], root / id)


def states(clients: Clients) -> dict[str, str]:
    """State of each run; none while the server is away."""
    answer = clients.ask("GET", "/v1/runs?limit=200")
    with suppress(ValueError):
        if answer is not None and answer.status_code == 200:
            return {run["id"]: run["state"] for run in answer.json()["runs"]}
    return {"": ""}
