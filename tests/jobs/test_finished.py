"""Finished folders: those of earlier versions are read, and no command that reads takes anything away."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
import yaml
from pydantic import Field
from safetensors.torch import load_file

from jobs.made_with import ENTRY
from jobs.ood.directory import OodDirectory
from jobs.roundtrip.directory import RoundtripDirectory
from jobs.run.directory import RunDirectory
from jobs.study.directory import StudyDirectory
from probe.cli.main import main
from probe.config import Config, SolverConfig, parse_config, validated
from probe.results.files import read_about, write_tensors
from probe.results.layout import REPLACED
from probe.studies.ood.config import OodConfig
from probe.studies.roundtrip.config import RoundtripConfig
from probe.studies.sweeps.kinds import ContractionConfig

from .conftest import do

FINISHED = Path(__file__).parent / "finished"
WORKING = {"run": RunDirectory, "older": RunDirectory, "study": StudyDirectory, "ood": OodDirectory}
WORKING["roundtrip"] = RoundtripDirectory
PASSING = ("logs", "report", "export", ".lock", "progress.json", "manifest.json", "error.json")
"""What commands may write into a finished folder."""


@pytest.fixture(autouse=True)
def _where_they_were_made(monkeypatch):
    """Their model is named by a path from the root of the repository."""
    monkeypatch.chdir(FINISHED.parents[2])


@pytest.fixture
def finished(tmp_path):
    """A copy of a finished folder, by name."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(FINISHED / name, tmp_path / name))

    return copy


@pytest.fixture
def nothing_is_computed(monkeypatch):
    """Fail where a result is written."""
    for name in ("write_tensors", "write_table"):
        monkeypatch.setattr(f"jobs.store.{name}", lambda path, *_: pytest.fail(f"{path} is written"))


def probe(arguments: list[str]) -> int:
    """Run a command line; its exit status."""
    try:
        return main(arguments)
    except SystemExit as end:  # typer's, after a good end
        return int(end.code or 0)


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but ``PASSING``."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {
        str(name): file.read_bytes() for file in files if (name := file.relative_to(folder)).parts[0] not in PASSING
    }


def edit(folder: Path, key: str, value: object) -> None:
    """Set a dotted key in config.yaml."""
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    *path, last = key.split(".")
    inside = settings
    for part in path:
        inside = inside[part]
    inside[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))


