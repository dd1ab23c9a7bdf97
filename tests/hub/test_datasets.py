"""Data sets on a hub, read by the real clients: the public layouts, and what a hub does instead of giving images."""

import base64
import io
import json
import math
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from probe.cli.main import main

from ..processes import completed
from . import presets
from .commands import ROOT, Said, environment, said
from .presets import LAION, LAYOUTS
from .server import Hub

pytestmark = pytest.mark.busy(40)
QUICK = ROOT / "configs" / "quickstart.yaml"
EUROSAT = "blanchon/EuroSAT_RGB"
NAMED = {
    "imagenet": {},
    "cifar100": {},
    "eurosat": {},
    "patchcamelyon": {},
    "places365": {},
    "laion": {},
    "mnist": {"source": "hub:ylecun/mnist", "split": "train"},
    "fashion": {"source": "hub:zalando-datasets/fashion_mnist"},
    "cifar10": {"source": "hub:uoft-cs/cifar10", "split": "test"},
    "sun397": {"source": "hub:tanganke/sun397", "split": "test"},
    "dtd": {"source": "hub:tanganke/dtd", "split": "test"},
}
"""The presets of the hub, and other sets as configurations name them."""
LIBRARY = """
import json, sys
import datasets
from probe.config import DatasetConfig
from probe.data.load import load_images
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0.05  # seconds after every stream
for name, spec in json.loads(sys.argv[1]).items():
    def load(n, holdout, seed=0):
        return load_images(name, DatasetConfig(**spec, n=n, holdout=holdout, seed=seed), resolution=16)
    found, more, other = load(12, 0), load(12, 20), load(12, 0, seed=1)
    rows = [len(found.ids), len(found.heldout), len(more.heldout)]
    found = {"ids": found.ids, "labels": found.labels, "source": found.source, "bare": rows[:2]}
    print(json.dumps([name, found | {"more": [more.ids, rows[2]], "other": other.ids}]))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with all data sets that presets and configurations name."""
    with presets.published(tmp_path_factory.mktemp("sets")) as hub:
        yield hub


