"""Verdicts of studies across training, of convergence and of contraction, on results made up to have them."""

import json

import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from probe.metrics.separation import fpr95
from probe.report.study import study_table, write_study_report
from probe.report.study.across_training import CHANGES, difference
from probe.results.files import write_tensors
from probe.studies.sweeps.contraction import record as ratios
from probe.studies.sweeps.convergence import Convergence
from probe.studies.sweeps.convergence import record as steps
from probe.studies.sweeps.kinds import parse_study_config

pytestmark = pytest.mark.usefixtures("undrawn")

IMAGES = {"datasets": {"made-up": {"train": {"source": "folder:a", "n": 40}, "test": 8, "side": 28}}}


def begin(path, **settings):
    config = parse_study_config(settings)
    (path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    source = {"n_used": 40, "source": {"source": "folder:a"}}
    data = {"made-up": {"train": source, "test": source, "channels": 1, "side": 28, "sha256": "00"}}
    (path / "manifest.json").write_text(json.dumps({"command": "probe study x", "data": data}))


def write(path, name, values, tensors):
    trained = {"dataset": "made-up", "k": 2, "size": 40, "seed": 0, "epochs": 4, "loss": [0.1]}
    write_tensors(path / "cells" / f"{name}.safetensors", tensors, {"model": {**trained, **values}})
    return f"cells/{name}.safetensors"


def samples(rng, level, n=60):
    """Of a checkpoint: everything of which a mean is claimed lies about ``level``, and noise is as far as 1 - level."""
    drawn = {name: rng.normal(level, 0.02, n) for name in ("mem", "test_error", "to_noise", "from_noise")}
    drawn |= {"share_train": np.full(n, 0.5), "share_noise": rng.normal(0.5 + level / 2, 0.02, n)}
    drawn |= {"score_train": rng.normal(0, 1, n), "score_noise": rng.normal(8 * (1 - level), 1, n)}
    return drawn | {"null_unseen": rng.normal(0.5, 0.02, n), "null_noise": rng.normal(0.2, 0.02, n)}


def checkpoint(drawn):
    def mean(name):
        return {"mean": float(drawn[name].mean()), "ci95": [0.0, 1.0]}

    share = {"outcomes": {"converged": 10, "cycle": 0, "max_steps": 50, "diverged": 0}, "euclidean": 0.5}
    kinds = ("train", "test", "noise", "noise_images")
    distinct = {kind: {"cosine": {"mean": 0.5, "ci95": [0.4, 0.6]}, **share} for kind in kinds}
    separation = dict.fromkeys(("noise", "noise_images"))
    norms = {kind: {"mean": 0.5, "ci95": [0.4, 0.6], "median": 0.5} for kind in kinds}
    nulls = {"unseen": mean("null_unseen"), "noise": mean("null_noise")}
    found = {"distinct": distinct, "mem": mean("mem"), "nulls": nulls, "test_error": mean("test_error")}
    chamfer = dict.fromkeys(kinds[1:], 0.5)
    return {**found, "train_error": None, "chamfer": chamfer, "separation": separation, "spectral_norm": norms}


def course(path, levels, seeds=(0, 1)):
    """A study whose checkpoints have these levels; its claims by name."""
    training = {"epochs": 4, "checkpoint_every": 2}
    begin(path, study="across_training", k=[2], seeds=list(seeds), training=training, **IMAGES)
    files, kept = [], []
    for seed in seeds:
        drawn = {epoch: samples(np.random.default_rng([seed, epoch]), level) for epoch, level in levels.items()}
        tensors = {f"{epoch}.{name}": torch.from_numpy(one) for epoch, s in drawn.items() for name, one in s.items()}
        pictures = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
        tensors |= {f"{epoch}.film": pictures.clone() for epoch in levels} | {"images": pictures}
        records = {str(epoch): checkpoint(one) for epoch, one in drawn.items()}
        files.append(write(path, f"made-up-{seed}", {"seed": seed, "checkpoints": records}, tensors))
        kept.append(drawn)
    content = write_study_report(path, files)
    return content, {claim["name"]: claim for claim in content["datasets"]["made-up"]["claims"]}, kept


def test_everything_falls_that_falls(tmp_path):
    content, claims, drawn = course(tmp_path, {0: 0.3, 2: 0.8, 4: 0.4})
    results = {name: claim["result"] for name, claim in claims.items()}
    falling = ("distinct_gap", "mem", "test_error", "fpr95_noise")
    assert {results[name] for name in falling} == {"holds"}
    assert results["chamfer_noise"] == "does not hold"  # it fell with the rest
    assert claims["mem"]["by_value"] == {"epoch 2": "holds", "the untrained network": "does not hold"}
    assert claims["mem"]["statistic"] == pytest.approx(-0.4, abs=0.02)
    assert list(claims["mem"]["levels"]) == ["untrained", "epoch 2", "epoch 4"]
    expected = [
        np.mean([fpr95(s[e]["score_train"], s[e]["score_noise"], higher="out") for s in drawn]) for e in (0, 2, 4)
    ]
    assert list(claims["fpr95_noise"]["levels"].values()) == pytest.approx(expected)
    gap = [np.mean([abs(s[e]["share_noise"].mean() - 0.5) for s in drawn]) for e in (0, 2, 4)]
    assert list(claims["distinct_gap"]["levels"].values()) == pytest.approx(gap)
    # 0.4 against unseen images at 0.5 and noise at 0.2.
    assert (results["null_unseen"], results["null_noise"]) == ("does not hold", "holds")
    words = content["datasets"]["made-up"]["verdicts_in_words"][1]
    assert words.startswith("memorization of the attractors falls: holds (difference -0.399")
    assert "2 seeds; untrained 0.3" in words
    assert words.endswith("; from the untrained network: does not hold")


def test_a_course_that_stands_still_is_undecided(tmp_path):
    _, claims, _ = course(tmp_path, {0: 0.5, 2: 0.5, 4: 0.5}, seeds=(0, 1, 2))
    decided = [name for name in CHANGES if claims[name]["result"] != "undecided"]
    assert len(decided) <= 1  # one in twenty by chance


def test_the_interval_of_a_change_is_that_of_scipy(tmp_path):
    _, claims, (drawn,) = course(tmp_path, {0: 0.3, 2: 0.8, 4: 0.4}, seeds=(5,))
    a, b = drawn[4]["mem"], drawn[2]["mem"]
    boot = stats.bootstrap(
        (a, b), lambda a, b, axis: a.mean(axis) - b.mean(axis), method="percentile", rng=0
    ).confidence_interval
    # 2000 resamples: an end errs by 4 % of the width, which is 0.014.
    assert claims["mem"]["ci95"] == pytest.approx((boot.low, boot.high), abs=0.002)


def test_one_end_point_and_rounding_decide_nothing():
    """A change of 6e-8 is none; the mean over one end point has no interval, unless several seeds have one each."""
    same, other = {"mem": np.full(9, 0.5)}, {"mem": np.full(9, 0.5 + 6e-8)}
    assert difference([same], [other], CHANGES["mem"]) == (0, (0, 0))
    lone = [{"mem": np.array([level])} for level in (0.5, 0.6, 0.7)]
    assert difference(lone[:1], lone[1:2], CHANGES["mem"]) == (pytest.approx(-0.1), None)
    _, (low, high) = difference(lone, [{"mem": np.array([0.9])}] * 3, CHANGES["mem"])
    assert low == pytest.approx(-0.4)
    assert high == pytest.approx(-0.2)


def test_what_was_not_measured_is_undecided_and_the_page_still_stands(tmp_path):
    training = {"epochs": 4, "checkpoint_every": 2}
    begin(tmp_path, study="across_training", k=[2], seeds=[0], training=training, **IMAGES)
    drawn = {
        name: np.empty(0) if name.startswith("score") else one
        for name, one in samples(np.random.default_rng(0), 0.5).items()
    }
    tensors = {
        f"{epoch}.{name}": torch.tensor(one.tolist(), dtype=torch.float64)
        for epoch in (0, 2, 4)
        for name, one in drawn.items()
    }
    pictures = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    tensors |= {f"{epoch}.film": pictures.clone() for epoch in (0, 2, 4)} | {"images": pictures}
    records = {str(epoch): {**checkpoint(drawn), "mem": None} for epoch in (0, 2, 4)}
    content = write_study_report(tmp_path, [write(tmp_path, "one", {"checkpoints": records}, tensors)])
    claims = {claim["name"]: claim for claim in content["datasets"]["made-up"]["claims"]}
    assert (claims["fpr95_noise"]["result"], claims["fpr95_noise"]["statistic"]) == ("undecided", None)
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("data:image/svg+xml") == 2
    assert "fpr95" not in page.lower() or "undecided" in page
    assert study_table(content)["made-up"].row_count == 3


def convergence(path, noise, shift=1.0):
    """Three models of eight attractors, whose starts take the predicted steps up to a factor."""
    begin(path, study="convergence", k=[2, 8], seeds=[0, 1], **IMAGES)
    files, rng = [], np.random.default_rng(0)
    for k, seed in ((2, 0), (2, 1), (8, 0), (8, 1)):
        attractor = torch.arange(80) % 8
        predicted = torch.from_numpy(rng.uniform(20, 200, 8))[attractor]
        actual = (predicted * shift * torch.from_numpy(np.exp(rng.normal(0, noise, 80)))).round().long()
        found = Convergence(predicted, actual, torch.full((80,), 0.9).double(), attractor, 100)
        values = {"k": k, "seed": seed, **steps(found)}
        tensors = {name: getattr(found, name) for name in ("predicted", "actual", "radius", "attractor")}
        tensors |= {"error": found.error, "null_error": found.null_error}
        files.append(write(path, f"{k}-{seed}", values, tensors))
    content = write_study_report(path, files)
    return content, {claim["name"]: claim for claim in content["datasets"]["made-up"]["claims"]}


def test_predictions_that_are_right(tmp_path):
    content, claims = convergence(tmp_path, noise=0.05)
    assert {claim["result"] for claim in claims.values()} == {"holds"}
    assert claims["order"]["by_value"] == {"2": "holds", "8": "holds"}
    assert (claims["order"]["n"], claims["order"]["over"]) == (32, "attractors")  # of four models, none of them shared
    assert claims["error"]["statistic"] == pytest.approx(
        claims["error"]["levels"]["prediction"] - claims["error"]["levels"]["constant"]
    )
    rows = content["datasets"]["made-up"]["points"]
    assert [row["value"] for row in rows] == [2, 8]
    assert rows[0]["columns"]["share_used"]["mean"] == 0.8
    assert rows[0]["columns"]["ratio"]["mean"] == pytest.approx(1, abs=0.05)
    assert (tmp_path / "report" / "figures" / "made-up.png").exists()


def test_predictions_that_order_the_starts_and_are_far_off(tmp_path):
    _, claims = convergence(tmp_path, noise=0.05, shift=20.0)
    assert (claims["order"]["result"], claims["error"]["result"]) == ("holds", "does not hold")


def test_no_start_that_was_used(tmp_path):
    begin(tmp_path, study="convergence", k=[2], seeds=[0], **IMAGES)
    none = torch.empty(0, dtype=torch.float64)
    found = Convergence(none, none.long(), none, none.long(), 100)
    tensors = {
        name: getattr(found, name) for name in ("predicted", "actual", "radius", "attractor", "error", "null_error")
    }
    content = write_study_report(tmp_path, [write(tmp_path, "one", steps(found), tensors)])
    assert {claim["result"] for claim in content["datasets"]["made-up"]["claims"]} == {"undecided"}
    assert "made-up: in 1 of 1 models less than half of the starts" in content["warnings"][0]


def test_one_architecture_that_expands_is_enough(tmp_path):
    made = {
        "shrinks": [0.5, 0.6, 0.7],
        "grows": [2.0, 2.1, 3.0],
        "either <b>": [0.5, 1.5, 1.2],
    }
    begin(tmp_path, study="contraction", seeds=[0, 1, 2])
    files = []
    for i, (name, latents) in enumerate(made.items()):
        values = ratios(name, 4 if name == "shrinks" else 8, [0.1, 0.2, 0.3], latents)
        write_tensors(tmp_path / "cells" / f"{i}.safetensors", {}, {"model": values})
        files.append(f"cells/{i}.safetensors")
    content = write_study_report(tmp_path, files)
    (section,) = content["datasets"].values()
    inputs, latents = section["claims"]
    assert (inputs["result"], latents["result"]) == ("holds", "does not hold")
    assert inputs["statistic"] == pytest.approx(0.2)
    assert latents["by_value"] == {"shrinks": "holds", "grows": "does not hold", "either <b>": "undecided"}
    assert section["verdicts_in_words"][1].endswith("holds for 1, undecided at either <b>, does not hold at grows")
    page, text = (tmp_path / "report" / "report.html").read_text(), (tmp_path / "report" / "report.md").read_text()
    assert "<b>\n" not in page
    assert "either &lt;b&gt;" in page
    assert "3 architectures with random weights" in page
    assert "(figures/contraction.png)" in text
    assert [point["value"] for point in section["points"]] == list(made)
    assert r"| shrinks | 4.00 | 0.200 \[0.100, 0.300] |" in text
