"""probe from Python, as a notebook uses it: run, open, read by name, draw, resume; in threads and without signals."""

import importlib
import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from matplotlib.figure import Figure

import probe
from probe.autoencoders.coordinates import Coordinates
from probe.cli.main import app
from probe.config import load_config
from probe.data.load import load_images
from probe.results.files import read_tensors

FINISHED = Path(__file__).parent / "jobs" / "finished"
PUBLIC = ["AttractorDictionary", "LatentMap", "Report", "find_attractors", "load_autoencoder", "open_run", "run"]


@pytest.fixture(autouse=True)
def _where_they_were_made(monkeypatch):
    """The model of the finished folders is named by a path from the root of the repository."""
    monkeypatch.chdir(FINISHED.parents[2])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One run made through Python, and one through the command, from the same configuration."""
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FINISHED.parents[2])
        run = probe.run(FINISHED / "run.yaml", out=folder / "python", set={"seeds.count": 8}, solver__max_steps=40)
        options = ["--set", "seeds.count=8", "--set", "solver.max_steps=40"]
        app(["run", str(FINISHED / "run.yaml"), "--out", str(folder / "command"), *options], standalone_mode=False)
    return run, folder / "command"


def tags(page: str) -> list[str]:
    """The elements of a piece of HTML."""
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append(tag)  # type: ignore[method-assign]
    parser.feed(page)
    return found


def test_public_names_and_no_torch_on_import():
    assert set(PUBLIC) <= set(dir(probe))
    assert all(getattr(probe, name) is not None for name in dir(probe))
    script = "import sys, probe; dir(probe); sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_what_holds_tensors_is_equal_to_itself_alone():
    """A tensor has no truth value, so == by fields would raise."""
    packages = [probe, *(importlib.import_module(f"probe.{name}") for name in ("dynamics", "dictionary", "sparse"))]
    public = {getattr(package, name) for package in packages for name in package.__all__} | {Coordinates}
    holders = {one for one in public if is_dataclass(one) and any("Tensor" in str(its.type) for its in fields(one))}
    assert holders >= {probe.AttractorDictionary, probe.EndPoints, Coordinates}
    assert [one for one in holders - {probe.Autoencoder} if one.__eq__ is not object.__eq__] == []
    ends = probe.EndPoints(*torch.ones(8, 3))
    assert ends == ends
    assert ends != replace(ends)
    model = probe.load_autoencoder("embedded:cifar-plain")  # its tensors are within functions, modules and coordinates
    scaled = [replace(model, coordinates=Coordinates(offset=torch.ones(3))) for _ in range(2)]
    assert model == replace(model)
    assert scaled[0] != scaled[1]


def test_the_same_job_as_the_command(made):
    run, command = made
    one, two = (yaml.safe_load((path / "config.yaml").read_text()) for path in (run.path, command))
    assert one == two
    assert one["solver"]["max_steps"] == 40
    for name in ("dictionary.safetensors", "wandering.safetensors"):
        a, b = (read_tensors(path / name)[0] for path in (run.path, command))
        assert all(torch.equal(a[key], b[key]) or a[key].is_floating_point() for key in a), name
    said = [json.loads((path / "report" / "report.json").read_text())["datasets"] for path in (run.path, command)]
    assert [one["digits"]["verdict"] for one in said] == [one["digits"]["verdict"] for one in said][::-1]


def test_results_by_name(made):
    run, _ = made
    assert run.status.state == "complete"
    ends = run.end_points.to_pandas()
    assert list(ends.index) == list(range(8))
    assert set(ends["outcome"]) == {"converged"}
    assert run.end_points.outcomes == ["converged"] * 8
    atoms = run.dictionary.to_pandas()
    assert atoms["basin"].sum() == 8
    assert set(atoms["certificate"]) == set(run.dictionary.certificates) == {"attractor"}
    # f = tanh(2 m) copies one number: its derivative at +-0.9575 is 2 (1 - 0.9575^2).
    assert atoms["spectral_radius"].to_numpy() == pytest.approx(2 * (1 - 0.957504**2), rel=0.01)
    assert run.dictionary.ends.shape == (len(atoms), 3, 2, 2)
    assert run.config.solver.max_steps == 40


def test_the_report_is_a_long_table(made):
    run, _ = made
    table = run.report.to_pandas()
    content = json.loads((run.path / "report" / "report.json").read_text())
    level = content["datasets"]["digits"]["levels"][0]
    row = table[(table["atoms"] == level["atoms"]) & (table["method"] == "gaussian") & (table["metric"] == "pixel_mse")]
    expected = level["methods"]["gaussian"]["pixel_mse"]
    assert row[["mean", "low", "high"]].to_numpy().tolist() == [[expected["mean"], *expected["ci95"]]]
    assert run.report.verdicts == {"digits": content["datasets"]["digits"]["verdict"]}
    assert table["mean"].dtype.kind == "f"


def test_figures_by_name(made):
    run, _ = made
    assert {"fractions", "convergence", "steps", "digits_pixel_mse"} <= set(run.figures)
    for name in ("fractions", "digits_pixel_mse"):
        assert isinstance(run.figure(name), Figure)
    assert run.figure("fractions")._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(probe.UserError, match=r"no figure 'nope'; choose one of steps, "):
        run.figure("nope")


def test_a_notebook_shows_it(made):
    run, _ = made
    for shown in (run, run.report, run.end_points, run.dictionary):
        assert len(repr(shown)) < 200
        assert "table" in tags(shown._repr_html_())
    assert repr(run) == f"<probe run {str(run.path)!r}: complete>"


def test_runs_are_compared_as_by_the_command(made, tmp_path):
    run, command = made
    app(["compare", str(run.path), str(command), "--out", str(tmp_path)], standalone_mode=False)
    found = probe.compare(run, command)
    assert found.verdict == json.loads((tmp_path / "compare.json").read_text())["verdict"]
    pd.testing.assert_frame_equal(found.to_pandas(), pd.read_csv(tmp_path / "compare.csv"))
    assert found.figure()._repr_png_().startswith(b"\x89PNG")
    assert repr(found) == "<Comparison: 2 runs, 1 data set>"
    assert "table" in tags(found._repr_html_())
    with pytest.raises(probe.UserError, match="needs two run directories"):
        probe.compare(run)


def test_images_of_a_data_set(made):
    run, _ = made
    drawn = load_images("digits", run.config.datasets["digits"], resolution=run.config.resolution)
    assert torch.equal(run.images("digits"), drawn.images)
    with pytest.raises(probe.UserError, match="no data set 'digit'; "):
        run.images("digit")


def test_text_from_outside_is_escaped(made, tmp_path):
    run, _ = made
    folder = tmp_path / "<b>bold"
    shutil.copytree(run.path, folder)
    file = folder / "report" / "report.json"
    content = json.loads(file.read_text())
    content["summary"] = ["<script>alert(1)</script>"]
    content["datasets"]["<i>x"] = content["datasets"].pop("digits")
    file.write_text(json.dumps(content))
    found = tags(probe.open_run(folder)._repr_html_())
    assert not {"script", "b", "i"} & set(found)


@pytest.mark.parametrize("kind", ["run", "older", "study", "ood", "roundtrip"])
def test_finished_folders_open(kind, tmp_path):
    run = probe.open_run(shutil.copytree(FINISHED / kind, tmp_path / kind))
    assert run.kind == ("run" if kind == "older" else kind)
    assert run.figures
    if kind == "older":
        with pytest.raises(probe.UserError, match="is missing; run `probe run"):
            _ = run.report
        assert "is missing" in run._repr_html_()
        return
    table = run.report.to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert len(table)
    assert run.report.verdicts
    assert "table" in tags(run._repr_html_())
    if kind != "run":
        with pytest.raises(probe.UserError, match="which has no images"):
            run.images("digits")
        with pytest.raises(probe.UserError, match="which has no end points"):
            _ = run.end_points


def test_tables_of_a_study_and_of_ood():
    study = probe.open_run(FINISHED / "study").report
    assert list(study.to_pandas()) == ["section", "architecture", "column", "mean", "std", "low", "high", "n"]
    assert study.to_pandas().set_index("column").loc["d", "mean"] == 2
    ood = probe.open_run(FINISHED / "ood").report
    row = ood.to_pandas().set_index(["set", "score"]).loc[("noise", "trajectory")]
    expected = ood.sets["noise"].scores["trajectory"].auroc
    assert (row["auroc"], row["auroc_low"], row["auroc_high"]) == (expected.value, *expected.ci95)


def test_in_a_thread_and_nothing_stays_behind(tmp_path, capsys):
    log, before = logging.getLogger("probe"), {number: signal.getsignal(number) for number in signal.valid_signals()}
    state = (list(log.handlers), log.level, log.propagate)
    found: list[probe.Run | Exception] = []

    def work() -> None:
        try:
            found.append(probe.run(FINISHED / "run.yaml", out=tmp_path / "thread"))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(300)
    assert repr(found[0]) == f"<probe run {str(tmp_path / 'thread')!r}: complete>"
    again = probe.run(FINISHED / "run.yaml", out=tmp_path / "thread")
    assert again.report == found[0].report  # type: ignore[union-attr]
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
    assert (list(log.handlers), log.level, log.propagate) == state
    assert capsys.readouterr().out == ""


def test_configurations_of_all_forms(tmp_path):
    config = load_config(FINISHED / "run.yaml", ["datasets={}"])
    run = probe.run(config, out=tmp_path / "object")
    assert run.report.verdicts == {}
    settings = yaml.safe_load((FINISHED / "study.yaml").read_text())
    study = probe.run(settings, out=tmp_path / "study", samples=3)
    assert (study.kind, study.config.samples, settings["samples"]) == ("study", 3, 2)
    ood = probe.run(str(FINISHED / "ood.yaml"), out=str(tmp_path / "ood"), set={"outside.noise.n": 3})
    assert (ood.kind, ood.config.outside["noise"].n) == ("ood", 3)


@pytest.mark.parametrize(
    ("config", "more", "message"),
    [
        ("absent.yaml", {}, "absent.yaml cannot be read"),
        (FINISHED / "run.yaml", {"solver__max_stps": 3}, "did you mean 'max_steps'"),
        (FINISHED / "run.yaml", {"resolution__side": 3}, "'resolution' holds a value"),
        ({"model": {"source": "nothing"}}, {}, "out is missing"),
    ],
)
def test_a_mistake_is_a_user_error(config, more, message, tmp_path, monkeypatch):
    with pytest.raises(probe.UserError, match=message):
        probe.run(config, **more)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(probe.UserError, match="is not the directory of a run"):
        probe.open_run(tmp_path)


@pytest.mark.parametrize(("kind", "what"), [("run", "a run"), ("study", "a study"), ("ood", "an experiment on OOD")])
def test_a_path_inside_of_a_run_names_its_directory(kind, what):
    for name in ("config.yaml", "manifest.json", "report"):
        with pytest.raises(probe.UserError, match=rf"lies in the directory of {what}.*; name .*: .*/{kind}$"):
            probe.open_run(FINISHED / kind / name)


def test_a_configuration_of_something_else_above_is_no_run(tmp_path):
    (tmp_path / "config.yaml").write_text("learning_rate: 3")
    (tmp_path / "runs").mkdir()
    with pytest.raises(probe.UserError, match="is not the directory of a run"):
        probe.open_run(tmp_path / "runs")


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "mine.yaml").write_text("resolution: 32")
    with pytest.raises(probe.UserError, match=r"mine.yaml is a file; name the directory of a run"):
        probe.open_run(tmp_path / "mine.yaml")


def test_find_attractors_names_what_it_found():
    f = lambda z: torch.tanh(2 * z)  # noqa: E731
    ends, dictionary = probe.find_attractors(f, (1, 1, 2))
    assert set(ends.outcomes) == {"converged"}
    assert len(dictionary) == 4
    assert dictionary.certificates == ["attractor"] * 4