@pytest.fixture(scope="module")
def loaded(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``load_images`` gives, by name."""
    env = environment(hub, tmp_path_factory.mktemp("cache"), HF_TOKEN=hub.token, PROBE_ALLOW_PRIVATE_HOSTS="127.0.0.1")
    done = completed("-c", LIBRARY, json.dumps(NAMED), only=env)
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize("name", NAMED)
def test_sets_as_they_are_published(hub, loaded, name):
    found = loaded[name]
    repo = found["source"]["source"].partition(":")[2]
    assert found["source"]["revision"] == hub.repository(repo, "dataset")["main"].sha
    assert "shuffled in a buffer" in found["source"]["sample"]
    assert found["ids"] == found["more"][0] != found["other"]
    assert len(set(found["ids"])) == 12
    assert (found["bare"], found["more"][1]) == ([12, 0], 20)
    if repo == LAION:
        assert found["source"]["column"] == "url"
        assert found["labels"] == [None] * 12
        return
    columns = LAYOUTS[repo].columns
    label = columns.get("label") or columns["fine_label"]
    classes = {"True", "False"} if label == "bool" else set(label)
    assert found["source"]["column"] == next(iter(columns))
    assert found["source"]["available"] == 40
    assert len(set(found["labels"])) > 1
    assert set(found["labels"]) <= classes
    assert found["ids"][0].startswith("ILSVRC2012_val_" if LAYOUTS[repo].paths else "sha256:")


FORMS = """
import json, sys
import datasets
from probe.config import DatasetConfig
from probe.data.load import load_images
from probe.errors import UserError
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0.05
for name, spec in json.loads(sys.argv[1]).items():
    try:
        found = load_images(name, DatasetConfig(**{"n": 100, "holdout": 0} | spec), resolution=8)
        found = [found.ids, found.labels, found.images[:, 0, 0, 0].tolist(), found.source["available"]]
    except UserError as error:
        found = str(error)
    print(json.dumps([name, found]))
"""


@pytest.fixture(scope="module")
def forms(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Sets of other forms: files, several splits, arrays, base64, shards. Picture i is i in its first band."""
    folder = tmp_path_factory.mktemp("forms")
    pictures = [np.full((8, 9, 3), (i, 255 - i, 7), np.uint8) for i in range(40)]
    encoded = []
    for one in pictures:
        buffer = io.BytesIO()
        Image.fromarray(one).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    (folder / "data").mkdir()
    features = datasets.Features(
        {
            "image": datasets.Image(decode=False),
            "pixels": datasets.Array3D((8, 9, 3), "uint8"),
            "octets": datasets.List(datasets.Value("uint8")),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["a", "b"]),
            "word": datasets.Value("string"),
        }
    )
    for split, rows in {"train": range(30), "test": range(30, 40)}.items():
        cells = {
            "image": [{"bytes": encoded[i], "path": None} for i in rows],
            "pixels": [pictures[i] for i in rows],
            "octets": [list(encoded[i]) for i in rows],
            "text": [base64.b64encode(encoded[i]).decode() for i in rows],
            "label": [int(i % 10 == 0) for i in rows],
            "word": [str(i % 2) for i in rows],
        }
        datasets.Dataset.from_dict(cells, features=features).to_parquet(folder / "data" / f"{split}-0.parquet")
    hub.add("t/forms", folder, kind="dataset")
    shards = tmp_path_factory.mktemp("shards")
    for number in range(3):
        with tarfile.open(shards / f"s-{number:03}.tar", "w") as tar:
            for i in range(number * 4, number * 4 + 4):
                for name, data in ((f"{i}.png", encoded[i]), (f"{i}.cls", b"%d" % (i % 2))):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    hub.add("t/shards", shards, kind="dataset")
    ask = {
        "both": {"source": "hub:t/forms", "split": "train+test"},
        "train": {"source": "hub:t/forms", "split": "train"},
        "files": {"source": "hub:t/forms/data/{test,train}-*.parquet"},
        "one file": {"source": "hub:t/forms/data/test-0.parquet"},
        "no file": {"source": "hub:t/forms/data/valid-0.parquet"},
        "file and split": {"source": "hub:t/forms/data/test-0.parquet", "split": "train"},
        "elsewhere": {"source": "hub:t/forms/../x.parquet"},
        "no split": {"source": "hub:t/forms", "split": "train+valid"},
        "pixels": {"source": "hub:t/forms", "column": "pixels"},
        "octets": {"source": "hub:t/forms", "column": "octets"},
        "text": {"source": "hub:t/forms", "column": "text"},
        "word": {"source": "hub:t/forms", "column": "word"},
        "balanced": {"source": "hub:t/forms", "split": "train", "balance": "label", "n": 6},
        "too few": {"source": "hub:t/forms", "split": "train", "balance": "label", "n": 12},
        "undeclared": {"source": "hub:t/forms", "balance": "word"},
        "shards": {"source": "hub:t/shards/s-{000,002}.tar"},
    }
    env = environment(hub, tmp_path_factory.mktemp("cache"))
    done = subprocess.run([sys.executable, "-c", FORMS, json.dumps(ask)], env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return dict(map(json.loads, done.stdout.splitlines()))


def test_several_splits_and_files_of_a_set(forms):
    assert sorted(forms["both"][2]) == sorted(forms["files"][2]) == list(range(40))
    assert (forms["train"][3], forms["files"][3]) == (None, None)
    assert sorted(forms["train"][2]) == list(range(30))
    assert sorted(forms["one file"][2]) == list(range(30, 40))
    drawn = [number >= 30 for number in forms["both"][2][:20]]
    assert any(drawn)
    assert not all(drawn)  # both from the beginning
    assert sorted(forms["shards"][2]) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert forms["shards"][1] == [str(number % 2) for number in forms["shards"][2]]


@pytest.mark.parametrize("column", ["pixels", "octets", "text"])
def test_columns_of_other_forms(forms, column):
    assert sorted(forms[column][2]) == list(range(30, 40))
    assert all(one.startswith("sha256:") for one in forms[column][0])


def test_a_balanced_draw_of_a_stream(forms):
    assert sorted(forms["balanced"][1]) == ["a"] * 3 + ["b"] * 3
    assert sorted(forms["too few"][1]) == ["a"] * 9 + ["b"] * 3  # rows 0, 10 and 20


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no file", "has no 'data/valid-0.parquet'; correct FILES"),
        ("file and split", "names files, which have no split; remove it"),
        ("elsewhere", "are files of that data set"),
        ("no split", "Bad split: valid. Available splits: ['train', 'test']; set split"),
        ("word", "column 'word' holds string, not images; set column to one of 'image'"),
        ("undeclared", "column 'word' does not declare its classes (string)"),
    ],
)
def test_what_a_form_cannot_be(forms, name, words):
    assert words in forms[name]
    assert "\n" not in forms[name]


def images(repo: str, out: Path, **more: Any) -> list[object]:
    """A command that draws eleven images of a set."""
    sets = {"mine": {"source": f"hub:{repo}", "split": "test", "n": 5, "holdout": 6, **more}}
    return ["images", QUICK, "--out", out, "--set", f"datasets={json.dumps(sets)}"]


