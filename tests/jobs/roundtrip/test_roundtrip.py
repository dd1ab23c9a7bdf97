"""Round trips as a job: from images to report, sharing, resuming, refusing."""

import json
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from jobs import doing
from jobs.kinds import ROUNDTRIP
from jobs.roundtrip.directory import RoundtripDirectory
from jobs.roundtrip.stages import RoundtripWork
from jobs.status import read_status
from jobs.worker import work
from probe.api import open_run
from probe.autoencoders import Autoencoder
from probe.cli.main import main
from probe.cli.roundtrip import by_name, image_set
from probe.errors import UserError
from probe.measures import IDENTITY
from probe.metrics.feature_weights import Missing
from probe.metrics.frechet import load_inception
from probe.results import layout
from probe.results.files import read_tensors
from probe.results.roundtrip import Trip, read_roundtrip, trips
from probe.studies.roundtrip.config import parse_roundtrip_config

from ...figures import drawn
from ..conftest import MAP, do, shared_by

SETTINGS = {
    "models": {
        "own": {"source": "python:own.py:load", "device": "cpu"},
        "embedded": {"source": "embedded:cifar-attractors", "device": "cpu"},
    },
    "datasets": {"digits": {"n": 4}, "textures": {"n": 3}},
    "resolution": 16,
    "cycles": 3,
    "between": ["none", "jpeg:75"],
    "solver": {"max_steps": 20, "certificates": 1},
    "perceptual": None,
    "film": {"images": 1, "extremes": 1},
}


@pytest.fixture(autouse=True)
def where_the_model_is(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(MAP)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the ranks have: sums depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def begin(path: Path, **changes) -> RoundtripWork:
    return RoundtripWork(RoundtripDirectory.create(path, parse_roundtrip_config({**SETTINGS, **changes})))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Round trips made undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "own.py").write_text(MAP)
    with pytest.MonkeyPatch.context() as patched, drawn(True):
        patched.chdir(folder)
        do(begin(folder / "trips"))
    return folder / "trips"


def results_of(path: Path) -> dict[str, object]:
    """Tables and tensors by file."""
    tables = {str(file.relative_to(path)): pd.read_parquet(file) for file in path.glob(layout.TRIP.glob)}
    return tables | {str(file.relative_to(path)): read_tensors(file)[0] for file in path.glob(layout.TRIP_TENSORS.glob)}


def assert_same(one: Path, two: Path) -> None:
    """Tables and tensors are the same to the bit."""
    first, second = results_of(one), results_of(two)
    assert first.keys() == second.keys()
    for name, content in first.items():
        if isinstance(content, pd.DataFrame):
            pd.testing.assert_frame_equal(content, second[name])
        else:
            assert all(
                torch.equal(value.nan_to_num(), second[name][key].nan_to_num()) for key, value in content.items()
            )


def run_command(*arguments) -> int:
    try:
        return main(list(map(str, arguments)))
    except SystemExit as end:  # typer's, after a good end
        return int(end.code or 0)


def test_from_images_to_report(whole):
    directory = RoundtripDirectory.open(whole)
    results = read_roundtrip(whole, directory.config)
    assert len(results.trips) == 12  # two models and the control, two betweens, two data sets
    for trip, found in results.trips.items():
        n = directory.config.datasets[trip.dataset].n
        assert found.curve("psnr").shape == (n, 4)
        assert (found.curve("norm") is None) == (trip.model == IDENTITY)
        assert found.about["weights"] == results.manifest["models"].get(trip.model, {}).get("weights_sha256")
        assert found.tensors["film"].shape == (len(found.tensors["film_images"]), 4, 3, 16, 16)
    assert (results.of(IDENTITY, "none", "digits").curve("psnr") == float("inf")).all(axis=None)
    # All images go to one of the eight constant latents, within a few steps; JPEG does not keep them away.
    settled = results.of("own", "none", "digits").tensors
    assert settled["outcome"].tolist() == [0] * 4
    assert 1 in settled["certificate"].tolist()
    assert (whole / "report" / "report.html").exists()
    status = read_status(whole)
    assert (status.state, [(stage.name, stage.done, stage.planned) for stage in status.stages]) == (
        "complete",
        [("images", 2, 2), ("roundtrips", 12, 12), ("report", 1, 1)],
    )