def flip(file: Path, place: int = -5) -> bytes:
    """Flip a bit; what the file holds then."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    return bytes(data)


def said(capsys) -> str:
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", WORKING)
def test_a_folder_of_an_earlier_version_is_resumed_and_nothing_computed(name, finished, monkeypatch):
    folder = finished(name)
    before = content(folder)
    directory = WORKING[name]
    if name in ("run", "older"):  # local images are drawn again, to see whether they have changed
        real = write_tensors

        def write(path, tensors, about):
            assert path.parent.name == "images"
            return real(path, tensors, about)

        monkeypatch.setattr("jobs.store.write_tensors", write)
    else:
        monkeypatch.setattr("jobs.store.write_tensors", lambda path, *_: pytest.fail(f"{path} is written"))
    monkeypatch.setattr("jobs.store.write_table", lambda path, *_: pytest.fail(f"{path} is written"))
    do(directory.open(folder))
    assert content(folder) == before
    kept = json.loads((folder / "manifest.json").read_text())[ENTRY]
    assert "clip" not in kept["settings"] or name != "older"


def as_it_was(now: Any, before: Any) -> Any:
    """Without the keys that newer versions have added."""
    if isinstance(before, list):
        return [as_it_was(*pair) for pair in zip(now, before, strict=True)]
    if not isinstance(before, dict):
        return now
    return {key: as_it_was(now[key], value) for key, value in before.items()}


@pytest.mark.parametrize("name", ["run", "older"])
def test_every_command_reads_runs_of_an_earlier_version(name, finished, nothing_is_computed, tmp_path):
    folder = finished(name)
    before = content(folder)
    assert probe(["report", str(folder)]) == 0
    for command in (["status"], ["export"], ["theory", "--points", "2"], ["compare", "--out", str(tmp_path / "out")]):
        assert probe([command[0], str(folder), *command[1:]]) in (0, 2), command
    assert {key: data for key, data in content(folder).items() if not key.startswith("theory")} == before
    again = json.loads((folder / "report" / "report.json").read_text())
    was = json.loads((FINISHED / "run" / "report" / "report.json").read_text())
    levels = was["datasets"]["digits"]["levels"]
    assert as_it_was(again["datasets"]["digits"]["levels"], levels) == levels
    assert as_it_was(again["solver"], was["solver"]) == was["solver"]


@pytest.mark.parametrize("name", ["run", "older"])
def test_the_command_that_made_a_run_resumes_it(name, finished, tmp_path):
    """config.yaml may be written again, with the keys of today, and the folder still knows its files."""
    folder = finished(name)
    before = content(folder)
    out = ["--out", str(folder)]
    for _ in range(2):
        assert probe(["run", str(FINISHED / "run.yaml"), *out]) == 0
    assert probe(["run", str(FINISHED / "run.yaml"), *out, "--set", "trackers.name=another"]) == 0
    assert probe(["run", str(FINISHED / "run.yaml"), *out]) == 0
    assert probe(["report", str(folder)]) == 0
    after = content(folder)
    assert before.keys() == after.keys()
    assert {key for key in before if before[key] != after[key]} <= {"config.yaml"}


class LaterSolver(SolverConfig):
    damping: float = Field(1.0, gt=0)


class LaterConfig(Config):
    solver: LaterSolver = LaterSolver()
    whitened: bool = False


class LaterContraction(ContractionConfig):
    whitened: bool = False


class LaterOod(OodConfig):
    whitened: bool = False


class LaterRoundtrip(RoundtripConfig):
    whitened: bool = False


LATER = {"run": LaterConfig, "older": LaterConfig, "study": LaterContraction, "ood": LaterOod}
LATER["roundtrip"] = LaterRoundtrip


@pytest.fixture
def later(monkeypatch):
    """The tool of a later version, which has more keys; later(name, model) puts it in place."""

    def put(name, model=None):
        directory = WORKING[name]
        monkeypatch.setattr(directory, "parse", classmethod(lambda cls, data: validated(model or LATER[name], data)))
        readers = ("results.run.load_config", "report.ood.page.load_ood_config")
        for place in (*readers, "report.roundtrip.page.load_roundtrip_config"):
            monkeypatch.setattr(f"probe.{place}", lambda path: directory.open(path.parent).config)

    return put


@pytest.mark.parametrize("begun_by", ["earlier", "today"])
@pytest.mark.parametrize("name", WORKING)
def test_a_key_that_is_added_with_a_default_reads_older_folders(name, begun_by, finished, later, tmp_path):
    directory = WORKING[name]
    folder = finished(name)
    if begun_by == "today":  # made by this version, with fingerprints and settings in every file
        config = directory.open(folder).config
        folder = tmp_path / "today"
        do(directory.create(folder, config))
        assert directory.open(folder).made_with.fingerprint.startswith("2-")
    before, fingerprint = content(folder), directory.open(folder).made_with.fingerprint
    later(name)
    there = directory.open(folder)
    assert there.config.whitened is False
    assert there.unchanged().made_with.fingerprint == fingerprint
    files = [file for file in before if Path(file).suffix in (".safetensors", ".parquet")]
    assert all(there.checked(file) for file in files)
    assert there.create(folder, there.config).config == there.config
    if name in ("run", "older"):
        do(there)
        files = {key: data for key, data in content(folder).items() if key != "config.yaml"}
        assert files == {key: data for key, data in before.items() if key != "config.yaml"}


@pytest.mark.parametrize("name", WORKING)
def test_a_key_that_is_added_and_set_is_another_configuration(name, finished, later, capsys):
    folder = finished(name)
    later(name)
    edit(folder, "whitened", True)
    directory = WORKING[name]
    with pytest.raises(Exception, match=r"whitened|was not recorded"):
        directory.open(folder).unchanged()


def test_a_default_that_changes_later_changes_no_run(finished, later):
    """The files' fingerprint leaves the key out, so it alone would fit the new default too."""

    class Changed(LaterSolver):
        max_norm: float = Field(1e3, gt=0)

    class ChangedConfig(LaterConfig):
        solver: Changed = Changed()

    folder = finished("run")
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    made = RunDirectory.create(folder.parent / "new", parse_config(settings))
    do(made)
    later("run", ChangedConfig)
    assert RunDirectory.open(made.path).unchanged().checked("dictionary.safetensors")
    del settings["solver"]["max_norm"]  # and so it is now another
    (made.path / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(Exception, match=r"solver.max_norm: 1000000.0 there, 1000.0 now"):
        RunDirectory.open(made.path).unchanged()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("solver.max_steps", 31, "solver.max_steps: 30 there, 31 now"),
        ("seeds.seed", 2, "seeds.seed: 1 there, 2 now"),
        ("datasets.digits.n", 5, "datasets.digits.n: 4 there, 5 now"),
        ("clip", {"model": "ViT-B-32"}, "clip: only now"),
        ("sparse.levels", [1], "sparse.levels: [1, 2] there, [1] now"),
    ],
)
@pytest.mark.parametrize("begun_by", ["earlier", "today"])
def test_an_edited_config_is_refused_by_every_command_and_named(key, value, told, begun_by, finished, capsys):
    folder = finished("run")
    if begun_by == "today":
        config = RunDirectory.open(folder).config
        folder = folder.parent / "today"
        do(RunDirectory.create(folder, config))
    edit(folder, key, value)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    for command in ("report", "images", "attractors", "dictionary", "reconstruct", "theory"):
        assert probe([command, str(folder)]) == 2, command
        assert told in said(capsys), command
    assert probe(["run", str(folder / "config.yaml"), "--out", str(folder)]) == 2
    assert told in said(capsys)
    after = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != ".lock"}
    assert after == {file: data for file, data in before.items() if file.name != ".lock"}