def sentences(answers: Mapping[str, Said]) -> dict[str, str]:
    """The sentence of each refusal; "" for a success."""
    for name, answer in answers.items():
        assert answer.status in (0, 2), (name, answer)
        assert (answer.status == 0) == (answer.out.splitlines()[-1:] == ["mine: 5"]), (name, answer)
    return {name: answer.sentence if answer.status else "" for name, answer in answers.items()}


REFUSED = {
    "gated": r"is gated: accept its terms at http.*/datasets/t/gated, then log in with `hf auth login` or set HF_",
    "gated, stranger": r"is gated, and your token has no access: accept .* at .*/t/gated with the token's account\.",
    "private": r"does not exist or is private; check the id, or log in with a token that may read it\.",
    "private, stranger": "does not exist or is private",
    "absent": "'t/absent' does not exist or is private",
    "absent, token": "'t/absent' does not exist or is private",
    "token": "cannot be fetched: the hub refuses your token; log in again with `hf auth login`, or correct HF_TOKEN",
    "split": r"'t/open': Bad split: holdout. Available splits: \['train', 'test', 'validation'\]; set split or config",
    "config": r"BuilderConfig 'large' not found. Available: \['default'\]; set split or config accordingly\.",
    "column": "has no column 'img': did you mean 'image'.*set column to one of 'image', 'label', 'filename'",
    "text": "column 'filename' holds string, not images; set column to one of 'image'",
    "revision": "has no revision 'v9' on the hub; give a branch, a tag or a commit that it has",
    "empty": "holds no readable tables or images; choose another",
    "damaged": r"holds a damaged file \(.*\); set revision to another commit, or tell its owner",
    "id": "'no id' is not the id of a hub data set; write hub:OWNER/NAME",
    "urls, gated": "'laion/relaion2B-en-research-safe' is gated: accept its terms",
    "asked to wait": r"limits the number of requests \(status 429\) and asks to wait 300 seconds; try again later",
    "asked to wait for a file": r"limits the number of requests \(status 429\) and asks to wait 300 seconds; try again",
    "files forbidden": r"CDN refuses it \(403 Forbidden\); try again, or log in",
}
READ = ("open", "gated, owner", "private, owner", "old name", "busy", "tag", "files", "archive")