def test_independent_processes_share_the_trips(whole, tmp_path):
    work = begin(tmp_path / "trips")
    do(work, "images")
    shared_by(2, work.directory, "roundtrips")
    do(work, "report")
    assert_same(whole, tmp_path / "trips")


def test_every_file_has_the_columns_of_the_layout(whole):
    for trip in trips(RoundtripDirectory.open(whole).config):
        rows, (tensors, about) = pd.read_parquet(whole / trip.table), read_tensors(whole / trip.tensors)
        assert {*layout.TRIP.names} <= {*rows.columns} <= {one.name for one in layout.TRIP.columns}
        assert {*layout.TRIP_TENSORS.names} <= {*tensors} <= {one.name for one in layout.TRIP_TENSORS.columns}
        assert {one.name for one in layout.TRIP_TENSORS.about if not one.optional} <= {*about}


def test_python_opens_it(whole):
    opened = open_run(whole)
    assert opened.kind == "roundtrip"
    table = opened.report.to_pandas()
    assert {"own", "embedded", IDENTITY} == set(table["model"])
    assert set(opened.report.verdicts) == {"own", "embedded"}
    assert "RoundtripReport" in repr(opened.report)
    assert opened.figure(opened.figures[0]).axes
    with pytest.raises(UserError, match="a round trip, which has no end points"):
        _ = opened.end_points


@pytest.mark.busy(50)
def test_ranks_share_the_trips_and_give_the_same_results(whole, tmp_path, start):
    file, out = tmp_path / "trips.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    ranks = start("roundtrip", file, "--out", out, ranks=2, module="probe.cli.main")
    assert ranks.wait() == [0, 0], ranks.said(0) + ranks.said(1)
    assert_same(out, whole)
    assert "with JPEG 75" in ranks.said(0)
    reports = [json.loads((path / "report" / "report.json").read_text()) for path in (out, whole)]
    for report in reports:
        del report["provenance"]
    assert reports[0] == reports[1]
    assert not (out / "work").exists()


COMPUTED = ("images", "roundtrips")
"""All stages but the report, whose figures take the time."""


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [0, 5, 11])
def test_what_was_killed_goes_on_to_the_same_results(whole, tmp_path, monkeypatch, at):
    """Nothing is done twice."""
    from jobs.roundtrip import stages as roundtrip

    done, real = [], roundtrip._make

    def make(work, trip, *rest):
        if len(done) == at and first:
            raise Killed
        done.append(trip)
        real(work, trip, *rest)

    monkeypatch.setattr(roundtrip, "_make", make)
    first = True
    with pytest.raises(Killed):
        do(begin(tmp_path / "trips"), *COMPUTED)
    status = read_status(tmp_path / "trips")
    assert (status.state, status.stages[1].done) == ("stopped", at)
    first = False
    do(begin(tmp_path / "trips"), *COMPUTED)
    assert done == list(trips(begin(tmp_path / "trips").config))
    assert_same(tmp_path / "trips", whole)


def test_one_damaged_file_is_made_again_and_no_other(whole, tmp_path, caplog):
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    trip = Trip("own", "jpeg:75", "digits")
    (copy / trip.table).write_bytes(b"")
    before = {name: (copy / name).stat().st_mtime_ns for name in results_before(copy, trip)}
    do(RoundtripDirectory.open(copy), *COMPUTED)
    assert f"{copy / trip.table} is computed again: it is damaged" in caplog.text
    assert before == {name: (copy / name).stat().st_mtime_ns for name in before}
    assert_same(copy, whole)


