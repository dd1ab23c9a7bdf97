"""Whole runs on a model of a hub: its commit is kept, its token is not, and ranks fetch it once."""

import json
import math
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from probe import load_autoencoder

from .commands import Said, environment, said
from .conftest import Folders
from .server import Hub

SETTINGS = ["datasets={}", "seeds.count=4", "seeds.shard_size=1", "solver.max_steps=2", "resolution=32"]
SETTINGS += ["basins.probes=0", "dictionary.outcomes=[converged, max_steps]"]


def run(model: str, out: Path, *settings: str, command: str = "run") -> list[str]:
    words = [word for one in (*SETTINGS, *settings) for word in ("--set", one)]
    return [command, "--model", model, "--out", str(out), *words]


def content(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def runs(hub: Hub, sd: Folders, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Said]]:
    """Runs with a token in the environment or a file, and what they said; the folder holds the cache, too."""
    tmp = tmp_path_factory.mktemp("runs")
    hub.add("runs/private", sd(subfolder="vae"), private=True)
    hub.add("runs/moving", sd(seed=21))
    hub.add("runs/gated", sd(), gated=True)
    sha = hub.add("runs/forbidden", sd(seed=22))["main"].files["diffusion_pytorch_model.safetensors"].sha256
    hub.fault(sha, at="cdn", status=403, times=math.inf)
    hub.fault("runs/down/", status=500, headers={"Retry-After": "0"}, times=math.inf)
    (tmp / "cache").mkdir()
    (tmp / "cache" / "token").write_text(hub.token)
    done = said(
        hub,
        tmp / "cache",
        {
            "private": (run("runs/private", tmp / "private"), None),  # the file has the token
            "moving": (run("runs/moving", tmp / "moving", "model.revision=main"), None),
            "gated": (run("runs/gated", tmp / "gated"), hub.stranger),
            "forbidden": (run("runs/forbidden", tmp / "forbidden"), None),
            "down": (run("runs/down", tmp / "down"), None),
        },
    )
    return tmp, done


def test_a_run_has_the_commit_and_the_weights_of_the_hub(runs, hub, sd):
    tmp, done = runs
    assert done["private"].status == 0, done["private"].err
    commit = hub.repository("runs/private")["main"].sha
    noted = json.loads((tmp / "private" / "manifest.json").read_text())["model"]
    assert noted["revision"] == commit
    assert noted["weights_sha256"] == load_autoencoder(str(sd(subfolder="vae") / "vae")).weights_sha256()
    reported = json.loads((tmp / "private" / "report" / "report.json").read_text())["model"]
    assert reported["revision"] == commit
    for page in ("report.html", "report.md"):
        assert commit in (tmp / "private" / "report" / page).read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gated", "is gated, and your token has no access"),
        ("forbidden", r"refuses it \(403 Forbidden\)"),
        ("down", r"is out of order \(500\)"),
    ],
)
def test_an_error_is_kept_in_the_run(runs, name, message):
    tmp, done = runs
    assert done[name].status == 2
    assert re.search(message, done[name].sentence)
    kept = json.loads((tmp / name / "error.json").read_text())
    assert (kept["status"], kept["message"]) == (2, done[name].sentence)


def test_no_token_and_no_signature_is_written(runs, hub):
    tmp, done = runs
    secrets = [text.encode() for text in (hub.token, hub.stranger, hub.secret)]
    found = content(tmp)
    found.pop(str(tmp / "cache" / "token"))
    assert len(found) > 30
    assert not [name for name, held in found.items() for secret in secrets if secret in held]
    assert not [one for one in done.values() for secret in secrets if secret in (one.out + one.err).encode()]
    assert {request.user for request in hub.requests if request.at == "cdn"} == {None}


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_commit(runs, hub, sd):
    """A branch that has moved since would give other weights; offline, the cache has the commit."""
    tmp, done = runs
    assert done["moving"].status == 0, done["moving"].err
    repository = hub.repository("runs/moving")
    before = repository["main"].sha
    repository.commit(sd(seed=23))
    for online in (True, False):
        sorted((tmp / "moving" / "attractors").glob("*.safetensors"))[-1].unlink()
        commands = {"moving": (run("runs/moving", tmp / "moving", "model.revision=main"), None)}
        if not online:
            commands["new"] = run("runs/new", tmp / "new"), None
        again = said(hub, tmp / "cache", commands, HF_HUB_OFFLINE="0" if online else "1")
        assert again["moving"].status == 0, again["moving"].err
        manifest = json.loads((tmp / "moving" / "manifest.json").read_text())
        assert manifest["model"]["revision"] == before
    assert "HF_HUB_OFFLINE is set: run once without it" in again["new"].sentence


@pytest.mark.slow
def test_two_ranks_fetch_a_model_once(hub, sd, tmp_path):
    """Both begin without a cache, and the CDN is slow."""
    repository = hub.add("runs/two", sd(seed=24))
    sha = repository["main"].files["diffusion_pytorch_model.safetensors"].sha256
    hub.fault(sha, at="cdn", pace=100_000, times=math.inf)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    config = tmp_path / "two.yaml"
    config.write_text("model: {source: runs/two}\n")
    words = [word for one in SETTINGS for word in ("--set", one)]
    ranks = []
    for rank in ("0", "1"):
        env = environment(hub, tmp_path / "cache", RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2")
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "jobs.worker", str(config), "--out", str(tmp_path / "run"), *words]
        ranks.append(subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True))
    told = [rank.communicate(timeout=400)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], told
    fetched = [request for request in hub.requests if sha in request.path]
    assert [request.status for request in fetched] == [200]
    assert len(json.loads((tmp_path / "run" / "manifest.json").read_text())["ranks"]) == 2


@pytest.mark.slow
def test_a_hub_that_does_not_answer_is_given_up(hub, sd, tmp_path):
    """A closed port, and a hub that takes requests and is silent. What is in the cache is used."""
    hub.add("runs/cached", sd())
    hub.add("runs/silent", sd())

    def doctor(*models: str) -> dict[str, tuple[list[str], None]]:
        return {model: (["doctor", "--model", f"runs/{model}"], None) for model in models}

    assert said(hub, tmp_path / "cache", doctor("cached"))["cached"].status == 0
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        found = said(hub, tmp_path / "cache", doctor("cached", "new", "other"), HF_ENDPOINT=address)
    assert found["cached"].status == 0
    unreachable = "is not in the local cache, and the hub cannot be reached"
    for name in ("new", "other"):
        assert re.search(rf"{unreachable} \({address}: .*Connection refused\)", found[name].sentence)
    begun = len(hub.requests)
    hub.fault("runs/silent/", wait=600.0, times=math.inf)
    found = said(hub, tmp_path / "cache", doctor("silent"))
    assert re.search(rf"{unreachable} \({hub.url} has not answered for \d+ s\)", found["silent"].sentence)
    assert len(hub.requests) == begun, "nothing was answered"
