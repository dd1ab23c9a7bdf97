"""A real Slurm cluster of two nodes, each with a network of its own: what a scheduler does to a run."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from jobs.run.attractors import load_end_points
from jobs.run.directory import RunDirectory
from probe.results.files import read_tensors

from ..processes import completed
from .conftest import CLEAN, assert_same_run, shard_files, until
from .ood.test_ood import SETTINGS as OOD_SETTINGS
from .ood.test_ood import assert_same_experiment

pytestmark = pytest.mark.busy(600)
MINUTES = 1500.0
"""For what takes minutes on a machine that nobody else uses."""


@pytest.fixture
def profile(root, tmp_path):
    """profile(**changes): the file of a profile for this cluster."""

    def write(**changes) -> Path:
        content = {
            "nodes": 2,
            "tasks_per_node": 1,
            "gpus_per_task": 1,
            "memory": "3G",
            "environment": {"OMP_NUM_THREADS": "1"},
            "stages": {"images": {"nodes": 1}, "report": {"nodes": 1}},
            **changes,
        }
        (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(content))
        shutil.copy(root / "slurm" / "stage.sbatch.j2", tmp_path)
        return tmp_path / "cluster.yaml"

    return write


def test_starts_that_are_preempted_end_where_they_do_elsewhere(run_of_one, own, cluster, profile, tmp_path):
    """A run without images on two nodes, the smallest that is put back into the queue."""
    out, alone = tmp_path / "out", {"nodes": 1, "environment": {}}
    others = dict.fromkeys(("images", "dictionary", "reconstruct", "report"), alone)
    shape = profile(gpus_per_task=0, environment={"OMP_NUM_THREADS": "1", "OWN_SLEEP": "0.3"}, stages=others)
    jobs = json.loads(cluster.probe("submit", own, "--set", "datasets={}", "--cluster", shape, "--out", out, "--json"))
    until(lambda: shard_files(out), MINUTES)
    with cluster.held():
        cluster("scancel", "--batch", "-s", "USR1", jobs["attractors"])
    until(lambda: cluster.state(jobs["report"]) == "COMPLETED", MINUTES)
    assert cluster.restarts(jobs["attractors"]) == 1
    a, b = (load_end_points(RunDirectory.open(path)) for path in (run_of_one, out))
    assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in vars(a))  # rows of this map are independent


@pytest.mark.slow
def test_a_run_that_is_preempted_requeued_killed_cancelled_and_resumed_is_that_of_one_process(
    run_of_one, own, cluster, profile, tmp_path
):
    """Its stage `attractors` on two nodes has four lives, all slow enough to be ended by somebody, and a fifth one."""
    out, alone = tmp_path / 'it\'s a "run" 50%', {"nodes": 1}
    others = {name: {"environment": {}, **alone} for name in ("images", "dictionary", "reconstruct", "report")}
    slow = {"OMP_NUM_THREADS": "1", "OWN_SLEEP": "0.3", "OWN_SLOW_LIVES": "4"}

    def submit(**environment: str) -> dict[str, str]:
        shape = profile(gpus_per_task=0, environment=environment, stages=others)
        sets = ("--set", "seeds.shard_size=2")
        return json.loads(cluster.probe("submit", own, *sets, "--cluster", shape, "--out", out, "--json"))

    jobs = submit(**slow)
    work = jobs["attractors"]

    def more(than: int) -> None:
        """Wait for new shards, made by a running job."""
        until(lambda: len(shard_files(out)) > than and cluster.state(work) == "RUNNING", MINUTES)
        print(len(shard_files(out)), "of 20 shards")

    more(0)
    with cluster.held():
        cluster("scancel", "--batch", "-s", "USR1", work)  # pre-empted
    until(lambda: cluster.restarts(work) == 1, MINUTES)
    first = {file: file.stat().st_mtime_ns for file in shard_files(out)}
    more(len(first))
    with cluster.held():
        cluster("scontrol", "requeue", work)  # by an administrator
    until(lambda: cluster.restarts(work) == 2, MINUTES)
    more(len(shard_files(out)))
    with cluster.held():  # node1 hangs, as one does that waits for a dead one; else it would work until srun ends it
        cluster.kill_on("node2")
        until(lambda: cluster.restarts(work) == 3, MINUTES)
    more(len(shard_files(out)))
    with cluster.held():
        cluster.probe("cancel", out)
    until(lambda: cluster.state(work) == "CANCELLED", MINUTES)
    kept = {file: file.stat().st_mtime_ns for file in shard_files(out)}
    assert len(first) < len(kept) < 20
    assert first.items() < kept.items()
    assert json.loads(cluster.probe("status", out, "--json"))["state"] == "stopped"

    jobs = submit(OMP_NUM_THREADS="1")
    until(lambda: cluster.state(jobs["report"]) == "COMPLETED", MINUTES)
    assert kept == {file: file.stat().st_mtime_ns for file in kept}
    assert_same_run(run_of_one, out)
    manifest = json.loads((out / "manifest.json").read_text())
    hosts = [{rank["host"] for rank in session["ranks"]} for session in manifest["sessions"]]
    assert {"node1", "node2"} in hosts
    status = json.loads(cluster.probe("status", out, "--json"))
    assert (status["state"], {stage["slurm"] for stage in status["stages"]}) == ("complete", {"COMPLETED"})


@pytest.mark.slow
def test_a_run_on_an_array_of_tasks_is_that_of_one_process(run_of_one, own, cluster, profile, tmp_path):
    """Of four tasks of `attractors` one is cancelled, one is pre-empted, one is killed; `dictionary` and `reconstruct`
    have more tasks than parts, or than the cluster has processors."""
    out = tmp_path / "out"
    shape = profile(
        nodes=1,
        gpus_per_task=0,
        memory="900M",
        array=4,
        stages={
            "attractors": {"environment": {"OMP_NUM_THREADS": "1", "OWN_SLEEP": "0.5"}},
            "dictionary": {"array": 10},
        },
    )
    jobs = json.loads(cluster.probe("submit", own, "--cluster", shape, "--out", out, "--json"))
    work = jobs["attractors"]

    def ranks() -> set[int]:
        return {read_tensors(file)[1]["rank"] for file in shard_files(out)}

    until(lambda: len(ranks()) > 2 and cluster.state(f"{work}_3") == "RUNNING", MINUTES)
    with cluster.held():
        cluster("scancel", f"{work}_1")
        cluster("scancel", "--batch", "-s", "USR1", f"{work}_2")
    cluster.kill_on("node2")
    until(lambda: cluster.state(jobs["report"]) == "COMPLETED", MINUTES)
    assert cluster.state(f"{work}_1") == "CANCELLED"
    assert cluster.restarts(f"{work}_2") == 1
    assert_same_run(run_of_one, out)
    a, b = (load_end_points(RunDirectory.open(path)) for path in (run_of_one, out))
    assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in vars(a))  # rows of this map are independent
    assert len(ranks()) > 2
    until(lambda: not cluster("squeue", "-h", quiet=True), MINUTES)  # tasks that came late found nothing to do
    status = json.loads(cluster.probe("status", out, "--json"))
    assert (status["state"], status["last_error"]) == ("complete", None)
    hosts = {rank["host"] for one in RunDirectory.open(out).manifest["sessions"] for rank in one["ranks"]}
    assert {"node1", "node2"} <= hosts


@pytest.mark.slow
def test_the_time_limit_is_no_end(run_of_one, own, cluster, profile, tmp_path):
    """40 starts in 10 shards of some 20 steps, 2 s each, on two ranks: 200 s, of which the limit leaves at most 105
    (Slurm may send the signal a minute early). In its second life the map is quick, however slow its imports are."""
    short = profile(
        time="00:03:00",
        signal_seconds=75,
        gpus_per_task=0,
        environment={"OMP_NUM_THREADS": "1", "OWN_SLEEP": "2"},
        stages={name: {"environment": {}, "nodes": 1} for name in ("dictionary", "reconstruct", "report", "images")},
    )
    jobs = json.loads(cluster.probe("submit", own, "--cluster", short, "--out", tmp_path / "out", "--json"))
    until(lambda: cluster.restarts(jobs["attractors"]) >= 1, MINUTES)
    assert len(shard_files(tmp_path / "out")) < 10
    until(lambda: cluster.state(jobs["report"]) == "COMPLETED", MINUTES)
    assert_same_run(run_of_one, tmp_path / "out")


@pytest.mark.slow
def test_a_stage_that_fails_takes_the_later_ones_out_of_the_queue(own, cluster, profile, tmp_path):
    out, sets = tmp_path / "out", ("--set", "datasets={}")
    broken = profile(environment={"OWN_FAILS": "1", "OMP_NUM_THREADS": "1"})
    jobs = json.loads(cluster.probe("submit", own, *sets, "--cluster", broken, "--out", out, "--json"))
    until(lambda: cluster.state(jobs["report"]) == "CANCELLED")
    assert cluster.state(jobs["attractors"]) == "FAILED"
    status = json.loads(cluster.probe("status", out, "--json"))
    assert "the map fell off the bus" in status["last_error"]["message"]
    assert status["state"] == "stopped"
    mended = profile()
    jobs = json.loads(cluster.probe("submit", own, *sets, "--cluster", mended, "--out", out, "--json"))
    until(lambda: cluster.state(jobs["report"]) == "COMPLETED")


@pytest.mark.slow
def test_a_study_is_an_array_whose_tasks_share_the_models(cluster, profile, tmp_path):
    """Six models between two tasks; both are killed in their work, go back into the queue, and nothing is lost."""
    config, out = tmp_path / "study.yaml", tmp_path / "out"
    config.write_text(yaml.safe_dump(STUDY))
    shape = profile(gpus_per_task=0, stages={})
    cluster.probe("submit", config, "--cluster", shape, "--out", out)
    done = out / "cells"
    until(lambda: done.is_dir() and len(list(done.iterdir())) > 0, MINUTES)
    cluster.kill_on("node1", "node2")  # the last task's number is that of the array
    until(lambda: not cluster("squeue", "-h", quiet=True), MINUTES)
    status = json.loads(cluster.probe("status", out, "--json"))
    assert (status["state"], [stage["done"] for stage in status["stages"]]) == ("complete", [1, 6, 1])
    assert "COMPLETED" in status["stages"][1]["slurm"]
    said = "".join(log.read_text() for log in (out / "logs").glob("slurm-*-models.log"))
    assert said.count("requeued: a rank was killed") == 2
    tasks = {log.name for log in (out / "logs").glob("rank-*")}
    assert len(tasks) == 2
    report = json.loads((out / "report" / "report.json").read_text())
    assert sorted((model["k"], model["seed"]) for model in report["models"]) == [
        (k, s) for k in (2, 3, 4) for s in (0, 1)
    ]


STUDY = {
    "study": "bottleneck",
    "datasets": {"digits": {"train": {"source": "bundled:digits", "n": 400}, "test": 20, "side": 16}},
    "k": [2, 3, 4],
    "seeds": [0, 1],
    "training": {"epochs": 30, "batch_size": 16, "base_channels": 4},
    "solver": {"starts": 12, "max_steps": 30, "certificates": 2},
    "measure": {"nulls": 8, "gallery": 2},
    "device": "cpu",
}


@pytest.mark.slow
def test_an_ood_experiment_is_submitted_and_its_ranks_share_the_scores(cluster, profile, tmp_path):
    """Two nodes; a rank is killed while the sets are scored. The tables and the report are those of one process."""
    config, out = tmp_path / "ood.yaml", tmp_path / "out"
    settings = {**OOD_SETTINGS, "solver": {**OOD_SETTINGS["solver"], "accelerate": False}}
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    local = {**CLEAN, "OMP_NUM_THREADS": "1"}
    one = completed("probe.cli.main", "ood", config, "--out", tmp_path / "one", only=local)
    assert one.returncode == 0, one.stderr
    submit = ["submit", config, "--cluster", profile(stages={"images": {"nodes": 1}}), "--out", out, "--json"]
    jobs = json.loads(cluster.probe(*submit))
    assert list(jobs) == ["images", "attractors", "scores", "report"]
    until(lambda: cluster.state(jobs["scores"]) == "RUNNING" and cluster.workers_on("node2"), MINUTES)
    with cluster.held():
        cluster.kill_on("node2")
        until(lambda: cluster.restarts(jobs["scores"]) == 1)
    until(lambda: cluster.state(jobs["report"]) == "COMPLETED", MINUTES)
    assert_same_experiment(tmp_path / "one", out)
    sessions = json.loads((out / "manifest.json").read_text())["sessions"]
    assert {"node1", "node2"} in [{rank["host"] for rank in session["ranks"]} for session in sessions]
    status = json.loads(cluster.probe("status", out, "--json"))
    assert (status["state"], {stage["slurm"] for stage in status["stages"]}) == ("complete", {"COMPLETED"})


def test_a_partition_that_is_not_there(own, cluster, profile, tmp_path):
    command = ["submit", own, "--cluster", profile(partition="gpuu"), "--out", tmp_path / "out"]
    done = cluster.tries(*command)
    assert done.returncode == 2
    assert "invalid partition specified: gpuu" in done.stderr
