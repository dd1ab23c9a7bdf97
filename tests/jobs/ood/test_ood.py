"""OOD detection as a job: from images to report, resuming, refusing."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.metrics import roc_auc_score

from jobs.ood.directory import OodDirectory
from jobs.ood.stages import OodWork
from jobs.status import read_status
from jobs.stopping import Stopped
from jobs.worker import guarded
from jobs.worker import main as worker
from probe.autoencoders.convolutional import ConvAutoencoder
from probe.cli.main import app, main
from probe.dynamics import LatentMap
from probe.errors import UserError
from probe.report.ood.build import warnings
from probe.report.ood.schema import OodReport
from probe.results.files import read_tensors
from probe.studies.ood.config import parse_ood_config
from probe.studies.ood.images import as_taken

from ...figures import drawn
from ..conftest import do, shared_by

SETTINGS = {
    "train": {"k": 4, "epochs": 2, "batch_size": 16, "base_channels": 2, "device": "cpu", "initialisation": "he"},
    "resolution": 16,
    "inside": {
        "train": {"source": "bundled:histology", "n": 60},
        "test": {"source": "bundled:photographs", "n": 30},
    },
    "outside": {
        "textures": {"source": "bundled:textures", "n": 24, "group": "near"},
        "noise": {"source": "noise", "n": 20},
    },
    "solver": {"starts": 40, "max_steps": 30, "certificates": 2},
    "scores": ["trajectory", "steps", "knn", "reconstruction"],
    "neighbours": [2000, 3],
    "reencoded": 12,
    "resamples": 100,
}


def begin(path, **changes) -> OodWork:
    return OodWork(OodDirectory.create(path, parse_ood_config({**SETTINGS, **changes})))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the ranks have: the trained weights depend on the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An experiment made undisturbed."""
    path = tmp_path_factory.mktemp("whole") / "ood"
    with drawn(True):
        do(begin(path))
    return path


def scores(path):
    return pd.read_parquet(path / "scores.parquet")


def test_a_single_attractor_is_a_warning(whole):
    report = OodReport.model_validate_json((whole / "report" / "report.json").read_text())
    for distinct, warned in ((1, True), (2, False)):
        report.attractors |= {"distinct_converged": distinct, "outcomes": {"converged": 40}}
        assert any("reached the same attractor" in warning for warning in warnings(report)) == warned


def test_a_score_below_chance_is_a_warning(whole):
    report = OodReport.model_validate_json((whole / "report" / "report.json").read_text())
    paper = report.sets["noise"].scores["trajectory"].auroc
    for ci95, warned in (((0.1, 0.2), True), ((0.4, 0.6), False), ((0.8, 0.9), False), (None, False)):
        paper.ci95 = ci95
        assert any("noise: the trajectory score is below chance" in text for text in warnings(report)) == warned


def test_warnings_are_said_and_not_only_written(tmp_path, caplog):
    do(begin(tmp_path / "ood"))
    assert "warning: KNN, K = 2000: with 40 training latents this is the distance to the farthest one." in caplog.text


def test_where_noise_diverges_its_score_is_left_out_and_the_report_says_so(tmp_path, caplog):
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class Own:\n"
        "    image_range = (0.0, 1.0)\n"
        "    encode = staticmethod(lambda x: x)\n"
        "    def decode(self, z):\n"
        "        outside = ((z < 0) | (z > 1)).flatten(1).any(1)\n"
        "        return torch.where(outside.view(-1, 1, 1, 1), 1e4 + z.abs(), z / 2)\n"
        "def load():\n"
        "    return Own()\n"
    )
    model = {"source": f"python:{tmp_path}/own.py:load", "device": "cpu"}
    changes = {"train": None, "model": model, "scores": ["trajectory", "trajectory_noise"], "reencoded": 0}
    report = do(begin(tmp_path / "ood", **changes))
    assert list(report["scores"]) == ["trajectory"]
    said = "All 40 starts from noise diverged, so there are no attractors from noise, and the score"
    assert any(said in warning for warning in report["warnings"])
    assert said in caplog.text
    assert said in (tmp_path / "ood" / "report" / "report.md").read_text()


