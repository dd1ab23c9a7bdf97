"""The paper's configurations, unchanged but for the size, from a hub on loopback to their reports."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import presets
from .commands import ROOT, environment, said
from .repositories import sd_shaped, sdxl_shaped, taesd_shaped
from .server import Hub

pytestmark = pytest.mark.slow
SIZE = ("resolution=64", "seeds.count=4", "solver.max_steps=20")
SETS = {"n": 5, "holdout": 6}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with the six sets, and models of the right shapes under the names that configurations use."""
    folder = tmp_path_factory.mktemp("hub")
    with presets.published(folder) as hub:
        hub.add("stabilityai/sd-vae-ft-mse", sd_shaped(folder / "sd"))
        hub.add("stabilityai/sdxl-vae", sdxl_shaped(folder / "sdxl"))
        hub.add("madebyollin/taesd", taesd_shaped(folder / "taesd"))
        yield hub


def words(config: str, out: Path) -> list[object]:
    """CONFIG, --out and the size."""
    path = ROOT / "configs" / config
    sizes = [
        *SIZE,
        *(f"datasets.{s}.{k}={v}" for s in yaml.safe_load(path.read_text())["datasets"] for k, v in SETS.items()),
    ]
    return [path, "--out", out, *(word for one in sizes for word in ("--set", one))]


def holds(folder: Path, *secrets: str) -> list[Path]:
    """The files that hold one of these."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file for file in files if any(secret.encode() in file.read_bytes() for secret in secrets)]


def check(hub: Hub, out: Path, config: str) -> None:
    """The report names the commits, columns and classes of what was read."""
    sets: dict[str, Any] = yaml.safe_load((ROOT / "configs" / config).read_text())
    report = json.loads((out / "report" / "report.json").read_text())
    assert report["model"]["revision"] == hub.repository(sets["model"]["source"])["main"].sha
    assert list(report["datasets"]) == list(sets["datasets"])
    for name, found in report["datasets"].items():
        source = found["source"]
        repository = hub.repository(source["source"].partition(":")[2], "dataset")
        assert source["revision"] == repository["main"].sha, name
        assert source["column"] == {"laion": "url", "cifar100": "img"}.get(name, "image")
        assert "shuffled in a buffer" in source["sample"]
        assert (found["n_used"], found["n_heldout"], found["unreadable"]) == (5, 6, [])
    assert not holds(out, hub.token, hub.secret)


@pytest.mark.parametrize("config", ["paper_sdxl.yaml", "taesd.yaml"])
def test_a_run_from_the_hub(hub, tmp_path, config):
    run = {"run": (["run", *words(config, tmp_path / "run")], hub.token)}
    told = said(hub, tmp_path / "cache", run, PROBE_ALLOW_PRIVATE_HOSTS="127.0.0.1")["run"]
    assert told.status == 0, told.err
    check(hub, tmp_path / "run", config)


def test_images_with_the_hub_then_the_run_without_it(hub, tmp_path):
    cache, arguments = tmp_path / "cache", words("paper_sd15.yaml", tmp_path / "run")
    draw = {"images": (["images", *arguments], hub.token)}
    told = said(hub, cache, draw, PROBE_ALLOW_PRIVATE_HOSTS="127.0.0.1")["images"]
    assert told.status == 0, told.err
    asked = len(hub.requests)
    gone = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    told = said(hub, cache, {"run": (["run", *arguments], None)}, **gone)["run"]
    assert told.status == 0, told.err
    assert len(hub.requests) == asked
    check(hub, tmp_path / "run", "paper_sd15.yaml")


def test_two_ranks_fetch_at_once(hub, tmp_path):
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
    launcher += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
    command = [*launcher, "-m", "jobs.worker", *words("taesd.yaml", tmp_path / "run"), "--world-size=2"]
    env = environment(hub, tmp_path / "cache", HF_TOKEN=hub.token, OMP_NUM_THREADS="1")
    before = len(hub.requests)
    done = subprocess.run(list(map(str, command)), env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    check(hub, tmp_path / "run", "taesd.yaml")
    assert hub.token not in done.stdout + done.stderr
    opened = [one.path for one in hub.requests[before:] if one.path.endswith("/api/datasets/uoft-cs/cifar100")]
    assert len(opened) <= 2  # of probe and of datasets: one rank draws
