"""OOD scores against closed forms, scikit-learn, and a map whose fixed points are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from probe.autoencoders.base import Autoencoder
from probe.dynamics import Outcome
from probe.errors import UserError
from probe.metrics.interval import on_side
from probe.scores import SCORES, label
from probe.studies.ood.config import load_ood_config, parse_ood_config
from probe.studies.ood.scores import Mahalanobis, Neighbours, Scorer, error_ratio, references
from probe.studies.trajectories import trajectory_scores

SIDE = 4


def test_all_trajectory_scores_of_a_halving_map():
    """z_t = (8, 0) / 2^t to the fixed point 0, references (1, 0) and (0, 3): distances are |8 / 2^t - 1| to the first
    (nearest throughout), directions agree with it, and the field at the start is z_0 / 2."""
    z, reference = torch.tensor([[8.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    found = trajectory_scores(lambda z: z / 2, z, reference, max_steps=100, tolerance=0.25)
    # ||f(z) - z||^2 = |z|^2 / 4 < 1/4 first at |z| = 1/2: t = 4.
    assert found.steps.tolist() == [4]
    assert found.start.tolist() == pytest.approx([7])
    assert found.field.tolist() == pytest.approx([4])
    assert found.end_point.tolist() == pytest.approx([0.5])
    assert found.trajectory.tolist() == pytest.approx([(7 + 3 + 1 + 0 + 0.5) / 5])
    assert found.trajectory_fixed.tolist() == pytest.approx([(7 + 3 + 1 + 0 + 97 * 0.5) / 101])
    assert found.trajectory_noise is None
    again = trajectory_scores(lambda z: z / 2, z, reference, max_steps=100, tolerance=0.25, noise=torch.zeros(1, 2))
    assert again.trajectory_noise.tolist() == pytest.approx([(8 + 4 + 2 + 1 + 0.5) / 5])
    assert again.trajectory.tolist() == found.trajectory.tolist()
    assert found.trajectory_unit.tolist() == pytest.approx([0], abs=1e-7)
    assert found.outcome.tolist() == [Outcome.CONVERGED]


def test_directions_of_a_turning_map():
    """A rotation by a quarter turn: unit distances to the direction (1, 0) are 0, sqrt 2, 2, sqrt 2, whatever norms."""
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    found = trajectory_scores(
        lambda z: z @ turn, torch.tensor([[5.0, 0.0]]), torch.tensor([[0.1, 0.0]]), max_steps=3, tolerance=1e-6
    )
    assert found.trajectory_unit.tolist() == pytest.approx([(0 + 2**0.5 + 2 + 2**0.5) / 4])
    assert found.outcome.tolist() == [Outcome.MAX_STEPS]
    assert found.steps.tolist() == [3]


def test_a_diverging_trajectory_has_the_most_steps():
    z = torch.tensor([[1.0], [0.0]])
    found = trajectory_scores(lambda z: z * 10, z, torch.zeros(1, 1), max_steps=50, tolerance=1e-12, max_norm=1e3)
    assert found.outcome.tolist() == [Outcome.DIVERGED, Outcome.CONVERGED]
    assert found.steps.tolist() == [50, 0]
    broken = trajectory_scores(lambda z: z * torch.nan, z, torch.zeros(1, 1), max_steps=5, tolerance=1e-12)
    assert broken.field.tolist() == [torch.inf, torch.inf]
    assert broken.trajectory.tolist() == [1, 0]


@pytest.mark.parametrize("together", [1, 3, 64])
def test_trajectories_do_not_depend_on_what_is_computed_together(together):
    generator = torch.Generator().manual_seed(0)
    z, reference = torch.randn(11, 3, generator=generator), torch.randn(4, 3, generator=generator)

    def scores(starts, together):
        return vars(
            trajectory_scores(lambda z: 0.9 * torch.sin(2 * z), starts, reference, max_steps=40, tolerance=1e-8,
                              together=together)
        )  # fmt: skip

    whole, parts = scores(z, 11), scores(z.split(2), together)  # parts of 2, taken when there is room
    assert whole.pop("trajectory_noise") is None
    for name, values in whole.items():
        assert torch.allclose(parts[name].double(), values.double(), rtol=1e-6, atol=1e-7), name


@pytest.mark.parametrize("k", [1, 5, 2000])
def test_neighbours_as_scikit_learn_says(k):
    rng = np.random.default_rng(0)
    training, z = 50 + rng.normal(size=(30, 6)), 50 + rng.normal(size=(9, 6))  # far from the origin
    used = min(k, 30)
    expected = NearestNeighbors(n_neighbors=used).fit(training).kneighbors(z)[0][:, -1]
    found = Neighbours(torch.from_numpy(training).view(30, 2, 3))(torch.from_numpy(z).view(9, 2, 3), (2, k))[k]
    # float32, of coordinates near 50: 50 * 6e-8 in each, 1e-5 in a distance.
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize(("n", "d"), [(200, 5), (12, 40)])  # more latents than dimensions, and fewer
def test_mahalanobis_as_scikit_learn_says(n, d):
    rng = np.random.default_rng(0)
    training, z = rng.normal(size=(n, d)) * np.linspace(0.1, 3, d) + 1, rng.normal(size=(7, d))
    fit = LedoitWolf().fit(training)
    found = Mahalanobis(torch.from_numpy(training))
    assert found.shrinkage == pytest.approx(fit.shrinkage_)
    assert found(torch.from_numpy(z)).square().tolist() == pytest.approx(fit.mahalanobis(z).tolist())
    with pytest.raises(ValueError, match="all equal"):
        Mahalanobis(torch.ones(5, 2))


def halving() -> Autoencoder:
    """z is an image's pixels, and D halves what differs from grey: one attractor, the grey image."""
    return Autoencoder(
        "halving", "Halving", lambda x: x.flatten(1), lambda z: (z / 2 + 0.25).view(-1, 3, SIDE, SIDE), (),
        image_range=(0.0, 1.0), side=SIDE,
    )  # fmt: skip


