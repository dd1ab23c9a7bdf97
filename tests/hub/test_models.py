"""``probe`` and models on a hub, with the real clients: each loads, or is refused in one sentence with what to do."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from .commands import Said, said
from .conftest import Folders
from .content import Repository
from .repositories import sdxl_shaped, taesd_shaped, vit_mae_shaped, with_code
from .server import Hub

ALWAYS = math.inf
AT_ONCE = {"Retry-After": "0"}
WEIGHTS = "diffusion_pytorch_model.safetensors"
CDN: dict[str, dict[str, Any]] = {
    "cut": {"cut": 12_000_000},
    "cut-always": {"cut": 0, "times": ALWAYS},
    "forbidden": {"status": 403, "times": ALWAYS},
    "out-of-order": {"status": 503, "times": ALWAYS},
    "slow": {"pace": 400_000, "times": ALWAYS},
}
"""What goes wrong at the CDN, each with other weights."""
LOADED = (
    *("plain", "pipeline", "variant", "sharded", "sharded-variant", "sdxl", "taesd", "file", "file-of-a-commit"),
    *("gated-for-members", "private-for-owners", "tag", "branch", "old-name", "limited-for-a-while"),
    *("down-for-a-while", "cut", "slow"),
)
OTHERS = ("vit-mae", "own-code-trusted", "converted")
"""Loaded or made, too, with latents of other shapes."""
REFUSED = {
    "other-name": r"has its weights as vae-ft\.safetensors; give case/other-name/vae-ft\.safetensors\.",
    "only-half": r"has its weights as fp16 only; set model\.variant=fp16\.",
    "no-such-variant": r"has no variant 'bf16'; leave model\.variant out\.",
    "pickled": r"has weights in pickle form only \(diffusion_pytorch_model\.bin\).*`probe convert` makes safetensors",
    "damaged": r"the weights \(diffusion_pytorch_model\.safetensors\) are damaged or incomplete; .*download them again",
    "own-code": r"would run its own code, halving\.py; read that file, and set model\.trust_remote_code=true",
    "empty": r"has no config\.json there; if it is a pipeline, set model\.subfolder \(usually vae\)\.",
    "absent": "is neither a local folder nor an open repository of the hub; check the name, or log in if it is private",
    "absent-with-a-token": "nor a repository of the hub that your token may read; check the name",
    "no/id": r"is neither a local folder nor a hub id \(owner/name\)",
    "gated": r"is gated: accept its terms at HUB/case/gated, then log in with `hf auth login` or set HF_TOKEN\.",
    "gated-for-strangers": "is gated, and your token has no access: accept its terms at .* with the token's account",
    "private": "nor an open repository of the hub",
    "wrong-token": "the hub refuses your token; log in again with `hf auth login`, or correct HF_TOKEN",
    "no-revision": "has no revision 'v9' on the hub; give a branch, a tag or a commit that it has",
    "limited": r"HUB limits your requests \(429\); try again in 0 s, or log in for a higher limit",
    "down": r"HUB is out of order \(503\); try again later, or give a local folder",
    "no-hub": "is not in the local cache, and HUB does not answer as a hub does; check HF_ENDPOINT and your proxy",
    "cut-always": "the connection was cut again and again; check the network, or try again later",
    "forbidden": r"CDN refuses it \(403 Forbidden\); try again, or log in",
    "out-of-order": r"CDN is out of order \(503\); try again later, or give a local folder",
}


def doctor(model: str, *settings: str) -> list[str]:
    return ["doctor", "--json", "--model", model, *(word for one in settings for word in ("--set", one))]


def weights(repository: Repository) -> str:
    """The name of its weights at the CDN."""
    return next(file.sha256 for path, file in repository["main"].files.items() if path.endswith(WEIGHTS))


@pytest.fixture(scope="module")
def told(hub: Hub, sd: Folders, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """What ``probe doctor`` says in each case; repositories have the names of the cases."""
    tmp = tmp_path_factory.mktemp("models")
    cases: dict[str, tuple[list[str], str | None]] = {}

    def case(name: str, folder: Path, *settings: str, token: str | None = None, **about: bool) -> Repository:
        cases[name] = doctor(f"case/{name}", *settings), token
        return hub.add(f"case/{name}", folder, **about)

    plain, both = sd(), sd(subfolder="vae", fp16=True)
    case("plain", plain)
    case("pipeline", both)
    case("variant", both, "model.variant=fp16")
    case("sharded", sd(sharded=True, fp16=True))
    cases["sharded-variant"] = doctor("case/sharded", "model.variant=fp16"), None
    case("sdxl", sdxl_shaped(tmp / "sdxl"), "model.latents=scaled")
    case("taesd", taesd_shaped(tmp / "taesd"))
    renamed = Path(shutil.copytree(plain, tmp / "renamed"))
    (renamed / WEIGHTS).rename(renamed / "vae-ft.safetensors")
    case("other-name", renamed).tag("v1")
    cases["file"] = doctor("case/other-name/vae-ft.safetensors"), None
    cases["file-of-a-commit"] = doctor("case/other-name/blob/v1/vae-ft.safetensors"), None
    case("only-half", sd(fp16=True, full=False))
    case("no-such-variant", plain, "model.variant=bf16")
    pickled = Path(shutil.copytree(plain, tmp / "pickled"))
    (pickled / WEIGHTS).unlink()
    torch.save({"one.weight": torch.ones(2)}, pickled / "diffusion_pytorch_model.bin")
    case("pickled", pickled)
    cases["converted"] = ["convert", "case/pickled", str(tmp / "converted")], None
    case("vit-mae", vit_mae_shaped(tmp / "vit-mae"))
    case("own-code", with_code(tmp / "own-code"))
    cases["own-code-trusted"] = doctor("case/own-code", "model.trust_remote_code=true"), None
    damaged = Path(shutil.copytree(plain, tmp / "damaged"))
    (damaged / WEIGHTS).write_bytes((plain / WEIGHTS).read_bytes()[:1000])
    case("damaged", damaged)
    (tmp / "empty").mkdir()
    (tmp / "empty" / "README.md").write_text("Nothing yet.\n")
    case("empty", tmp / "empty")

    cases["absent"] = doctor("case/absent"), None
    cases["absent-with-a-token"] = doctor("case/absent"), hub.token
    cases["no/id"] = doctor("case/no/id"), None
    case("gated", plain, gated=True)
    case("gated-for-strangers", plain, token=hub.stranger, gated=True)
    case("gated-for-members", plain, token=hub.token, gated=True)
    case("private", plain, private=True)
    case("private-for-owners", plain, token=hub.token, private=True)
    case("wrong-token", plain, token="hf_NobodyKnowsThisOne")
    case("no-revision", plain, "model.revision=v9")
    case("tag", plain, "model.revision=v1").tag("v1")
    case("branch", plain, "model.revision=a/branch").branch("a/branch")
    case("old-name", plain)
    hub.rename("case/old-name", "case/new-name")

    for name in ("limited", "limited-for-a-while", "down", "down-for-a-while", "no-hub"):
        case(name, plain)
    hub.fault("case/limited-for.*config", status=429, headers={"Retry-After": "1"}, times=2)
    hub.fault("case/limited/", status=429, headers=AT_ONCE, times=ALWAYS)
    hub.fault("case/down-for.*safetensors", status=503, headers=AT_ONCE, times=2)
    hub.fault("case/down/", status=503, headers=AT_ONCE, times=ALWAYS)
    hub.fault("case/no-hub/", status=200, times=ALWAYS)
    for number, (name, fault) in enumerate(CDN.items(), start=1):
        folder = sd(block_out_channels=(32, 64, 128, 256)) if name == "cut" else sd(seed=number)
        hub.fault(weights(case(name, folder)), at="cdn", **fault)
    return said(hub, tmp / "cache", cases)


@pytest.mark.parametrize("name", LOADED)
def test_it_loads(told, name):
    assert told[name].status == 0, told[name].err
    assert told[name].err == ""
    shape = [4, 4, 4]  # an eighth of 32
    assert json.loads(told[name].out)["latent_shape"] == shape


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_sentence(told, hub, name):
    assert told[name].status == 2
    pattern = REFUSED[name].replace("HUB", re.escape(hub.url)).replace("CDN", re.escape(hub.cdn))
    sentence = told[name].sentence
    assert re.search(pattern, sentence)
    assert sentence.startswith("model case/")
    assert sentence.endswith(".")
    assert len(sentence) < 300
    assert told[name].out == ""


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_load(told, name):
    assert told[name].status == 0, told[name].err


def test_every_case_is_looked_at(told):
    assert set(told) == {*LOADED, *OTHERS, *REFUSED}


def test_the_commit_is_that_of_the_revision(told, hub):
    for name, revision in {"plain": "main", "tag": "v1", "branch": "a/branch", "cut": "main"}.items():
        repository = hub.repository(f"case/{name}")
        assert json.loads(told[name].out)["revision"] == repository[revision].sha


def test_a_download_that_was_cut_goes_on_where_it_was(told, hub):
    """The client keeps pieces of 10 MiB."""
    file = weights(hub.repository("case/cut"))
    first, second = [request for request in hub.requests if file in request.path and request.at == "cdn"]
    assert (first.bytes, first.range) == (12_000_000, None)
    assert (second.status, second.range) == (206, f"bytes={10 << 20}-")


def test_no_secret_is_told_and_no_token_goes_to_another_host(told, hub):
    for name, one in told.items():
        assert not re.search(f"{hub.secret}|{hub.token}|{hub.stranger}|hf_Nobody", one.out + one.err), name
    users = {request.user for request in hub.requests if request.at == "hub"}
    assert users == {None, "owner", "stranger", "?"}
    assert {request.user for request in hub.requests if request.at == "cdn"} == {None}
