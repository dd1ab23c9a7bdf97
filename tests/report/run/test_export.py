"""What leaves a run for tables, model cards and papers, read back by what others read it with."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import datasets
import matplotlib
import pandas as pd
import pytest
from huggingface_hub import DatasetCard, ModelCard

from probe.cli.main import app, main
from probe.files import write_atomically
from probe.methods import METRICS, label, metrics
from probe.report.figures.run import paper_figure
from probe.report.run.build import build_report
from probe.report.run.export import model_card, model_name, results
from probe.report.run.latex import HEAD, table_tex
from probe.report.run.schema import Borrowed, read_report
from probe.report.run.tables import known_metrics

from ...figures import drawn

pytestmark = pytest.mark.usefixtures("undrawn")

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


def test_the_card_of_a_run_that_borrows_names_whose_atoms_these_are(run: Path):
    report = read_report(run)
    lent = Borrowed(source="a/b", revision="0" * 40, sha256="1", atoms=77, certified=1, model="M", weights_sha256=None)
    card = model_card(report.model_copy(update={"borrowed": lent}))
    assert "| dictionary | 77 atoms of M from a/b@000000000000 |" in card
    assert f"| dictionary | {report.dictionary.atoms} atoms, " in model_card(report)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("embedded:cifar-kl", "cifar-kl"),
        ("stabilityai/sdxl-vae", "sdxl-vae"),
        ("python:tests/models/taef2.py:load", "taef2"),
        ("python:probe.bench.conv_ae:load", "conv_ae"),
        ("/home/x/models/mine/vae/", "mine-vae"),
        ("/cache/models--stabilityai--sd-vae/snapshots/31f26fdeee1355a5c34592e401dd41e45d25a493", "sd-vae"),
        ("/cache/0123456789abcdef", "cache"),
        ("/", "AutoencoderKL"),
    ],
)
def test_the_name_of_a_model_is_no_path_and_no_hash(run: Path, source: str, name: str):
    report = read_report(run)
    report.model.source = source
    assert model_name(report) == name
    report.provenance["config"]["model"]["subfolder"] = "vae"
    assert model_name(report) == f"{name}-vae"


def test_a_latex_table(make_run: Make, tmp_path: Path):
    folder = make_run(name="a_b", certificate=[1] * 5)
    write_atomically(folder / "report" / "report.json", json.dumps(build_report(folder)))
    app(["export", str(folder), "--out", str(tmp_path)], standalone_mode=False)
    text = (tmp_path / "table.tex").read_text()
    rules = ("toprule", "midrule", "bottomrule", "begin{tabular}{lr}")
    assert [text.count(f"\\{rule}") for rule in rules] == [1] * 4
    assert "a\\_b" in text
    lines = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0].splitlines()
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {1}
    assert all(line.endswith("\\\\") for line in lines)
    at = dict(line.removesuffix(" \\\\").split(" & ") for line in lines[: len(lines) // 2])
    reported = build_report(folder)["datasets"]["a_b"]["levels"][0]["methods"]
    assert float(at["attractors"]) == pytest.approx(reported["attractors"]["latent_mse"]["mean"], rel=0.005)
    known = {name: one["latent_mse"]["mean"] for name, one in reported.items() if "oracle" not in name}
    best = label(min(known, key=known.__getitem__))
    assert [name for name, cell in at.items() if "textbf" in cell] == [best]
    assert text.count("textbf") == 2  # by latent and by pixel MSE


def test_a_latex_table_of_awkward_names(run: Path):
    """What pdflatex accepts (tried with it): balanced environments and braces, each line with as many cells, and no
    sign that TeX would take for a command."""
    report = read_report(run)
    (one,) = report.datasets.values()
    names = ["a_b & c%", "~^\\{}$#", "<x>|y", "[z]", "*w"]
    report.datasets = dict.fromkeys(names, one)
    report.model.source = "hub/[m]_&%$#~^<>|{"
    text = table_tex(report)
    assert re.findall(r"\\(begin|end)\{(\w+)", text) == [
        ("begin", "table"),
        ("begin", "tabular"),
        ("end", "tabular"),
        ("end", "table"),
    ]
    bare = re.sub(r"\\[&%$#_{}]", "", text)
    assert bare.count("{") == bare.count("}")
    depth = 0
    for sign in bare:
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    head, _, body = text.partition("\\toprule\n")
    assert "\\begin{tabular}{lrrrrr}" in head
    lines = [line for line in body.partition("\\bottomrule")[0].splitlines() if line != "\\midrule"]
    assert all(line.endswith(" \\\\") for line in lines)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {5}
    assert not [line for line in lines if line.lstrip()[0] in "[*"]
    assert lines[0].startswith(r" & a\_b \& c\% & \textasciitilde{}\textasciicircum{}\textbackslash{}\{\}\$\# & ")
    assert r" & \textless{}x\textgreater{}\textbar{}y & {}[z] & {}*w \\" in lines[0]
    assert not re.findall(r"[%#~^<>|]", re.sub(r"\\[%#]", "", text.removeprefix(HEAD)))


def test_figures_by_name_and_all(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "drawn"
    app(["figure", str(run), "--out", str(folder), "--kind", "svg"], standalone_mode=False)
    made = {path.stem for path in folder.glob("*.svg")}
    assert {"forest_latent_mse", "forest_pixel_mse", "steps", "photos_latent_mse", "paper"} <= made
    assert sorted(capsys.readouterr().out.split()) == sorted(str(path) for path in folder.iterdir())
    app(["figure", str(run), "forest_pixel_mse", "--out", str(tmp_path / "one.png")], standalone_mode=False)
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    app(["figure", str(run), "steps"], standalone_mode=False)
    assert (run / "report" / "figures" / "steps.pdf").read_bytes().startswith(b"%PDF")


def test_a_path_of_this_machine_does_not_become_a_data_set(make_run: Make, tmp_path: Path):
    folder = make_run(source="parquet:/home/someone/secret.parquet")
    write_atomically(folder / "report" / "report.json", json.dumps(build_report(folder)))
    app(["export", str(folder), "--out", str(tmp_path)], standalone_mode=False)
    assert "/home/someone" not in (tmp_path / "model_card.md").read_text()


@pytest.mark.parametrize(
    ("source", "revision", "expected"),
    [
        ("hub:owner/photos/data/*-{0..9}.tar", "a" * 40, "owner/photos"),
        ("hub:owner/photos", "a" * 40, "owner/photos"),
        ("hub:/home/someone/photos", None, "photos"),
    ],
)
def test_the_type_of_a_data_set_is_its_id_on_the_hub_or_its_name(run: Path, source, revision, expected):
    report = read_report(run)
    report.datasets["photos"].source.update(source=source, revision=revision)
    assert {one.dataset_type for one in results(report)} == {expected}


def test_paper_figure(run: Path):
    report = read_report(run)
    report.datasets |= {f"more-{i}": report.datasets["photos"] for i in range(5)}
    with drawn(True):
        figure = paper_figure(report)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 6
    assert {(axes.get_xscale(), axes.get_yscale()) for axes in panels} == {("log", "log")}
    lines = {line.get_label(): line for line in panels[0].get_lines()}
    means = [level.methods["attractors"].pixel_mse.mean for level in report.datasets["photos"].levels]
    assert list(lines["end points"].get_xdata()) == [3, 6, 12]
    assert list(lines["end points"].get_ydata()) == means


def test_paper_figure_of_every_metric(run: Path, capsys: pytest.CaptureFixture[str]):
    report = read_report(run)
    known = known_metrics(report.datasets["photos"])
    assert {"latent_mse", "pixel_mse", "psnr", "ssim"} <= {metric.name for metric in METRICS} & set(known)
    for metric in known:
        with drawn(True):
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
    with drawn(True):
        app(["figure", str(run), "--paper"], standalone_mode=False)
    data = (run / "report" / "figures" / "paper.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert b"/Subtype /Image" not in data
    assert b"/FontFile2" in data  # TrueType
    assert not re.search(rb"/Subtype /Type3\b", data)
    with drawn(True):
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
    [
        (["figure", "RUN", "nope"], "has no figure 'nope'; choose from steps, "),
        (["figure", "RUN", "--out", "x.pdf"], "is one file: name one figure"),
        (["figure", "RUN", "--kind", "jpg"], "pdf, svg or png"),
        (["figure", "RUN", "--paper", "--out", "x.jpg"], "pdf, svg or png"),
    ],
)
def test_mistakes(run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main([str(run) if one == "RUN" else one for one in arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_data_set_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "new" / "rows"
    app(["export", str(run), "--dataset", str(folder), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == {"dataset": str(folder)}
    assert [one.name for one in folder.parent.iterdir()] == ["rows"]
    written = pd.read_parquet(run / "reconstructions" / "photos.parquet")  # pandas alone
    for found in (
        datasets.load_from_disk(folder)["train"],
        datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))["train"],
    ):
        frame = found.to_pandas()
        assert set(frame.pop("dataset")) == {"photos"}
        frame = frame.rename(columns={"index": "image", "image_id": "id"})
        pd.testing.assert_frame_equal(frame, written.dropna(axis=1, how="all"), check_dtype=False)
    card = DatasetCard((folder / "README.md").read_text())
    assert card.data.configs[0]["data_files"] == [{"split": "train", "path": "train/*.arrow"}]
    for column in found.column_names:
        assert f"| `{column}` |" in card.text
    for method in set(written["method"]):
        assert f"| `{method}` |" in card.text
    assert str(run) not in card.text
    assert build_report(run)["datasets"]["photos"]["sha256"] in card.text


def test_a_data_set_folder_that_is_there(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "empty")
    for folder in (tmp_path, *(tmp_path / name for name in ("mine.txt", "nowhere", "elsewhere"))):
        assert main(["export", str(run), "--dataset", str(folder)]) == 2
        assert "exists already; give a new folder, or remove it." in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--dataset", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x").exists()