def config(**changes):
    images = {"source": "bundled:digits", "n": 9}
    settings = {
        "model": {"device": "cpu"},
        "inside": {"train": images, "test": {**images, "source": "bundled:textures"}},
        "outside": {"noise": {"source": "noise", "n": 5}},
        "neighbours": [3],
        "solver": {"certificates": 1, "tolerance": 1e-8},
    }
    return parse_ood_config({**settings, **changes})


def pictures(n: int, seed: int, spread: int) -> torch.Tensor:
    """uint8 (n, 3, 4, 4), about grey."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(128 - spread, 128 + spread, (n, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)


def test_scores_of_a_model_with_one_attractor():
    known = references(halving(), pictures(9, 0, 20), config())
    assert known.facts["outcomes"]["converged"] == 9
    assert (known.facts["distinct_converged"], known.facts["certified"]) == (1, 1)
    assert torch.allclose(known.attractors, torch.full((9, 48), 0.5), atol=1e-3)
    scorer = Scorer(halving(), known, config())
    x = pictures(6, 1, 100)
    found = scorer(x)
    moving = [
        "trajectory",
        "trajectory_fixed",
        "trajectory_unit",
        "trajectory_noise",
        "end_point",
        "start",
        "steps",
        "field",
    ]
    still = ["knn_3", "mahalanobis", "reconstruction", "reconstruction_ratio"]
    assert list(found) == [*moving, "outcome", *still]
    away = (x.double() / 255 - 0.5).flatten(1).norm(dim=1)
    # End points are within 1e-4 of grey, each way: residual 1e-4 leaves as much of the way at a radius of 1/2.
    assert found["start"].tolist() == pytest.approx(away.tolist(), abs=2e-4)
    assert found["field"].tolist() == pytest.approx((away / 2).tolist(), rel=1e-5)
    assert found["reconstruction"].tolist() == pytest.approx((away.square() / 4 / 48).tolist(), rel=1e-5)
    assert (found["end_point"] < 3e-4).all()
    # D(E(x)) - grey is half of x - grey, so the second error is a quarter of the first.
    assert found["reconstruction_ratio"].tolist() == pytest.approx([4.0] * 6, rel=1e-4)
    # Noise and training images lead to the one attractor there is.
    assert known.facts["noise"]["outcomes"]["converged"] == 9
    assert torch.allclose(known.noise, torch.full((9, 48), 0.5), atol=1e-3)
    assert found["trajectory_noise"].tolist() == pytest.approx(found["trajectory"].tolist(), abs=5e-4)
    # What is further from grey scores higher by every score.
    nearer = scorer(pictures(6, 2, 20))
    for name in set(found) - {"end_point", "outcome", "trajectory_unit", "reconstruction_ratio"}:
        assert found[name].min() > nearer[name].max(), name
    # A row by itself is the same.
    alone = scorer(x[3:4])
    assert all(alone[name].item() == pytest.approx(found[name][3].item(), rel=1e-5, abs=1e-6) for name in found)


def linear(f) -> Autoencoder:
    """z is an image's pixels, and D is f."""
    return replace(halving(), decoder=lambda z: f(z).view(-1, 3, SIDE, SIDE))


