"""What leaves a run for tables, model cards and papers, read back by what others read it with."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from huggingface_hub import ModelCard

from probe.cli.main import app, main
from probe.files import write_atomically
from probe.methods import METRICS, metrics
from probe.report.figures.run import paper_figure
from probe.report.run import build_report
from probe.report.run.build import read_report
from probe.report.run.tables import known_metrics

Make = Callable[..., Path]


@pytest.fixture
def run(make_run: Make) -> Path:
    folder = make_run()
    write_atomically(folder / "report" / "report.json", json.dumps(build_report(folder)))
    return folder


def test_levels(run: Path, tmp_path: Path):
    app(["export", str(run), "--out", str(tmp_path)], standalone_mode=False)
    table = pd.read_csv(tmp_path / "levels.csv")
    own = table[(table.method == "attractors") & (table.atoms == 6)].set_index("metric")
    reported = build_report(run)["datasets"]["photos"]["levels"][1]["methods"]["attractors"]
    assert own.loc["latent_mse", "mean"] == reported["latent_mse"]["mean"]
    assert own.loc["pixel_mse", ["low", "high"]].tolist() == reported["pixel_mse"]["ci95"]
    assert own.loc["latent_mse_minus_random_orthogonal", "mean"] == pytest.approx((0.43 - 0.61) / 2)
    assert set(table.n) == {20}
    against = reported["difference"]
    ratio = own.loc["latent_mse_over_random_orthogonal"]
    assert [ratio["mean"], ratio["low"], ratio["high"]] == [
        against["latent_ratio"]["mean"], *against["latent_ratio"]["ci95"]
    ]  # fmt: skip
    wide = own.loc["pixel_mse_minus_random_orthogonal", ["simultaneous_low", "simultaneous_high"]]
    assert wide.tolist() == against["pixel_mse"]["simultaneous"]
    assert own.loc["latent_mse_over_one_step", "mean"] == reported["difference_strongest"]["latent_ratio"]["mean"]
    sanity = table[table.method == "mean_image"].set_index("metric")
    assert sanity.loc["pixel_mse", "mean"] == pytest.approx(0.08)
    # 3 levels of 10 methods with 4 metrics and a ratio to the autoencoder, 2 differences and 2 ratios of 9 of them and
    # once more of the first, 4 spreads of bases; 3 metrics of the autoencoder and 4 of two sanity rows.
    assert len(table) == 3 * (10 * 5 + 9 * 4 + 4 + 4) + 3 + 2 * 4


def test_model_card(run: Path, tmp_path: Path):
    app(["export", str(run), "--out", str(tmp_path)], standalone_mode=False)
    card = ModelCard((tmp_path / "model_card.md").read_text())
    results = {one.metric_name: one for one in card.data.eval_results or []}
    assert len(results) == 4
    latent = results["latent MSE at 5 % of d, end points"]
    reported = build_report(run)["datasets"]["photos"]["levels"][0]["methods"]["attractors"]["latent_mse"]
    assert (latent.metric_value, latent.metric_args) == (reported["mean"], {"atoms": 3, "ci95": reported["ci95"]})
    assert (latent.dataset_name, latent.dataset_split, latent.metric_type) == ("photos", "test", "mse")
    assert card.data.model_name == "cifar-attractors"
    assert "ab" * 32 in card.text
    assert "cd" * 32 in card.text


def test_a_path_of_this_machine_does_not_become_a_data_set(make_run: Make, tmp_path: Path):
    folder = make_run(source="parquet:/home/someone/secret.parquet")
    write_atomically(folder / "report" / "report.json", json.dumps(build_report(folder)))
    app(["export", str(folder), "--out", str(tmp_path)], standalone_mode=False)
    assert "/home/someone" not in (tmp_path / "model_card.md").read_text()


def test_paper_figure(run: Path):
    report = read_report(run)
    report.datasets |= {f"more-{i}": report.datasets["photos"] for i in range(5)}
    figure = paper_figure(report)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 6
    assert {(axes.get_xscale(), axes.get_yscale()) for axes in panels} == {("log", "log")}
    drawn = {line.get_label(): line for line in panels[0].get_lines()}
    means = [level.methods["attractors"].pixel_mse.mean for level in report.datasets["photos"].levels]
    assert list(drawn["end points"].get_xdata()) == [3, 6, 12]
    assert list(drawn["end points"].get_ydata()) == means


def test_paper_figure_of_every_metric(run: Path, capsys: pytest.CaptureFixture[str]):
    report = read_report(run)
    known = known_metrics(report.datasets["photos"])
    assert {"latent_mse", "pixel_mse", "psnr", "ssim"} <= {metric.name for metric in METRICS} & set(known)
    for metric in known:
        axes = paper_figure(report, metric).axes[0]
        means = [level.methods["attractors"].of(metric).mean for level in report.datasets["photos"].levels]
        assert list(axes.get_lines()[0].get_ydata()) == means
        assert axes.get_yscale() == ("log" if metrics()[metric].better == "low" else "linear")
        assert axes.get_ylabel() == metrics()[metric].heading
    app(["figure", str(run), "--paper", "--metric", "psnr"], standalone_mode=False)
    capsys.readouterr()
    assert main(["figure", str(run), "--paper", "--metric", "clip"]) == 2
    assert f"{run} has no metric 'clip'; choose one of latent_mse, pixel_mse, psnr, ssim." in capsys.readouterr().err


def test_paper_figure_is_vector_with_its_fonts(run: Path):
    app(["figure", str(run), "--paper"], standalone_mode=False)
    data = (run / "report" / "figures" / "paper.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert b"/Subtype /Image" not in data
    assert b"/FontFile2" in data  # TrueType
    assert not re.search(rb"/Subtype /Type3\b", data)
    app(["figure", str(run), "--paper"], standalone_mode=False)
    assert (run / "report" / "figures" / "paper.pdf").read_bytes() == data
    assert matplotlib.rcParams["pdf.fonttype"] == 3  # global settings are not touched


@pytest.mark.parametrize("command", ["export", "figure"])
def test_a_report_of_another_schema_is_refused(run: Path, command: str, capsys: pytest.CaptureFixture[str]):
    path = run / "report" / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2}))
    assert main([command, str(run), *(["--paper"] if command == "figure" else [])]) == 2
    error = capsys.readouterr().err
    assert "its schema_version is 2, this probe reads 3" in error
    assert f"rerun `probe report {run}`" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["figure", "RUN"], "add --paper"), (["figure", "RUN", "--paper", "--out", "x.jpg"], "pdf, svg or png")],
)
def test_mistakes(run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main([str(run) if one == "RUN" else one for one in arguments]) == 2
    assert message in capsys.readouterr().err
