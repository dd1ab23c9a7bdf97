"""Mutated configurations and JSON files: each is taken or refused in one short sentence, and soon."""

import json
import random
import shutil
import time
from collections import Counter

import pytest
import yaml

from jobs.slurm.profile import load_profile
from jobs.slurm.submit import submitted
from jobs.status import LastError, Owner, Progress, _read
from probe.autoencoders.repository import read_config
from probe.cli.main import main
from probe.config import ModelConfig, load_config
from probe.errors import UserError
from probe.kinds import kind_of
from probe.report.run.schema import read_report
from probe.results.manifest import read_manifest
from probe.studies.ood.config import load_ood_config
from probe.studies.roundtrip.config import load_roundtrip_config
from probe.studies.sweeps.kinds import load_study_config

JUNK = (
    "",
    "null",
    "0",
    "-1",
    "1e308",
    "9" * 400,
    "true",
    "[]",
    "{}",
    "[[[",
    "]",
    "}",
    ": ",
    "*a",
    "&a ",
    "!!int ",
    "<<: ",
)
JUNK += (
    "? [a]",
    "---\n",
    "\t",
    "\n",
    "2024-13-45",
    "1:30",
    "NaN",
    "Infinity",
    '"\\ud800"',
    "\x00",
    "é",
    "[" * 500,
    "'",
)
STATES = ("config.json", "manifest.json", "progress.json", "error.json", "jobs.json", "report.json", ".owner.json")


def mutated(text: str, draw: random.Random) -> bytes:
    """A few bytes, tokens or lines of a text changed, moved or left out."""
    data = text.encode()
    for _ in range(draw.randint(1, 3)):
        at, to = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        to = min(to, at + draw.choice((1, 4, 40)))
        lines = data.split(b"\n")
        kind = draw.randrange(5)
        if kind == 0:
            data = data[:at] + bytes(draw.randrange(256) for _ in range(draw.randint(1, 3))) + data[to:]
        elif kind == 1:
            data = data[:at] + draw.choice(JUNK).encode() + data[to:]
        elif kind == 2:
            data = data[:at] + data[to:]
        elif kind == 3:
            line = draw.randrange(len(lines))
            data = b"\n".join(lines[: line + 1] + lines[line:])
        else:
            line = draw.randrange(len(lines))
            data = b"\n".join([*lines[:line], b" " * draw.randrange(9) + lines[line].strip(), *lines[line + 1 :]])
    return data


def refused(read, *arguments: object) -> int:
    began = time.process_time()
    try:
        read(*arguments)
        said = ""
    except UserError as error:
        said = str(error)
    assert time.process_time() - began < 10
    assert len(said) <= 500
    return bool(said)


def test_a_thousand_mutated_configurations(root, tmp_path):
    draw, file, count = random.Random(16), tmp_path / "c.yaml", 0
    loaders = {"run": load_config, "study": load_study_config, "ood": load_ood_config}
    loaders["roundtrip"] = load_roundtrip_config
    sources = [(path, loaders[kind_of(path)]) for path in sorted((root / "configs").glob("*.yaml"))]
    sources = [one for one in sources if one[0].name != "embedded.yaml"]
    sources.append((root / "slurm" / "example.yaml", load_profile))
    for number in range(1000):
        path, load = sources[number % len(sources)]
        whole = path.read_text()
        if number % 2:  # without comments every change is one of meaning
            whole = yaml.safe_dump(yaml.safe_load(whole))
        file.write_bytes(mutated(whole, draw))
        kind_of(file)
        count += refused(load, file)
    assert 100 < count < 950
    assert [one.name for one in tmp_path.iterdir()] == ["c.yaml"]


def test_five_hundred_mutated_json_files(tmp_path):
    draw, count = random.Random(16), 0
    (tmp_path / "slurm").mkdir()
    (tmp_path / "report").mkdir()
    facts = {"sha256": "0", "n_planned": 3, "n_used": 3, "n_heldout": 0, "unreadable": []}
    whole = {
        "config.json": {"_class_name": "AutoencoderKL", "layers_per_block": 1, "block_out_channels": [8, 16]},
        "manifest.json": {
            "model": {},
            "data": {"a": facts},
            "versions": {"torch": "2"},
            "sessions": [{}],
            "command": "x",
        },
        "progress.json": {
            "stage": "a",
            "unit": "b",
            "done": 1,
            "total": 2,
            "rate": 1.5,
            "seconds_left": None,
            "ranks": 1,
        }
        | {"updated": "c"},
        "error.json": {"time": "a", "rank": 0, "message": "b"},
        ".owner.json": {"host": "a", "pid": 1, "since": "b"},
        "jobs.json": {"jobs": {"images": "12"}},
        "report.json": {"schema_version": 1},
    }
    kinds = {"progress.json": Progress, "error.json": LastError, ".owner.json": Owner}
    for number in range(500):
        name = STATES[number % len(STATES)]
        folder = tmp_path / {"jobs.json": "slurm", "report.json": "report"}.get(name, "")
        (folder / name).write_bytes(mutated(json.dumps(whole[name], indent=draw.choice((None, 1))), draw))
        if name in kinds:
            said: list[str] = []
            _read(folder / name, kinds[name], said)
            assert all(len(sentence) <= 500 for sentence in said)
            count += len(said)
        elif name == "config.json":
            count += refused(read_config, ModelConfig(source=str(tmp_path)), str(tmp_path))
        else:
            read = {"manifest.json": read_manifest, "jobs.json": submitted, "report.json": read_report}[name]
            count += refused(read, folder / name if name == "manifest.json" else tmp_path)
    assert 100 < count < 490


@pytest.mark.parametrize("name", ["manifest.json", "report/report.json", "progress.json", "error.json", ".owner.json"])
def test_commands_on_a_run_with_a_mutated_file(root, tmp_path, capsys, name):
    """The reading commands, as a user calls them, on a finished run of which one JSON file is mutated."""
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(root / "tests" / "jobs" / "finished" / "run", run)
    whole = STUBS[name] if name in STUBS else json.loads((run / name).read_text())
    draw, counts = random.Random(name), Counter[int]()
    before = set(tmp_path.rglob("*")) | {run / name}
    for _ in range(25):
        (run / name).write_bytes(mutated(json.dumps(whole, indent=draw.choice((None, 1))), draw))
        for command in (["status", str(run)], ["export", str(run), "--out", str(out)]):
            began = time.process_time()
            try:
                status = main(command)
            except SystemExit as end:  # typer's own, after a command
                status = end.code
            said = capsys.readouterr()
            assert time.process_time() - began < 10
            assert status in (0, 2), said.err
            assert "Traceback" not in said.err
            assert len(said.err) <= 500, said.err
            counts[status] += 1
    assert counts[0] > 10
    assert {file for file in tmp_path.rglob("*") if out not in (file, *file.parents)} == before


STUBS = {
    "progress.json": {"stage": "a", "unit": "b", "done": 1, "total": 2, "rate": 1.5, "seconds_left": None, "ranks": 1}
    | {"updated": "c"},
    "error.json": {"time": "a", "rank": 0, "status": 1, "message": "b"},
    ".owner.json": {"host": "a", "pid": 1, "since": "b"},
}