def results_before(path: Path, trip: Trip) -> list[str]:
    """The files of all other trips."""
    files = [*path.glob(layout.TRIP.glob), *path.glob(layout.TRIP_TENSORS.glob)]
    return [
        str(file.relative_to(path)) for file in files if str(file.relative_to(path)) not in (trip.table, trip.tensors)
    ]


def test_other_weights_are_refused(whole, tmp_path):
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    (copy / Trip("own", "none", "digits").table).unlink()
    (tmp_path / "own.py").write_text(MAP + "\n")
    with pytest.raises(UserError, match="begun with another model 'own', which differs in code_sha256"):
        do(RoundtripDirectory.open(copy), *COMPUTED)


def test_end_points_are_compared_with_the_attractors_of_a_run(run_of_one, tmp_path):
    """Images whose latents settle are at attractors of the run, which are all there are."""
    own = {"source": f"python:{run_of_one.parent}/own.py:load", "device": "cpu"}
    other = {"source": "embedded:cifar-attractors", "device": "cpu"}
    work = begin(tmp_path / "trips", models={"own": own, "other": other}, run=str(run_of_one), solver={"max_steps": 60})
    do(work, *COMPUTED)
    dictionary = read_tensors(run_of_one / layout.DICTIONARY)[0]
    results = read_roundtrip(work.directory.path, work.config)
    for dataset in work.config.datasets:
        found = results.of("own", "none", dataset)
        assert found.about["run"] == read_tensors(run_of_one / layout.DICTIONARY)[1]["sha256"]
        assert not found.about["no_attractors"]
        settled = found.tensors["certificate"] != -2
        atoms = found.tensors["attractor"][settled]
        assert (atoms >= 0).all()
        assert (dictionary["certificate"][atoms] == 1).all()
        assert (found.tensors["distance"][settled] < 0.1).all()
        assert "attractor" not in results.of(IDENTITY, "none", dataset).tensors
        assert results.of("other", "none", dataset).about["no_attractors"] == "the run is of a model with other weights"


def test_lpips_is_measured_where_its_weights_are(tmp_path, random_alexnet, monkeypatch, caplog):
    """Whether it is, is decided when the work is begun."""
    few = {
        "models": {"own": SETTINGS["models"]["own"]},
        "datasets": {"digits": {"n": 2}},
        "resolution": 32,
        "cycles": 2,
    }
    weights = shutil.copy(random_alexnet, tmp_path / "weights.safetensors")
    asked = {"perceptual": {"lpips": str(weights)}, "between": ["none"]}
    work = begin(tmp_path / "trips", **few, **asked)
    do(work, *COMPUTED)
    trip = Trip("own", "none", "digits")
    found = pd.read_parquet(work.directory.path / trip.table)
    assert (found["lpips"][found["cycle"] == 0] == 0).all()
    assert (found["lpips"][found["cycle"] > 0] > 0).all()
    protocol = work.directory.manifest["perceptual"]["lpips"]
    assert protocol["weights"] == "weights.safetensors"
    assert read_tensors(work.directory.path / trip.tensors)[1]["lpips"] == protocol["sha256"]
    monkeypatch.setattr("probe.studies.perceptual.load_lpips", lambda *_: Missing("no LPIPS: nowhere"))
    do(RoundtripDirectory.open(work.directory.path), *COMPUTED)  # nothing is missing
    (work.directory.path / trip.table).unlink()
    with pytest.raises(UserError, match=r"begun with LPIPS by weights\.safetensors, which is not here"):
        do(RoundtripDirectory.open(work.directory.path), *COMPUTED)
    without = begin(tmp_path / "without", **few, **asked)
    do(without, *COMPUTED)
    assert "LPIPS or rFID is not measured; the protocol in the report says why." in caplog.text
    assert "nowhere" not in caplog.text
    noted = without.directory.manifest["perceptual"]
    assert (noted["lpips"], noted["missing"][0]) == (None, "no LPIPS: nowhere")
    (without.directory.path / trip.table).unlink()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    do(RoundtripDirectory.open(without.directory.path), *COMPUTED)
    assert "lpips" not in pd.read_parquet(without.directory.path / trip.table)


