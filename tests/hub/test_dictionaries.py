"""Dictionaries on a hub: pushed by a command, read by a script, and borrowed by a run of another model."""

import json
import math
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from probe import AttractorDictionary
from probe.cli.main import app
from probe.results.files import read_table

from .commands import Said, environment, said
from .server import Hub

SETTINGS = (
    "seeds.count=5", "seeds.shard_size=2", "solver.max_steps=3", "solver.certificates=0", "solver.exponents=0",
    "solver.plain_checks=0", "basins.probes=0", "sparse.levels=[3]", "sparse.controls=[random_orthogonal]",
    "sparse.random_bases=1", "datasets.digits.n=12", "datasets.digits.holdout=4",
)  # fmt: skip
READ = """
import json, sys
from pathlib import Path
from probe import AttractorDictionary, load_autoencoder
from probe.config import load_config
from probe.data.load import load_images
from probe.sparse import omp
from probe.studies.inputs import encode

name, revision, config = sys.argv[2:]
config = Path(config)
dictionary = AttractorDictionary.from_pretrained(name, revision=revision)
found = load_config(config)
images = load_images("digits", found.datasets["digits"], resolution=found.resolution).images
latents = encode(load_autoencoder(found.model.source), images, together=64)
codes = omp(dictionary.atoms, latents.flatten(1), levels=[3])
errors = (codes.squared_error[:, 0] / dictionary.atoms.shape[1]).tolist()
dictionary.save_pretrained(config.parent.parent / "copy")
print(json.dumps({"errors": errors, "atoms": len(dictionary), "commit": dictionary.artefact.commit}))
"""
"""A user's script: its errors must be those of the run."""
FULL = """
import shutil, sys
from probe.cli.main import main

free = shutil.disk_usage
shutil.disk_usage = lambda path: shutil._ntuple_diskusage(1000, 997, 3)
try:
    sys.exit(main(sys.argv[2:]))
finally:
    shutil.disk_usage = free
"""
"""A command on a disk with three bytes left."""


def run(out: Path, model: str, *settings: str) -> list[str]:
    words = [word for one in (*SETTINGS, *settings) for word in ("--set", one)]
    return ["run", "--model", model, "--out", str(out), *words]


@pytest.fixture(scope="module")
def done(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Said]]:
    """What the commands said; the folder holds the runs and the cache."""
    tmp = tmp_path_factory.mktemp("dictionaries")
    hub.create("art/foreign").write({}, "main", "Somebody's")
    hub.fault("api/models/art/down", status=503, headers={"Retry-After": "0"}, times=math.inf)
    own, borrowing, other = tmp / "own", tmp / "borrowing", "embedded:cifar-plain"
    missing = ("art/absent", "art/foreign", "art/first --set dictionary.revision=v9")
    commands: dict[str, tuple[list[str], str | None]] = {
        "own": (run(own, "embedded:cifar-attractors"), None),
        "pushed": (["push", str(own), "--repo", "art/first", "--license", "mit"], hub.token),
        "full": (["-c", FULL, *run(tmp / "full", other, "dictionary.source=art/first")], None),
        "read": (["-c", READ, "art/first", "main", str(own / "config.yaml")], None),
        "branch": (["push", str(own), "--repo", "art/second", "--private", "--branch", "draft", "--json"], hub.token),
        "nobody": (["push", str(own), "--repo", "art/third"], None),
        "wrong": (["push", str(own), "--repo", "art/third"], "hf_NobodyKnowsThisOne"),
        "foreign": (["push", str(own), "--repo", "art/foreign"], hub.stranger),
        "id": (["push", str(own), "--repo", "a/b/c"], hub.token),
        "down": (["push", str(own), "--repo", "art/down"], hub.token),
        "borrowing": (run(borrowing, other, "dictionary.source=art/first"), None),
        "again": (["push", str(borrowing), "--repo", "art/fourth"], hub.token),
    }
    for number, name in enumerate(missing):
        commands[f"missing {number}"] = run(tmp / "missing", other, *f"dictionary.source={name}".split(" --set ")), None
    return tmp, said(hub, tmp / "cache", commands)


def test_one_commit_with_all_files(done, hub):
    _, told = done
    assert told["own"].status == 0, told["own"].err
    assert told["pushed"].status == 0, told["pushed"].err
    files = hub.repository("art/first")["main"].files
    assert {"README.md", "config.json", "model.safetensors", "thumbnails.png"} <= set(files)
    commit = hub.repository("art/first")["main"].sha
    assert told["pushed"].out.strip() == f"{hub.url}/art/first/commit/{commit}"
    _, own = commits(hub, "art/first")  # that of a new repository, and one
    assert re.fullmatch(r"Dictionary of \d atoms of cifar-attractors, by latent-probe .*", own)


def commits(hub: Hub, name: str) -> list[str]:
    """Titles, oldest first."""
    return [one.title for one in hub.repository(name).history]