@pytest.mark.parametrize(
    ("name", "key", "value", "told"),
    [
        ("study", "samples", 3, "samples: 2 there, 3 now"),
        ("study", "seeds", [1], "seeds: [0] there, [1] now"),
        ("roundtrip", "cycles", 7, "cycles: 6 there, 7 now"),
        ("ood", "neighbours", [3], "neighbours: [2] there, [3] now"),
        ("ood", "solver.max_steps", 31, "solver.max_steps: 30 there, 31 now"),
    ],
)
def test_an_edited_config_of_a_study_or_experiment_is_refused(name, key, value, told, finished, capsys):
    folder = finished(name)
    edit(folder, key, value)
    before = content(folder)
    assert probe([name, str(folder / "config.yaml"), "--out", str(folder)]) == 2
    assert told in said(capsys)
    assert content(folder) == before


def test_another_configuration_on_a_finished_folder_is_refused(finished, capsys):
    for name, change in (
        ("run", "seeds.count=7"),
        ("study", "samples=4"),
        ("ood", "seed=3"),
        ("roundtrip", "cycles=7"),
    ):
        folder = finished(name)
        before = content(folder)
        assert probe([name, str(FINISHED / f"{name}.yaml"), "--out", str(folder), "--set", change]) == 2
        assert f"differs in {change.split('=')[0]}: " in said(capsys)
        assert content(folder) == before


def test_without_a_report_an_edited_older_config_is_still_refused(finished, capsys):
    folder = finished("older")
    edit(folder, "solver.max_steps", 31)
    before = content(folder)
    assert probe(["report", str(folder)]) == 2
    assert "what differs was not recorded" in said(capsys)
    assert content(folder) == before