def test_who_did_not_ask_for_lpips_is_told_in_the_report_only(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("probe.studies.perceptual.load_lpips", lambda *_: Missing("no LPIPS: nowhere"))
    few = {key: SETTINGS[key] for key in ("solver", "film")} | {"datasets": {"digits": {"n": 1}}, "cycles": 1}
    config = parse_roundtrip_config({**few, "models": {"own": SETTINGS["models"]["own"]}, "between": ["8bit"]})
    content = do(RoundtripWork(RoundtripDirectory.create(tmp_path / "trips", config)))
    assert "LPIPS" not in caplog.text
    assert content["protocol"]["LPIPS"] == "not measured: nowhere"


def test_rfid_is_measured_where_its_weights_are(tmp_path, random_inception, monkeypatch, caplog):
    """As LPIPS: what the work was begun with holds, so a folder that was begun without it stays so."""
    monkeypatch.setattr("probe.studies.perceptual.load_inception", partial(load_inception, layer="64"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    few = {
        "models": {"own": SETTINGS["models"]["own"]},
        "datasets": {"digits": {"n": 3}},
        "cycles": 2,
        "between": ["none"],
        "perceptual": {"inception": str(shutil.copy(random_inception, tmp_path / "weights.pth"))},
    }
    path, trip = tmp_path / "trips", Trip("own", "none", "digits")
    content = do(begin(path, **few))
    protocol = RoundtripDirectory.open(path).manifest["perceptual"]["rfid"]
    about = read_tensors(path / trip.tensors)[1]
    assert about["inception"] == protocol["sha256"]
    assert [(one["cycle"], one["n"]) for one in about["rfid"]] == [(1, 3), (2, 3)]
    own, control = content["datasets"]["digits"]["series"]
    assert own["rfid"] == about["rfid"]
    assert own["rfid"][0]["mean"] > 0.01
    assert control["rfid"][1]["mean"] == pytest.approx(0, abs=1e-6)
    (path / trip.table).unlink()
    monkeypatch.setattr("probe.studies.perceptual.load_inception", lambda *_: Missing("no rFID: nowhere"))
    with pytest.raises(
        UserError, match=r"begun with rFID by weights\.pth, which is not here; .* perceptual\.inception"
    ):
        do(RoundtripDirectory.open(path), *COMPUTED)
    older = begin(tmp_path / "older", **few)
    older.directory.update_manifest(perceptual={"lpips": None})  # as an earlier version noted
    monkeypatch.setattr("probe.studies.perceptual.load_inception", partial(load_inception, layer="64"))
    assert do(older)["datasets"]["digits"]["series"][0].get("rfid") is None


def test_a_run_that_is_not_there_is_refused_before_any_work(tmp_path):
    work = begin(tmp_path / "trips", run="nowhere")
    with pytest.raises(UserError, match="nowhere is not the directory of a run"):
        do(work)
    assert not (tmp_path / "trips" / layout.TRIPS).exists()


def test_the_command_takes_models_and_options(tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--images", "digits", "--cycles", 2, "--between", "8bit", "--set", "datasets.digits.n=2", "--out", out]
    more = ["--set", "resolution=16", "--set", "models.own.device=cpu"]
    assert run_command("roundtrip", "python:own.py:load", *options, *more) == 0
    assert "8 bits" in capsys.readouterr().out
    config = RoundtripDirectory.open(out).config
    assert (config.cycles, config.between, list(config.models), config.datasets["digits"].n) == (
        2,
        ("8bit",),
        ["own"],
        2,
    )
    assert run_command("roundtrip", "python:own.py:load", *options, *more, "--json") == 0
    assert json.loads(capsys.readouterr().out)["cycles"] == 2
    assert run_command("roundtrip", out / "config.yaml", "--out", out) == 0
    assert run_command("report", out) == 0
    capsys.readouterr()
    assert run_command("images", out, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"digits": 2}
    assert run_command("roundtrip", out / "config.yaml", "--cycles", 3, "--out", out) == 2
    assert "cycles: 2 there, 3 now" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"models": {"identity": {}}}, "a model cannot be named identity"),
        ({"models": {"Identity": {}}}, "a model cannot be named identity"),
        ({"models": {"a/b": {}}}, "model name 'a/b' becomes a file name"),
        ({"models": {"a": {"clamp": True}}}, "a.clamp has no meaning here; add clamp to between"),
        ({"models": {}}, "models"),
        ({"datasets": {"digits": {"holdout": 3}}}, "digits.holdout has no meaning here"),
        ({"between": ["none", "none"]}, "give each value once"),
        ({"between": ["jpeg", "jpeg:75"]}, "give each value once"),
        ({"cycles": 0}, "cycles"),
        ({"cylces": 3}, "did you mean 'cycles'"),
    ],
)
def test_mistakes_are_named(changes, told):
    with pytest.raises(UserError, match=told):
        parse_roundtrip_config({**SETTINGS, **changes})