@pytest.mark.parametrize("a", [0.9, 0.5, 0.1])
def test_the_ratio_of_two_errors_of_a_shrinking_map(a):
    """F(x) = a x: errors (1 - a)^2 |x|^2 and a^2 (1 - a)^2 |x|^2, a ratio of 1 / a^2 for every image."""
    model, few = linear(lambda z: a * z), config(scores=["reconstruction_ratio"])
    known = references(model, pictures(9, 0, 20), few)
    assert known.noise is None
    found = Scorer(model, known, few)(pictures(5, 1, 100))
    assert list(found) == ["outcome", "reconstruction_ratio"]
    assert found["reconstruction_ratio"].tolist() == pytest.approx([1 / a**2] * 5, rel=1e-4)


def test_the_ratio_of_two_errors_of_a_projector():
    """F sets the right half to 0, exactly: the second pass changes nothing. An image that it keeps scores 0."""
    left = (torch.arange(SIDE) < SIDE // 2).float().repeat(3 * SIDE)
    model, few = linear(lambda z: z * left), config(scores=["reconstruction_ratio"])
    x = pictures(3, 1, 100)
    x[1, ..., SIDE // 2 :] = 0
    found = Scorer(model, references(model, x, few), few)(x)
    assert found["reconstruction_ratio"].tolist() == [torch.inf, 0, torch.inf]
    errors = torch.tensor([0.0, 1, 4, torch.inf]).double()
    assert error_ratio(errors, torch.tensor([0.0, 0, 2, torch.inf]).double()).tolist() == [0, torch.inf, 2, torch.inf]


def test_attractors_from_noise_are_others_where_images_do_not_lead():
    """f(z) = tanh(3 z) by coordinate has attractors +-c in each: images, which lie above 0, lead to (c, ..., c) only,
    and noise to all corners."""
    model = linear(lambda z: torch.tanh(3 * z))
    scored = config(scores=["trajectory", "trajectory_noise"], solver={"certificates": 0, "starts": 9})
    known = references(model, pictures(9, 0, 20), scored)
    assert known.facts["distinct_converged"] == 1
    assert known.facts["noise"]["starts"] == known.facts["noise"]["distinct_converged"] == 9
    c = known.attractors[0, 0]
    assert torch.allclose(torch.tanh(3 * c), c, atol=1e-3)
    assert torch.allclose(known.noise.abs(), c.expand(9, 48), atol=1e-2)
    found = Scorer(model, known, scored)(pictures(4, 1, 20))
    assert (found["trajectory_noise"] > found["trajectory"] + c).all()


def test_where_noise_diverges_its_score_is_left_out():
    """f(z) = z / 2 on [0, 1], where images lie, and far away elsewhere: all noise diverges, no image does."""

    def f(z: torch.Tensor) -> torch.Tensor:
        outside = ((z < 0) | (z > 1)).any(1, keepdim=True)
        return torch.where(outside, 1e4 * (1 + z.abs()), z / 2)

    known = references(linear(f), pictures(9, 0, 20), config())
    assert known.noise is None
    assert known.facts["noise"]["outcomes"]["diverged"] == 9
    assert (known.facts["noise"]["attractors"], known.facts["attractors"]) == (0, 9)
    found = Scorer(linear(f), known, config())(pictures(4, 1, 20))
    assert {*config().scores} - {"trajectory_noise", "knn"} <= {*found}
    assert "trajectory_noise" not in found
    with pytest.raises(UserError, match=r"from noise diverge.*name other scores than trajectory_noise"):
        references(linear(f), pictures(9, 0, 20), config(scores=["trajectory_noise"]))


def test_a_model_without_attractors_is_refused():
    away = replace(halving(), decoder=lambda z: 1e4 * (1 + z.view(-1, 3, SIDE, SIDE).abs()))
    with pytest.raises(UserError, match="all 9 starts diverge"):
        references(away, pictures(9, 0, 20), config())


def test_the_rule_of_a_claim():
    assert [on_side(ci95, 1) for ci95 in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0.0, 0.1), None)] == [
        "holds", "does not hold", "undecided", "undecided", "undecided",
    ]  # fmt: skip


def test_configurations_that_come_with_the_repository(root):
    paper, mnist, cifar = (
        load_ood_config(root / "configs" / f"{name}.yaml")
        for name in ("paper_vitmae_ood", "ood_mnist_small", "ood_cifar10_small")
    )
    assert (paper.solver.starts, paper.solver.max_steps, paper.solver.tolerance) == (2000, 500, 1e-5)
    assert paper.inside.train.dataset("train").split == "train"
    assert set(paper.outside) == {"sun397", "places365", "dtd", "inaturalist"}
    assert 2000 in paper.neighbours
    assert (mnist.train.k, mnist.train.initialisation) == (16, "he")
    assert set(mnist.outside) == {"fashion_mnist", "noise"}
    assert len(cifar.outside) == 7
    assert mnist.scores == tuple(one.name for one in SCORES)
    assert label("knn_10") == "KNN, K = 10"
    with pytest.raises(UserError, match="unknown score; scores are trajectory, trajectory_fixed, "):
        config(scores=["nearest"])