@pytest.fixture(scope="module")
def answers(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of sets that are not simply there."""
    folder, out = tmp_path_factory.mktemp("cases"), tmp_path_factory.mktemp("runs")
    small = presets.write(EUROSAT, folder / "small", rows=12)
    for name in ("open", "gated", "private", "old", "busy", "asked"):
        made = hub.add(f"t/{name}", small, kind="dataset", gated=name == "gated", private=name == "private")
        made.tag("v1")
    hub.rename("t/old", "t/new")
    (folder / "empty").mkdir()
    (folder / "empty" / "README.md").write_text("Nothing yet.")
    hub.add("t/empty", folder / "empty", kind="dataset")
    damaged = presets.write(EUROSAT, folder / "damaged", rows=12)
    next(damaged.glob("data/test-*")).write_bytes(b"PAR1 but not for long")
    hub.add("t/damaged", damaged, kind="dataset")
    for number, name in enumerate(("files", "asked-files", "forbidden", "archive")):
        where = folder / name / "test"
        where.mkdir(parents=True)
        for i in range(12):
            (where / f"{i}.png").write_bytes(presets.picture(1000 * (1 + number) + i, LAYOUTS[EUROSAT]))
        if name == "archive":
            shutil.make_archive(str(where), "zip", where)
            shutil.rmtree(where)
        files = hub.add(f"t/{name}", folder / name, kind="dataset")["main"].files
        if name == "forbidden":
            for file in files.values():
                hub.fault(file.sha256, at="cdn", status=403, times=math.inf)
    hub.fault("t/asked-files/resolve/.*png", status=429, headers={"Retry-After": "300"}, times=math.inf)
    hub.fault("t/busy/resolve/.*README", status=429, headers={"Retry-After": "1"})
    hub.fault("api/datasets/t/busy", status=503)
    hub.fault("t/asked", status=429, headers={"Retry-After": "300"}, times=math.inf)
    owner, stranger = hub.token, hub.stranger
    asked: dict[str, tuple[list[object], str | None]] = {
        "open": (images("t/open", out / "0"), None),
        "gated": (images("t/gated", out / "1"), None),
        "gated, stranger": (images("t/gated", out / "2"), stranger),
        "gated, owner": (images("t/gated", out / "3"), owner),
        "private": (images("t/private", out / "4"), None),
        "private, stranger": (images("t/private", out / "5"), stranger),
        "private, owner": (images("t/private", out / "6"), owner),
        "absent": (images("t/absent", out / "7"), None),
        "absent, token": (images("t/absent", out / "8"), owner),
        "token": (images("t/open", out / "9"), "hf_nobodys"),
        "old name": (images("t/old", out / "10"), None),
        "tag": (images("t/open", out / "11", revision="v1"), None),
        "split": (images("t/open", out / "12", split="holdout"), None),
        "config": (images("t/open", out / "13", config="large"), None),
        "column": (images("t/open", out / "14", column="img"), None),
        "text": (images("t/open", out / "15", column="filename"), None),
        "revision": (images("t/open", out / "16", revision="v9"), None),
        "empty": (images("t/empty", out / "17"), None),
        "damaged": (images("t/damaged", out / "18"), None),
        "id": (images("no id", out / "19"), None),
        "urls, gated": (images("", out / "20", source=f"urls:{LAION}"), None),
        "busy": (images("t/busy", out / "21"), None),
        "asked to wait": (images("t/asked", out / "22"), None),
        "files": (images("t/files", out / "23"), None),
        "archive": (images("t/archive", out / "24"), None),
        "asked to wait for a file": (images("t/asked-files", out / "25"), None),
        "files forbidden": (images("t/forbidden", out / "26"), None),
    }
    told = said(hub, folder / "cache", asked)
    for file in [*out.rglob("*"), *(folder / "cache").rglob("*")]:  # a token or a signed address is nowhere
        held = file.read_bytes() if file.is_file() else b""
        assert not [secret for secret in (owner, stranger, hub.secret) if secret.encode() in held], file
    assert not re.search(f"{owner}|{stranger}|{hub.secret}", "".join(one.out + one.err for one in told.values()))
    return sentences(told)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_one_sentence(hub, answers, name):
    assert answers[name].startswith("data set 'mine' (")
    assert re.search(REFUSED[name].replace("CDN", re.escape(hub.cdn)), answers[name]), answers[name]


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_is_read(answers, name):
    assert not answers[name]


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "out of order": ({"status": 503, "times": math.inf}, "the hub answers with status 503; try again later"),
    "cut": ({"cut": 3000, "times": math.inf}, "the hub breaks off in the middle of a file; try again later"),
    "cut once": ({"cut": 3000}, ""),
    "silent": ({"wait": 600.0, "times": math.inf}, "the hub does not answer; try again later"),
    "silent for a while": ({"wait": 2.0, "times": 1}, ""),
    "slow": ({"pace": 60_000.0, "times": math.inf}, ""),
    "limited": ({"status": 429, "headers": {"Retry-After": "2"}, "times": 2}, ""),
}
"""What the CDN does in the middle of a data set, and what is said."""


@pytest.mark.slow
def test_a_hub_that_fails_while_rows_are_read(hub, tmp_path):
    commands, files = {}, {}
    for number, (name, (fault, _)) in enumerate(FAULTS.items()):
        folder = presets.write(EUROSAT, tmp_path / f"set{number}", rows=20, seed=100_000 * (1 + number))
        hub.add(f"f/{number}", folder, kind="dataset")
        (file,) = folder.glob("data/test-*")
        files[name] = sha256(file.read_bytes()).hexdigest()
        hub.fault(files[name], at="cdn", **fault)
        commands[name] = images(f"f/{number}", tmp_path / "out" / str(number)), None
    told = said(hub, tmp_path / "cache", commands)
    assert hub.secret not in "".join(answer.err for answer in told.values())
    for name in FAULTS:  # the clients alone would try 120 times, for half an hour
        assert sum(files[name] in request.path for request in hub.requests) < 12, name
    for name, sentence in sentences(told).items():
        assert bool(sentence) == bool(FAULTS[name][1]), (name, sentence)
        assert re.search(FAULTS[name][1], sentence), (name, sentence)


def test_offline(tmp_path, capsys):
    """As this process is; nobody has read a set of this name before."""
    assert main(list(map(str, images("nobody/has-this", tmp_path / "out")))) == 2
    said = capsys.readouterr().err
    assert "cannot be read offline; run `probe images` with the network, or unset HF_HUB_OFFLINE." in said


@pytest.mark.slow
def test_nobody_at_the_address_of_the_hub(hub, tmp_path):
    ask = {"mine": (images(EUROSAT, tmp_path / "out"), None)}
    told = said(hub, tmp_path / "cache", ask, HF_ENDPOINT="http://127.0.0.1:9")["mine"]
    assert re.search("the hub cannot be reached .*; check the network and HF_ENDPOINT", told.sentence)