RESULTS = [
    "attractors/00000000-00000002.safetensors",
    "dictionary.safetensors",
    "gallery.safetensors",
    "wandering.safetensors",
    "basins.safetensors",
    "reconstructions/digits.safetensors",
    "reconstructions/digits.parquet",
]


@pytest.fixture(scope="module")
def made_now(tmp_path_factory) -> Path:
    """A finished run of this version: what it makes again must be the same to the last bit."""
    folder = tmp_path_factory.mktemp("now") / "run"
    assert probe(["run", str(FINISHED / "run.yaml"), "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty"])
@pytest.mark.parametrize("name", RESULTS)
def test_a_damaged_file_is_named_by_readers_and_replaced_by_the_run(name, how, made_now, tmp_path, capsys):
    folder = Path(shutil.copytree(made_now, tmp_path / "run"))
    file, whole = folder / name, read_about(folder / name)
    if how == "flipped":
        damaged = flip(file)
    else:
        damaged = file.read_bytes()[:-9] if how == "truncated" else b""
        file.write_bytes(damaged)
    before = content(folder)
    assert probe(["report", str(folder)]) == 2
    told = said(capsys)
    assert f"{file} is damaged" in told
    assert f"`probe run {folder}/config.yaml --out {folder}` makes it again" in told
    assert content(folder) == before
    assert probe(["run", str(FINISHED / "run.yaml"), "--out", str(folder)]) == 0
    told = said(capsys)
    assert f"{file} is computed again: it is damaged" in told
    assert f"the old file is kept as {folder / REPLACED / name}" in told
    assert (folder / REPLACED / name).read_bytes() == damaged
    assert read_about(file)["sha256"] == whole["sha256"]
    after = content(folder)
    same = before.keys() - {"config.yaml", name}
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert after.keys() - before.keys() == {f"{REPLACED}/{name}"}
    assert probe(["report", str(folder)]) == 0


def test_a_damaged_dictionary_of_an_earlier_version_is_made_again(finished, capsys):
    """Certificates are computed otherwise since then, and are about the points to which plain steps lead; they agree,
    and what rests on them is made again, too."""
    folder = finished("run")
    whole = {name: value.clone() for name, value in RunDirectory.open(folder).load("dictionary.safetensors")[0].items()}
    flip(folder / "dictionary.safetensors")
    assert probe(["run", str(FINISHED / "run.yaml"), "--out", str(folder)]) == 0
    again, _ = RunDirectory.open(folder).load("dictionary.safetensors")
    assert set(again) - set(whole) == {"ends", "distance", "from_one", "member"}
    anew = {"spectral_radius", "radius_error", "spectral_norm", "norm_error", "products", "predicted_steps"}
    anew |= {"atoms", "residual"}
    assert anew < set(whole)
    for name in set(whole) - anew:
        assert torch.equal(again[name].nan_to_num(), whole[name].nan_to_num()), name
    for value, error in (("spectral_radius", "radius_error"), ("spectral_norm", "norm_error")):
        apart = (again[value] - whole[value]).abs().nan_to_num(0)
        assert (apart <= (again[error] + whole[error]).nan_to_num(0) + 2e-3).all()  # at points a little apart
    assert torch.allclose(again["atoms"], whole["atoms"], atol=1e-2)
    assert (again["residual"] <= whole["residual"]).all()
    capsys.readouterr()
    assert probe(["report", str(folder)]) == 0


def test_a_second_damage_keeps_both(finished):
    folder = finished("run")
    file = folder / RESULTS[0]
    kept = []
    for _ in range(2):
        kept.append(flip(file))
        do(RunDirectory.open(folder))
    folders = sorted((folder / REPLACED / "attractors").iterdir())
    assert [one.name for one in folders] == [file.name, f"{file.name}.2"]