def test_a_branch_of_a_private_repository(done, hub):
    repository = hub.repository("art/second")
    assert repository.private
    assert "config.json" in repository["draft"].files
    assert "config.json" not in repository["main"].files
    commit = json.loads(done[1]["branch"].out)["commit"]
    assert commit.endswith(repository["draft"].sha)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody", r"art/third cannot be pushed without a token: log in with `hf auth login`, or set HF_TOKEN\."),
        ("wrong", r"art/third cannot be pushed to: the hub refuses your token; log in again"),
        ("foreign", r"art/foreign cannot be pushed to: your token may not write there; make one that may at HUB/set"),
        ("id", r"a/b/c is not the id of a repository; write OWNER/NAME\."),
        ("down", r"art/down cannot be pushed to: HUB is out of order \(503\); try again later\."),
        ("again", r"coded its images in the dictionary of another run, so nothing says how well its own"),
        ("missing 0", r"dictionary art/absent is neither a local folder nor an open repository of the hub; check"),
        ("missing 1", r"dictionary art/foreign has no config\.json: it is not a repository that `probe push` wrote\."),
        ("missing 2", r"dictionary art/first has no revision 'v9' on the hub; give a branch, a tag or a commit"),
    ],
)
def test_a_refusal_is_one_sentence(done, hub, name, message):
    assert done[1][name].status == 2, done[1][name].err
    assert re.search(message.replace("HUB", re.escape(hub.url)), done[1][name].sentence)


def test_nothing_was_made_where_it_was_refused(done, hub):
    assert not [name for name in ("art/third", "art/fourth") if hub.repository(name)]
    assert len(commits(hub, "art/foreign")) == 1
    assert not [*(done[0] / "missing").glob("**/*.safetensors")]


def test_it_codes_images_as_the_run_did(done, hub):
    tmp, told = done
    assert told["read"].status == 0, told["read"].err
    found = json.loads(told["read"].out)
    rows, _ = read_table(tmp / "own" / "reconstructions" / "digits.parquet")
    expected = rows[(rows.method == "attractors") & (rows.atoms == 3)].sort_values("image").latent_mse.tolist()
    assert found["errors"] == pytest.approx(expected, rel=1e-5)
    repository = hub.repository("art/first")
    assert found["commit"] == repository.history[1].sha
    for name, file in repository.history[1].files.items():
        assert name == ".gitattributes" or (tmp / "copy" / name).read_bytes() == file.at.read_bytes()


def test_the_report_names_both_models_and_the_commit(done, hub):
    tmp, told = done
    assert told["borrowing"].status == 0, told["borrowing"].err
    own, report = (json.loads((tmp / name / "report/report.json").read_text()) for name in ("own", "borrowing"))
    commits = [one.sha for one in hub.repository("art/first").history]
    its = report["borrowed"]
    assert its["revision"] in commits
    assert (its["source"], its["atoms"]) == ("art/first", own["dictionary"]["atoms"])
    assert its["weights_sha256"] == own["model"]["weights_sha256"] != report["model"]["weights_sha256"]
    assert f"from art/first@{its['revision'][:12]}" in report["warnings"][0]
    assert "These are end points of other weights" in report["warnings"][0]
    assert "borrowed atoms" in report["datasets"]["digits"]["verdict"]
    page = (tmp / "borrowing/report/report.html").read_text()
    assert its["revision"] in page
    assert its["weights_sha256"] in page


def test_what_does_not_fit_on_the_disk_is_not_begun(done, hub):
    told = done[1]["full"]
    assert told.status == 2, told.err
    assert told.sentence.startswith("dictionary art/first does not fit on the disk (a file has ")
    assert "set HF_HOME to a folder on a larger disk" in told.sentence
    assert not [*(done[0] / "full").glob("**/*.safetensors")]


def test_what_was_pushed_is_what_a_dry_run_writes(done, hub, tmp_path):
    app(["push", str(done[0] / "own"), "--dry-run", str(tmp_path / "dry")], standalone_mode=False)
    again = AttractorDictionary.from_pretrained(tmp_path / "dry")
    pushed = hub.repository("art/first")["main"].files
    assert pushed["model.safetensors"].at.read_bytes() == (tmp_path / "dry/model.safetensors").read_bytes()
    assert len(again) == json.loads(pushed["config.json"].at.read_bytes())["counts"]["atoms"]


@pytest.mark.slow
def test_ranks_read_it_once_and_resume_with_its_commit(done, hub, tmp_path):
    """Both begin without a cache; then main moves, and a shard is lost."""
    repository = hub.repository("art/first")
    before = repository["main"].sha
    out, words = tmp_path / "run", [word for one in SETTINGS for word in ("--set", one)]
    config = tmp_path / "two.yaml"
    config.write_text('model: {source: "embedded:cifar-plain"}\ndictionary: {source: art/first}\n')

    def ranks() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        begun = []
        for rank in ("0", "1"):
            env = environment(hub, tmp_path / "cache", RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2")
            env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-m", "jobs.worker", str(config), "--out", str(out), *words]
            begun.append(subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True))
        told = [rank.communicate(timeout=400)[1] for rank in begun]
        assert [rank.returncode for rank in begun] == [0, 0], told

    asked = len(hub.requests)
    ranks()
    fetched = [one for one in hub.requests[asked:] if one.method == "GET" and "config.json" in one.path]
    assert len(fetched) == 1
    rows = read_table(out / "reconstructions/digits.parquet")[0]
    alone = read_table(done[0] / "borrowing/reconstructions/digits.parquet")[0]
    both = [
        one[one.method == "attractors"].sort_values(["atoms", "image"]).latent_mse.tolist() for one in (rows, alone)
    ]
    assert both[0] == pytest.approx(both[1], rel=1e-5)
    copy = tmp_path / "moved"
    copy.mkdir()
    (copy / "config.json").write_text("{}")
    repository.commit(copy)
    (out / "reconstructions/digits.parquet").unlink()
    ranks()
    report = json.loads((out / "report/report.json").read_text())
    assert report["borrowed"]["revision"] == before != repository["main"].sha