def test_a_configuration_is_known_by_its_keys(tmp_path, capsys):
    file = tmp_path / "trips.yaml"
    file.write_text(yaml.safe_dump(SETTINGS))
    assert run_command("run", file) == 2
    assert f"is the configuration of a round trip: use `probe roundtrip {file}`" in " ".join(
        capsys.readouterr().err.split()
    )
    file.write_text(yaml.safe_dump({"model": {}, "seeds": {"count": 3}}))
    assert run_command("roundtrip", file) == 2
    assert "is the configuration of a run: use `probe run" in " ".join(capsys.readouterr().err.split())
    assert run_command("roundtrip", file, "embedded:cifar-attractors") == 2
    assert "give it alone, or models alone" in " ".join(capsys.readouterr().err.split())


def test_names_of_models_and_images():
    named = by_name(
        [
            "embedded:cifar-attractors",
            "stabilityai/sd-vae-ft-mse",
            "other/sd-vae-ft-mse",
            "python:tests/models/taef2.py:load",
            "python:package.module:load",
            "python:tests/models/taef2.py:small",
            "python:models.py:Net.of",
            "/models/vae.safetensors",
            "~/models/mine/",
        ]
    )
    assert list(named) == [
        "cifar-attractors",
        "sd-vae-ft-mse",
        "sd-vae-ft-mse-2",
        "taef2",
        "package.module",
        "taef2-small",
        "models-Net.of",
        "vae",
        "mine",
    ]
    assert named["sd-vae-ft-mse-2"] == {"source": "other/sd-vae-ft-mse"}
    assert list(by_name(["python:identity.py:load", "a/VAE", "b/vae"])) == ["identity-2", "VAE", "vae-2"]
    assert image_set("digits") == ("digits", None)
    assert image_set("parquet:../x/imagenet.parquet") == (
        "imagenet",
        {"source": "parquet:../x/imagenet.parquet", "n": 64},
    )
    assert image_set("my pictures/") == ("my-pictures", {"source": "my pictures/", "n": 64})


def test_a_model_of_sound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "jobs.work.load_autoencoder",
        lambda spec: Autoencoder("sound", "Own", lambda x: x, lambda z: z, (), kind="audio", length=64),
    )
    with pytest.raises(UserError, match="sound is a model of audio; round trips are of images"):
        do(begin(tmp_path / "trips"), *COMPUTED)


def test_the_size_that_a_model_was_made_for_is_noted(tmp_path):
    """The report warns where images are less than half as large: the embedded models were made for 32 px."""
    config = parse_roundtrip_config(
        {
            "models": {"embedded": {"source": "embedded:cifar-plain", "device": "cpu"}},
            "datasets": {"digits": {"n": 2}},
            "resolution": 16,
            "cycles": 1,
            "between": ["none"],
            "solver": {"max_steps": 0},
        }
    )
    report, _ = work(tmp_path / "small", ROUNDTRIP, doing.ROUNDTRIP.all, config)
    assert "embedded was made for images of 32 px, not 16" in "\n".join(report["warnings"])
