"""A real server over a real Slurm cluster of two nodes: submit, watch, cancel, nodes and servers that fail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..jobs.conftest import assert_same_run, cluster, own, run_of_one, slurmd  # noqa: F401
from ..jobs.ood.test_ood import SETTINGS as OOD
from ..jobs.slurm_cluster import Cluster
from ..jobs.test_cluster import MINUTES, STUDY
from .service import Service, served, until

pytestmark = [pytest.mark.busy(660), pytest.mark.slow]
ROUNDTRIP = {
    "datasets": {"digits": {"n": 3}},
    "resolution": 16,
    "cycles": 2,
    "between": ["none"],
    "film": {"images": 1, "extremes": 0},
}
Serving = Callable[..., Any]


@pytest.fixture
def serving(cluster: Cluster, tmp_path: Path) -> Serving:  # noqa: F811
    """serving(environment of the stage `attractors`): a server in front of the cluster, whose runs take a node each."""

    @contextmanager
    def serve(**environment: str) -> Iterator[Service]:
        threads = {"OMP_NUM_THREADS": "1"}
        profile: dict[str, Any] = {"nodes": 1, "tasks_per_node": 1, "environment": threads}
        if environment:
            profile["stages"] = {"attractors": {"environment": {**threads, **environment}}}
        (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(profile))
        with served(tmp_path / "root", "--cluster", tmp_path / "cluster.yaml", env=cluster.env) as service:
            yield service

    return serve


@pytest.fixture(scope="session")
def root() -> Path:
    """Of the repository, as the fixtures of the cluster want it."""
    return Path(__file__).parents[2]


def states(service: Service, run: str, end: str) -> list[str]:
    """The states that a run goes through until one of them, as a client that asks sees them; printed with reasons."""
    seen: list[tuple[str, str]] = []

    def is_there() -> bool:
        now = service.get(run)
        if (now["state"], now["reason"]) != (seen[-1] if seen else None):
            seen.append((now["state"], now["reason"]))
            print(f"{now['updated']}  {now['state']:9} {now['reason']}")
        return now["state"] == end or now["state"] in ("failed", "lost")

    until(is_there, MINUTES)
    assert seen[-1][0] == end, (seen, service.said())
    return list(dict.fromkeys(state for state, _ in seen))


def in_queue(cluster: Cluster, run: dict[str, Any]) -> bool:  # noqa: F811
    """Whether a job of a run waits, runs or ends just now."""
    jobs = {*run["slurm"]["jobs"].values()}
    return bool(jobs & {*cluster("squeue", "-h", "-o", "%F", quiet=True).split()})


def test_a_run_goes_through_the_queue_and_its_report_is_that_of_one_process(serving, run_of_one, own):  # noqa: F811
    with serving() as service:
        run = service.submit(yaml.safe_load(own.read_text()), key="once", executor="slurm", id="first")
        assert states(service, run["id"], "done") == ["queued", "running", "done"]
        assert (
            service.submit(yaml.safe_load(own.read_text()), key="once", executor="slurm", id="first")["id"] == "first"
        )
        assert {*service.get("first")["slurm"]["states"].values()} == {"COMPLETED"}
        assert service.http.get("/v1/runs/first/report.json").status_code == 200
        assert_same_run(run_of_one, service.root / "first")


def test_every_other_kind_is_done_on_the_cluster(serving, own):  # noqa: F811
    trip = {**ROUNDTRIP, "models": {"own": yaml.safe_load(own.read_text())["model"]}}
    study = {**STUDY, "k": [2], "seeds": [0], "training": {**STUDY["training"], "epochs": 2}}
    with serving() as service:
        runs = [service.submit(one, executor="slurm")["id"] for one in (study, OOD, trip)]
        found = [service.wait(run, seconds=MINUTES) for run in runs]
        assert [(run["kind"], run["state"]) for run in found] == [
            (kind, "done") for kind in ("study", "ood", "roundtrip")
        ]


def test_a_cancelled_run_leaves_the_queue_and_resumes(serving, cluster, own):  # noqa: F811
    with serving(OWN_SLEEP="1") as service:
        run = service.submit(yaml.safe_load(own.read_text()), executor="slurm")["id"]
        other = service.submit(yaml.safe_load(own.read_text()), executor="slurm")["id"]
        until(lambda: list((service.root / run / "attractors").glob("*.safetensors")), MINUTES)
        print(service.http.post(f"/v1/runs/{run}/cancel").status_code, "cancel")
        assert states(service, run, "cancelled")[-1] == "cancelled"
        until(lambda: not in_queue(cluster, service.get(run)), 60)
        kept = {file: file.stat().st_mtime_ns for file in (service.root / run / "attractors").glob("0*.safetensors")}
        assert in_queue(cluster, service.get(other))
        assert service.http.post(f"/v1/runs/{run}/resume").status_code in (200, 202)
        service.wait(run, "running", seconds=MINUTES)
        for one in (run, other):
            service.http.post(f"/v1/runs/{one}/cancel")
            service.wait(one, "cancelled", seconds=MINUTES)
        assert kept == {file: file.stat().st_mtime_ns for file in kept}


def test_a_node_and_the_server_fail_while_a_run_goes_on(serving, run_of_one, cluster, own, tmp_path):  # noqa: F811
    with serving(OWN_SLEEP="0.3") as service:
        run = service.submit(yaml.safe_load(own.read_text()), executor="slurm")["id"]
        attractors = service.root / run / "attractors"
        until(lambda: len(list(attractors.glob("0*.safetensors"))) > 1, MINUTES)
        job = service.get(run)["slurm"]["jobs"]["attractors"]
        node = cluster("squeue", "-h", "-j", job, "-o", "%N").strip()
        service.kill()
        cluster("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
        until(lambda: cluster.restarts(job) == 1)
        service.start()
        print(service.get(run)["state"], service.get(run)["reason"])
        assert states(service, run, "done")[-1] == "done"
        assert service.get(run)["slurm"]["jobs"]["attractors"] == job  # nothing was submitted twice
        assert_same_run(run_of_one, service.root / run)