def test_fewer_images_than_planned_are_a_warning(tmp_path):
    few = {"textures": {"source": "bundled:textures", "n": 2000}}
    report = do(begin(tmp_path / "ood", outside=few, scores=["knn"], reencoded=0))
    used = report["sets"]["textures"]["ends"]["n"]
    assert used < 2000
    assert report["warnings"][0] == f"textures: {used} of 2000 planned images were used."


def test_training_images_in_another_set_are_told(tmp_path):
    """An OOD set that is drawn from the source of the training images holds the first of them."""
    outside = {**SETTINGS["outside"], "again": {"source": "bundled:histology", "n": 7}}
    work = begin(tmp_path / "ood", outside=outside)
    do(work, "images")
    data = work.directory.manifest["data"]
    assert {name: one.get("shared_with_train") for name, one in data.items() if "shared_with_train" in one} == {
        "again": 7
    }
    assert data["again"]["notes"] == ["7 of 7 images are also training images (all pixels are equal)."]
    assert data["test"]["notes"] == []


def run_command(*arguments) -> int:
    try:
        return main(list(map(str, arguments)))
    except SystemExit as end:  # typer's, after a good end
        return int(end.code or 0)


def test_commands_of_a_run_say_what_the_folder_holds(whole, capsys):
    for command in ("theory", "export"):
        assert run_command(command, whole) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "holds an experiment on OOD detection, not a run" in said, command
    assert run_command("dictionary", whole) == 2
    told = "an experiment on OOD detection has no stage 'dictionary'; its stages are images, attractors, scores, report"
    assert told in " ".join(capsys.readouterr().err.split())