@pytest.mark.parametrize("name", ["study", "ood", "roundtrip"])
def test_damaged_files_of_studies_and_experiments_are_replaced(name, finished, capsys):
    """They agree with those of the processor that made the folder, and are the same each time on one."""
    folder = finished(name)
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".safetensors", ".parquet"))
    for file in files:
        kept, found, about = folder / REPLACED / file.relative_to(folder), [numbers(file)], []
        for _ in range(2):
            damaged = file.read_bytes()[:-9]
            file.write_bytes(damaged)
            assert probe(["status", str(folder)]) == 0
            assert file.read_bytes() == damaged
            assert probe([name, str(FINISHED / f"{name}.yaml"), "--out", str(folder)]) == 0
            assert f"{file} is computed again: it is damaged" in said(capsys)
            found.append(numbers(file))
            about.append(read_about(file))
            assert damaged in [one.read_bytes() for one in kept.parent.glob(f"{kept.name}*")]
        assert about[0] == about[1]
        for again in found[1:]:
            assert again.keys() == found[0].keys()
            for key, values in again.items():
                np.testing.assert_allclose(values, found[0][key], rtol=1e-3, atol=1e-6, err_msg=f"{file.name}: {key}")


def numbers(file: Path) -> dict[str, Any]:
    """The columns of numbers of a table, or the tensors."""
    if file.suffix == ".parquet":
        table = pandas.read_parquet(file).select_dtypes(["number", "bool"])
        return {name: table[name].to_numpy(float) for name in table}
    return {name: value.double().numpy() for name, value in load_file(file).items()}


@pytest.mark.parametrize("part", ["images/digits", "merged", "certificates", "reconstructions"])
def test_damaged_intermediate_results_are_replaced_and_kept(part, finished, tmp_path, monkeypatch, caplog):
    config = RunDirectory.open(finished("run")).config
    run = RunDirectory.create(tmp_path / "begun", config)

    def stop(*_, **__):
        raise KeyboardInterrupt

    place = "jobs.run.dictionary._assemble" if part in ("merged", "certificates") else "jobs.run.reconstruct._finish"
    with monkeypatch.context() as patched:
        patched.setattr(place, stop)
        with pytest.raises(KeyboardInterrupt):
            do(run)
    file = run.path / "work" / f"{part}.safetensors"
    if not file.exists():
        file = min((run.path / "work" / part).rglob("*.safetensors"))
    damaged = flip(file)
    with caplog.at_level("WARNING", logger="probe"):
        do(RunDirectory.open(run.path))
    assert f"{file} is computed again: it is damaged" in caplog.text
    assert (run.path / REPLACED / file.relative_to(run.path)).read_bytes() == damaged
    assert not (run.path / "work").exists()


def test_files_of_another_run_are_refused_by_name_and_left(finished, tmp_path, capsys):
    settings = yaml.safe_load((FINISHED / "run.yaml").read_text())
    mine, other = (
        RunDirectory.create(tmp_path / name, parse_config({**settings, **more}))
        for name, more in (("mine", {}), ("other", {"seeds": {**settings["seeds"], "seed": 5}}))
    )
    for run in (mine, other):
        do(run)
    for name in RESULTS:
        whole = (mine.path / name).read_bytes()
        shutil.copy(other.path / name, mine.path / name)
        before = content(mine.path)
        for command in (["report", str(mine.path)], ["run", str(FINISHED / "run.yaml"), "--out", str(mine.path)]):
            assert probe(command) == 2, (name, command)
            told = said(capsys)
            assert f"{mine.path / name} belongs to another run" in told
            assert "seeds.seed: 5 there, 1 now" in told
            assert content(mine.path) == before
        (mine.path / name).write_bytes(whole)


def test_a_copy_under_another_name_is_no_damage(finished, capsys):
    folder = finished("run")
    shutil.copy(folder / RESULTS[0], folder / "attractors" / "00000003-00000005.safetensors")
    before = content(folder)
    for command in (["report", str(folder)], ["run", str(FINISHED / "run.yaml"), "--out", str(folder)]):
        assert probe(command) == 2
        assert f"was written as '{RESULTS[0]}'" in said(capsys)
        assert content(folder) == before
