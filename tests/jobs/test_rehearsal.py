"""The guide to the paper's Figure 4, rehearsed: its commands, in order, on a small model and a real Slurm cluster."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from PIL import Image

from jobs.run.attractors import load_end_points
from jobs.run.directory import RunDirectory

from ..hub.presets import LAION, LAYOUTS, pictures_on_the_web, write, write_laion
from ..hub.repositories import sd_shaped
from ..hub.server import Hub
from .conftest import shard_files, until

pytestmark = [pytest.mark.busy(500), pytest.mark.slow]
MINUTES = 1500.0
CONFIG = "paper_sd15"
NAMES = ("laion", "imagenet", "eurosat", "cifar100", "patchcamelyon", "places365")
SIZE = {
    "resolution": 64,
    "seeds.count": 64,
    "seeds.shard_size": 8,
    "solver.max_steps": 40,
    "solver.certificates": 8,
    "solver.exponents": 4,
    "basins.probes": 4,
    "basins.attractors": 1,
    "sparse.levels": [4, 16, 64],
    "sparse.batch_size": 4,
    **{f"datasets.{name}.n": 10 for name in NAMES},
    **{f"datasets.{name}.holdout": 8 for name in NAMES},
}
"""What alone differs from the real thing."""
SITE = {"partition": "debug", "cpus_per_task": 2, "memory": "1500M", "array": 3}
"""What a user changes in the copy of slurm/array.yaml on this cluster."""


def commands(page: Path, section: str) -> list[str]:
    """The lines of shell below a heading of a page, without comments."""
    text = page.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
    return [stripped for line in lines if (stripped := line.partition("  #")[0].strip())]


class Shell:
    """A login shell: each line finds the variables that the lines before have set."""

    def __init__(self, folder: Path, env: dict[str, str]):
        self.folder, self.env = folder, env

    def start(self, line: str, out: Path) -> "subprocess.Popen[bytes]":
        """Begin a line; what it prints goes to a file, and its variables to ``env`` of that name."""
        print("$", line, flush=True)
        script = f"{line}\nstatus=$?; env -0 > {out}.env; exit $status"
        with out.open("w") as file:
            return subprocess.Popen(["bash", "-c", script], cwd=self.folder, env=self.env, stdout=file, stderr=file)

    def __call__(self, line: str) -> str:
        """What a line prints, which must succeed."""
        out = self.folder.parent / "said"
        status = self.start(line, out).wait(MINUTES)
        said = out.read_text()
        print(said, flush=True)
        assert status == 0, (line, said)
        pairs = Path(f"{out}.env").read_text().split("\0")
        self.env = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        return said


@dataclass
class Login:
    """A login node: a checkout, a shell, and the hub, which compute nodes do not see."""

    checkout: Path
    shell: Shell
    hub: Hub


@pytest.fixture
def login(root, cluster, tmp_path) -> Iterator[Login]:
    checkout = tmp_path / "checkout"
    for name in ("configs", "slurm"):
        shutil.copytree(root / name, checkout / name)
    with Hub() as hub, pictures_on_the_web(tmp_path / "web", 40) as addresses:
        hub.add("stabilityai/sd-vae-ft-mse", sd_shaped(tmp_path / "vae"))
        presets = (root / "probe" / "data" / "presets.yaml").read_text()
        for name in (name for name in LAYOUTS if f"hub:{name}\n" in presets):
            hub.add(name, write(name, tmp_path / name), kind="dataset", gated=LAYOUTS[name].gated)
        hub.add(LAION, write_laion(tmp_path / "laion", addresses), kind="dataset", gated=True)
        env = cluster.env | hub.environment(tmp_path / "unused", hub.token)
        env |= {"SCRATCH": str(tmp_path), "PYTHONPATH": str(root), "PROBE_ALLOW_PRIVATE_HOSTS": "127.0.0.1"}
        env |= {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "OMP_NUM_THREADS": "1"}
        del env["HF_HOME"], env["HF_DATASETS_CACHE"]
        yield Login(checkout, Shell(checkout, env), hub)


def test_the_papers_figure_4_step_by_step(root, cluster, login, tmp_path):
    """The lines of the guide with SIZE; one task is killed on the way, as by a kernel without memory."""
    shell, out = login.shell, login.checkout / "runs" / "sd15"
    size = " ".join(f"--set '{key}={json.dumps(value)}'" for key, value in SIZE.items())
    done = []
    for line in commands(root / "docs" / "guides" / "cluster.md", "The paper's Figure 4, step by step"):
        kind = next(word for word in STEPS if word in line)
        done.append(kind)
        line = re.sub(rf"\b{CONFIG}\b", lambda found: f"{found[0]} {size}", line)
        if kind == "hf auth login":
            continue  # HF_TOKEN does it without a question
        if kind == "probe selfcheck":
            line = line.replace("--only correctness", "--small --only merge").replace("--cpus-per-task=8", "")
        if kind == "probe status":
            watch = shell.start(line, tmp_path / "watch")
            over = watch.poll
            until(lambda over=over: (shard_files(out) and cluster.workers_on("node2")) or over() is not None, MINUTES)
            assert watch.poll() is None, (tmp_path / "watch").read_text()[-3000:] + logs(out)
            cluster.kill_on("node2")
            assert watch.wait(MINUTES) == 0, (tmp_path / "watch").read_text()[-3000:] + logs(out)
            continue
        said = shell(line)
        if kind == "cp slurm/":
            mine = login.checkout / "cluster.yaml"
            mine.write_text(yaml.safe_dump(yaml.safe_load(mine.read_text()) | SITE))
        if kind == "probe plan":
            assert "GPU hours" in said
        if kind == "probe images":
            asked = len(login.hub.requests)
            assert RunDirectory.open(out).config.seeds.count == SIZE["seeds.count"]  # its lines are the guide's
    assert done == STEPS
    assert len(login.hub.requests) == asked  # compute nodes were offline
    run = RunDirectory.open(out)
    assert load_end_points(run).end.shape == (64, 4, 8, 8)
    status = json.loads(shell("probe status runs/sd15 --json"))
    assert (status["state"], status["last_error"]) == ("complete", None)
    hosts = {rank["host"] for session in run.manifest["sessions"] for rank in session["ranks"]}
    assert {"node1", "node2"} < hosts
    assert "requeued: a rank was killed" in logs(out)
    assert "No check failed" in (login.checkout / "runs" / "selfcheck" / "selfcheck.md").read_text()
    assert (out / "export" / "table.tex").read_text().count("imagenet") == 1
    with Image.open(login.checkout / "figure4.png") as picture:
        assert picture.width > 1000
    report = json.loads((out / "report" / "report.json").read_text())
    assert list(report["datasets"]) == [*NAMES]
    if keep := os.environ.get("PROBE_KEEP_REHEARSAL"):
        shutil.copytree(login.checkout, keep)


def logs(out: Path) -> str:
    """What the jobs of a run said."""
    return "".join(file.read_text() for file in (out / "logs").glob("slurm-*"))


STEPS = [
    "export HF_HOME",
    "cp slurm/",
    "probe plan",
    "hf auth login",
    "probe images",
    "probe selfcheck",
    "probe submit",
    "probe status",
    "probe figure",
    "probe export",
]
"""What the guide's lines are, in order."""