def test_single_stages_are_commands_of_an_experiment_too(whole, tmp_path, capsys):
    file, out = tmp_path / "ood.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    assert run_command("attractors", file.parent / "none") == 2
    assert run_command("images", file, "--out", out, "--json") == 0
    counts = {"train": 60, "test": 30, "textures": 24, "noise": 20, "reencoded-textures": 12}
    assert json.loads(capsys.readouterr().out) == counts
    assert run_command("report", out) == 2
    assert "references.safetensors is missing" in capsys.readouterr().err
    assert run_command("attractors", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["starts"] == 40
    for stage in ("scores", "report"):
        assert guarded(lambda stage=stage: worker(out, stage=stage)) == 0
    pd.testing.assert_frame_equal(scores(out), scores(whole))
    assert_same_report(out, whole)
    sessions = json.loads((out / "manifest.json").read_text())["sessions"]
    assert len(sessions) == 3  # a report alone is none
    before = (out / "report" / "report.json").read_bytes()
    assert run_command("report", out) == 0
    assert "KNN, K = 2000" in capsys.readouterr().out
    assert (out / "report" / "report.json").read_bytes() == before


def assert_same_report(one, two):
    """The reports agree in everything but provenance."""
    first, second = (json.loads((path / "report" / "report.json").read_text()) for path in (one, two))
    for report in (first, second):
        del report["provenance"]
    assert first == second


def assert_same_experiment(one, two):
    """Tables and reports are the same to the bit, and nothing intermediate is left."""
    pd.testing.assert_frame_equal(scores(one), scores(two))
    assert_same_report(one, two)
    assert not (one / "work").exists()


def test_independent_processes_share_the_scores(whole, tmp_path):
    work = begin(tmp_path / "ood")
    do(work, "images", "attractors")
    shared_by(3, work.directory, "scores")
    do(work, "report")
    assert_same_experiment(whole, tmp_path / "ood")


def test_from_images_to_report(whole):
    table = scores(whole)
    counts = {"test": 30, "textures": 24, "noise": 20, "reencoded-textures": 12}
    assert table["set"].value_counts().to_dict() == counts
    assert table["outcome"].isin(["converged", "max_steps", "diverged"]).all()
    report = json.loads((whole / "report" / "report.json").read_text())
    assert report["neighbours"] == {"knn_2000": 40, "knn_3": 3}  # there are 40 training latents
    assert any("the distance to the farthest one" in warning for warning in report["warnings"])
    assert {name: one["group"] for name, one in report["sets"].items()} == {"textures": "near", "noise": "far"}
    for name, one in report["sets"].items():
        chosen = table[table["set"].isin(["test", name])]
        for score, found in one["scores"].items():
            auroc = roc_auc_score(chosen["set"] == name, chosen[score])
            assert found["auroc"]["value"] == pytest.approx(auroc), (name, score)
    # Noise comes from no file, and bundled pictures from no compression: resizing is all that the control does.
    assert report["sets"]["noise"]["scores"]["trajectory"]["control"] is None
    assert report["sets"]["textures"]["encodings"] == {"decoded 64": 24}
    assert report["sets"]["textures"]["scores"]["trajectory"]["control"]["value"] == pytest.approx(0.5, abs=0.1)
    assert all(len(one["claims"]) == len(report["scores"]) - 1 for one in report["sets"].values())
    assert len(report["verdicts_in_words"]) == 4  # two K, two sets
    assert report["training"]["epochs"] == 2
    page = (whole / "report" / "report.html").read_text()
    assert "KNN, K = 2000" in page
    assert (whole / "report" / "report.md").read_text().count("| trajectory (paper) |") == 3
    figures = {file.name for file in (whole / "report" / "figures").iterdir()}
    assert {f"{name}.png" for name in ("overview", *report["scores"])} <= figures
    assert not (whole / "work").exists()


class Killed(BaseException):
    pass


def test_the_status_of_an_experiment(whole, tmp_path):
    status = read_status(whole)
    assert (status.state, [(stage.name, stage.done, stage.planned) for stage in status.stages]) == (
        "complete",
        [("images", 4, 4), ("attractors", 1, 1), ("scores", 4, 4), ("report", 1, 1)],
    )
    assert read_status(begin(tmp_path / "ood").directory.path).state == "new"


def test_the_status_after_the_images_were_killed_counts_the_sets_that_are_there(tmp_path, monkeypatch):
    from jobs.ood import stages as ood

    real = ood.draw_set

    def dies_at_the_third(config, name):
        if name == "textures":
            raise Killed
        return real(config, name)

    monkeypatch.setattr(ood, "draw_set", dies_at_the_third)
    work = begin(tmp_path / "ood")
    with pytest.raises(Killed):
        do(work)
    status = read_status(work.directory.path)
    assert status.state == "stopped"
    assert [(one.state, one.done, one.planned) for one in status.stages[:2]] == [("stopped", 2, 4), ("waiting", 0, 1)]


def test_starts_that_ended_before_a_stop_are_not_iterated_again(tmp_path, monkeypatch):
    """The map is constant for half of the starts, by their first coordinate, and takes the others away."""
    middle: list[float] = []
    evaluations: list[int] = []
    stops = [30]

    def two_speeds(f, z):
        evaluations.append(len(z))
        if len(evaluations) in stops:
            raise Stopped("now")
        middle.append(float(z[:, 0].median()))
        return torch.where(z[:, :1] > middle[0], torch.full_like(z, middle[0] + 5), z - 1)

    monkeypatch.setattr(LatentMap, "__call__", two_speeds)
    solver = {"starts": 40, "max_steps": 300, "certificates": 0}
    work = begin(tmp_path / "ood", solver=solver)
    do(work, "images")
    with pytest.raises(Stopped):
        do(work, "attractors")
    index = read_tensors(next(work.directory.path.glob("work/attractors/*")))[0]["index"]
    z0 = work.model.encode(as_taken(work.model, work.directory.images("train"))[:40].float() / 255)
    assert index.tolist() == (z0[:, 0] > middle[0]).nonzero().flatten().tolist()
    assert 0 < len(index) < 40
    evaluations.clear()
    stops.clear()
    again = OodWork(OodDirectory.open(work.directory.path))
    do(again, "attractors")
    assert evaluations[0] == 40 - len(index)
    plain = begin(tmp_path / "plain", solver=solver)
    do(plain, "images", "attractors")
    (one, about), (two, known) = (each.directory.load("references.safetensors") for each in (again, plain))
    assert about["facts"] == known["facts"]
    assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize("fact", ["sha256", "n_used"])
def test_a_manifest_without_a_fact_of_the_images_is_one_sentence(whole, tmp_path, capsys, fact):
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["data"]["test"][fact]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    for command in ("status", "report", "ood"):
        target = copy / "config.yaml" if command == "ood" else copy
        assert run_command(command, target, *(("--out", copy) if command == "ood" else ())) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"manifest.json is damaged (its entry data.test has no {fact})" in said, command


def test_what_was_killed_goes_on_to_the_same_table(whole, tmp_path, monkeypatch):
    """Killed inside the training, then after the first table; nothing is done twice."""
    from jobs.ood import stages as scoring
    from jobs.ood import stages as training

    path, real = tmp_path / "parts", training.train

    def train(images, **given):
        def kill(done, epochs, loss):
            raise Killed

        return real(images, **{**given, "on_epoch": kill, "save_every": 0})

    with monkeypatch.context() as patched:
        patched.setattr(training, "train", train)
        with pytest.raises(Killed):
            do(begin(path))
    scored = []
    score = scoring._score

    def once(ood, scorer, name, meter):
        if scored:
            raise Killed
        scored.append(name)
        score(ood, scorer, name, meter)

    with monkeypatch.context() as patched:
        patched.setattr(scoring, "_score", once)
        with pytest.raises(Killed):
            do(begin(path))
    first = path / "scores" / "test.parquet"
    written = first.stat().st_mtime_ns
    do(begin(path))
    assert first.stat().st_mtime_ns == written
    pd.testing.assert_frame_equal(scores(path), scores(whole))


def test_a_damaged_table_is_made_again_and_another_configuration_refused(whole, tmp_path, caplog):
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    file = copy / "scores" / "noise.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    do(OodDirectory.open(copy))
    assert f"{file} is computed again" in caplog.text
    pd.testing.assert_frame_equal(scores(copy), scores(whole))
    with pytest.raises(UserError, match=r"holds another ood, which differs in reencoded: 12 there, 13 now"):
        begin(copy, reencoded=13)


def test_other_weights_are_refused(tmp_path):
    def save(seed):
        torch.manual_seed(seed)
        ConvAutoencoder(3, 16, 2, 3).save_pretrained(tmp_path / "model")

    settings = {"train": None, "model": {"source": str(tmp_path / "model"), "device": "cpu"}, "scores": ["trajectory"]}
    save(0)
    do(begin(tmp_path / "out", **settings))
    assert list(scores(tmp_path / "out")) == ["set", "image", "id", "trajectory", "outcome"]
    (tmp_path / "out" / "scores" / "noise.parquet").unlink()
    save(1)
    with pytest.raises(UserError, match="was begun with another model, which differs in weights_sha256"):
        do(begin(tmp_path / "out", **settings))


def test_colour_images_and_a_grey_model(tmp_path):
    grey = {"train": {"source": "bundled:digits", "n": 40}, "test": {"source": "bundled:textures", "n": 10}}
    with pytest.raises(UserError, match="colour is in colour, but the model takes grey images"):
        do(begin(tmp_path / "out", inside=grey, outside={"colour": {"source": "bundled:histology", "n": 5}}))
    one = begin(tmp_path / "other", inside=grey, outside={"noise": {"source": "noise", "n": 5}}, solver={"starts": 5})
    assert len(do(one)["sets"]["noise"]["scores"]) == 5


def test_the_papers_model_with_random_weights(tmp_path, root, capsys):
    """configs/paper_vitmae_ood.yaml with a tiny ViT-MAE of random weights, and small images."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = dict.fromkeys(("hidden_size", "decoder_hidden_size"), 8)
    sizes |= dict.fromkeys(("image_size", "intermediate_size", "decoder_intermediate_size"), 16)
    layers = {"num_hidden_layers": 2, "decoder_num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "decoder_num_attention_heads": 2, "patch_size": 4, "initializer_range": 0.3}
    transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(**sizes, **layers, **heads)).save_pretrained(
        tmp_path / "mae"
    )
    settings = yaml.safe_load((root / "configs" / "paper_vitmae_ood.yaml").read_text())
    settings["inside"] = SETTINGS["inside"]
    settings["outside"] = SETTINGS["outside"]
    settings["reencoded"] = 5
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(settings))
    changes = ("resolution=16", f"model.source={tmp_path / 'mae'}", "model.device=cpu", "solver.max_steps=20")
    options = [
        text
        for change in (*changes, "solver.starts=20", "solver.certificates=0", "resamples=100")
        for text in ("--set", change)
    ]
    app(["ood", str(file), *options, "--out", str(tmp_path / "out"), "--json"], standalone_mode=False)
    report = json.loads(capsys.readouterr().out)
    assert report["model"]["latent_shape"] == [17, 8]
    assert report["training"] is None
    assert len(report["scores"]) == 13
    assert np.isfinite(scores(tmp_path / "out").select_dtypes("number").to_numpy()).all()


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "ood.yaml"
    file.write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    return file


@pytest.mark.busy(40)
@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_share_the_sets_and_give_the_same_tables_and_report(whole, config, tmp_path, start, count):
    """Whole, and one set for all ranks when the rest is there already."""
    out = tmp_path / "out"
    for _ in range(2):
        ranks = start(config, "--out", out, f"--world-size={count}", ranks=count)
        assert ranks.wait() == [0] * count, "".join(map(ranks.said, range(count)))
        assert_same_experiment(out, whole)
        (out / "scores" / "noise.parquet").unlink()
    sessions = json.loads((out / "manifest.json").read_text())["sessions"]
    assert [session["world_size"] for session in sessions] == [count, count]


@pytest.mark.busy
def test_each_stage_on_ranks_of_its_own_gives_the_same_experiment(whole, config, tmp_path, start):
    """As Slurm does it; the stage ``scores`` is stopped on the way, and both it and its ranks say so."""
    out = tmp_path / "out"
    assert start(config, "--out", out, "--stage", "images").wait() == [0]
    for stage in ("attractors", "scores", "report"):
        ranks = start(out, "--stage", stage, ranks=2)
        assert ranks.wait() == [0, 0], ranks.said(0) + ranks.said(1)
        stages = read_status(out).stages
        assert [one.state for one in stages if one.name == stage] == ["complete"]
    assert_same_experiment(out, whole)


def test_the_code_of_somebody_elses_experiment_is_not_run(tmp_path, monkeypatch, capsys):
    """As that of a run: only when this user named it, or says --trust-code."""
    sentinel = tmp_path / "sentinel"
    (tmp_path / "own.py").write_text(OWN.format(sentinel=str(sentinel)))
    model = {"source": f"python:{tmp_path}/own.py:load", "device": "cpu"}
    settings = {**SETTINGS, "train": None, "model": model, "scores": ["trajectory"], "reencoded": 0}
    theirs = OodDirectory.create(tmp_path / "out", parse_ood_config(settings)).path
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert run_command("images", theirs) == 0
    for command in (["attractors", theirs], ["ood", theirs / "config.yaml", "--out", theirs]):
        assert run_command(*command) == 2
        assert "--trust-code" in capsys.readouterr().err
    for stage in ("attractors", "all"):
        assert guarded(lambda stage=stage: worker(theirs, stage=stage)) == 2
        assert "own.py (sha256" in capsys.readouterr().err
    assert not sentinel.exists()
    assert run_command("attractors", theirs, "--trust-code") == 0
    assert sentinel.exists()
    assert run_command("ood", theirs / "config.yaml", "--out", theirs) == 0  # it is known by now


OWN = """
from pathlib import Path
import torch

Path({sentinel!r}).touch()

class Own:
    encode = staticmethod(torch.nn.AvgPool2d(4))

    def decode(self, z):
        return torch.nn.functional.interpolate(torch.tanh(z), scale_factor=4)

def load():
    return Own()
"""


def test_mistakes_are_one_sentence(tmp_path, capsys):
    file = tmp_path / "ood.yaml"
    file.write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    out = str(tmp_path / "out")
    assert main(["ood", str(file), "--out", out, "--set", "neighbors=[3]"]) == 2
    assert "did you mean 'neighbours'?" in capsys.readouterr().err
    assert main(["ood", str(file), "--out", out, "--set", "model.source=x"]) == 2
    assert "give either model" in capsys.readouterr().err
    assert main(["ood", str(file), "--out", out, "--set", "inside.test.source=bundled:histology"]) == 2
    assert "train and test are the same source" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
