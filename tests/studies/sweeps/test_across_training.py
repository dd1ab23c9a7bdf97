"""Trajectory scores in closed form; a training's checkpoints, measured and drawn."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from probe.autoencoders.base import Autoencoder
from probe.config import SolverConfig
from probe.report.study.across_training import film_strip, training_figure, write_checkpoints
from probe.studies.sweeps.across_training import STARTS, CheckpointSettings, across_training, measure_checkpoint
from probe.studies.sweeps.kinds import AcrossTrainingMeasure
from probe.studies.trajectories import trajectory_scores

SOLVER = SolverConfig(tolerance=1e-8, certificates=0)


def test_score_of_a_halving_map_is_a_geometric_mean():
    """z_t = z_0 / 2^t, attractor 0: the mean of |z_0| 2^-t over t = 0..T, T the first with |z_0| 2^-T / 2 < 1e-3."""
    z = torch.tensor([[1.0, 0.0], [0.0, 8.0], [0.0, 0.0]])
    expected = []
    for size in (1.0, 8.0, 0.0):
        last = max(math.ceil(math.log2(size / 2 / 1e-3)), 0) if size else 0
        expected.append(sum(size / 2**t for t in range(last + 1)) / (last + 1))
    found = trajectory_scores(lambda z: z / 2, z, torch.zeros(1, 2), max_steps=100, tolerance=1e-6).trajectory
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("together", [1, 2, 7])
def test_scores_by_brute_force_whatever_is_computed_together(together):
    generator = torch.Generator().manual_seed(0)
    z, reference = torch.randn(7, 3, generator=generator), torch.randn(4, 3, generator=generator)
    expected = []
    for one in z:
        path = [one]
        for _ in range(6):
            path.append(torch.tanh(2 * path[-1]))
        expected.append(torch.cdist(torch.stack(path).double(), reference.double()).amin(1).mean().item())
    found = trajectory_scores(lambda z: torch.tanh(2 * z), z, reference, max_steps=6, tolerance=0.0, together=together)
    assert found.trajectory.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_trajectory_that_leaves_the_ball_ends_before():
    """3^t, t = 0..12, of which 3^12 = 531441 is the last below a million."""
    z = torch.tensor([[1.0], [0.0]])
    found = trajectory_scores(lambda z: z * 3, z, torch.zeros(1, 1), max_steps=50, tolerance=1e-12).trajectory
    assert found.tolist() == pytest.approx([sum(3**t for t in range(13)) / 13, 0])


def patterns(n: int, seed: int) -> torch.Tensor:
    """Pictures (n, 3, 4, 4), each near one of two: the left half bright, or the upper half."""
    rng = np.random.default_rng(seed)
    base = np.zeros((2, 3, 4, 4))
    base[0, :, :, :2] = base[1, :, :2] = 200
    return torch.from_numpy((base[rng.integers(0, 2, n)] + rng.integers(0, 40, (n, 3, 4, 4))).astype(np.uint8))


def memory(images: torch.Tensor, sharp: float) -> Autoencoder:
    """Latents are pixels, and D recalls: a softmax over stored pictures, the more of a memory the sharper."""
    stored = images.flatten(1).float() / 255

    def recall(z: torch.Tensor) -> torch.Tensor:
        flat = z.flatten(1)
        weights = torch.softmax(-sharp * (flat[:, None] - stored.to(flat)).square().sum(2), 1)
        return (weights @ stored.to(flat)).view(-1, 3, 4, 4)

    return Autoencoder("memory", "Memory", lambda x: x.flatten(1), recall, (), image_range=(0.0, 1.0), side=4)


@pytest.fixture(scope="module")
def course():
    train, test = patterns(12, 0), patterns(10, 1)
    models = {"vague": memory(train, 0.01), "sharp": memory(train, 1000.0)}
    settings = CheckpointSettings(SOLVER, 12, AcrossTrainingMeasure(euclidean=0.01, points=4, film=3))
    return train, across_training(models, lambda model: model, train, test, settings)


def test_a_memory_keeps_its_images_and_an_average_does_not(course):
    _, found = course
    vague, sharp = (found.values["checkpoints"][name] for name in ("vague", "sharp"))
    # Sharp: every training image is fixed. Vague: all starts run to the mean.
    assert sharp["mem"]["mean"] == pytest.approx(1, abs=1e-5)
    assert sharp["distinct"]["train"]["euclidean"] == 1
    assert vague["distinct"]["train"] == {
        "cosine": {"mean": pytest.approx(1 / 12), "ci95": pytest.approx([1 / 12, 1 / 12])},
        "euclidean": 1 / 12,
        "outcomes": {"converged": 12, "cycle": 0, "max_steps": 0, "diverged": 0},
    }
    assert vague["mem"]["mean"] < sharp["mem"]["mean"]
    assert sharp["train_error"]["mean"] < 1e-8 < vague["train_error"]["mean"]
    assert sharp["test_error"]["mean"] > 1e-4
    # Test starts end in training images, too; everything ends in the mean of the vague one.
    assert vague["chamfer"] == {kind: pytest.approx(1, abs=1e-5) for kind in STARTS[1:]}
    assert sharp["chamfer"]["test"] > 0.9
    assert vague["spectral_norm"]["train"]["mean"] < 0.5


def test_noise_is_told_from_training_starts_by_its_way(course):
    _, found = course
    # Training images lie on their attractors, and their score is 0; noise has a way to go.
    sharp = found.values["checkpoints"]["sharp"]["separation"]
    for noise in ("noise", "noise_images"):
        assert sharp[noise]["fpr95_train"] == {"mean": 0.0, "ci95": [0.0, 0.0]}
        assert sharp[noise]["auroc_train"]["mean"] == 1.0
    # N(0, I) lies further from any picture than pictures that were not trained on.
    assert sharp["noise"]["auroc_test"]["mean"] > 0.9


def test_means_are_over_the_samples(course):
    train, found = course
    values = found.values["checkpoints"]["sharp"]
    samples = {name.removeprefix("sharp."): one for name, one in found.tensors.items() if name.startswith("sharp.")}
    # Every start ends in a training image, and by cosine these are two: a start counts with 1 / those of its pattern.
    upper = train.flatten(1).float()[:, 4 * 4 // 2 - 1] > 100
    sizes = torch.where(upper, upper.sum(), (~upper).sum())
    assert samples["share_train"].tolist() == pytest.approx((1 / sizes).tolist())
    assert [float(samples[f"share_{kind}"].sum()) for kind in STARTS] == pytest.approx([2] * 4)
    for kind in STARTS[1:]:
        halves = [float(samples[f"{way}_{kind}"].mean()) for way in ("to", "from")]
        assert values["chamfer"][kind] == pytest.approx(sum(halves) / 2, abs=1e-6)
    for noise in ("noise", "noise_images"):
        inside, outside = (samples[f"score_{kind}"] for kind in ("train", noise))
        assert values["separation"][noise]["fpr95_train"]["mean"] == float(
            (outside <= inside.sort().values[11]).double().mean()  # 95 % of 12 are 12
        )
    assert len(samples["mem"]) == 12
    assert samples["test_error"].mean().item() == pytest.approx(values["test_error"]["mean"])


def test_film_table_and_figure(course, tmp_path):
    train, found = course
    assert torch.equal(found.tensors["images"], train[:3])
    assert torch.equal(found.tensors["sharp.film"], train[:3])
    json.dumps(found.values, allow_nan=False)
    arrays = {name: one.numpy() for name, one in found.tensors.items()}
    assert write_checkpoints(tmp_path, found.values, arrays, "title").rows[1][0] == "sharp"
    lines = (tmp_path / "checkpoints.md").read_text().splitlines()
    assert len(lines) == 4
    assert lines[3].startswith("| sharp | ")
    axes = training_figure(found.values["checkpoints"], "title").axes
    assert len(axes) == 6
    assert [len(one.get_legend().get_texts()) for one in axes] == [4, 3, 2, 3, 4, 4]
    film_strip(train[:3].numpy(), {"fewer": arrays["sharp.film"][:2]})


def test_a_model_that_sends_everything_away(tmp_path):
    """No end point is left: what rests on them is null, and the report still stands."""
    train = patterns(6, 0)
    away = replace(memory(train, 1.0), decoder=lambda z: 1e4 * (1 + z.view(-1, 3, 4, 4).abs()))
    settings = CheckpointSettings(SOLVER, 6, AcrossTrainingMeasure(points=2, film=2))
    one = measure_checkpoint(away, train, train, settings)
    assert one.values["mem"] is None
    assert one.values["chamfer"] == dict.fromkeys(STARTS[1:])
    assert one.values["separation"] == {"noise": None, "noise_images": None}
    arrays = {"images": train[:2].numpy(), "0.film": one.tensors["film"].numpy()}
    (row,) = write_checkpoints(tmp_path, {"checkpoints": {"0": one.values}}, arrays, "title").rows
    assert row[:4] == ["0", "0", "0", "-"]
