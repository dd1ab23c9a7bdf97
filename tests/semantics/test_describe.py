"""Labels, nearest images and diversity of embeddings whose answers are known."""

import math

import pytest
import torch

from probe.metrics.sets import vendi_score
from probe.semantics.describe import describe, unrelated


def test_vendi_scores_in_closed_form():
    one = torch.nn.functional.normalize(torch.ones(1, 5), dim=1)
    assert vendi_score(one.expand(7, 5)) == pytest.approx(1)
    assert vendi_score(torch.eye(6)) == pytest.approx(6)
    # Two groups, 3 and 1 of 4: exp of the entropy of (3/4, 1/4).
    groups = torch.eye(2)[[0, 0, 0, 1]]
    assert vendi_score(groups) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
    # A cosine c: eigenvalues (1 + c) / 2 and (1 - c) / 2.
    c = 0.6
    pair = torch.tensor([[1.0, 0.0], [c, math.sqrt(1 - c * c)]])
    assert vendi_score(pair) == pytest.approx(math.exp(-0.8 * math.log(0.8) - 0.2 * math.log(0.2)), rel=1e-6)
    with pytest.raises(ValueError, match="n >= 1"):
        vendi_score(torch.empty(0, 3))


def test_labels_and_neighbours():
    words, names = torch.eye(4), ["cat", "dog", "galaxy", "noise"]
    points = torch.nn.functional.normalize(torch.tensor([[3.0, 1, 0, 0], [0, 0, 5, 1], [0, 2, 0, 0]]), dim=1)
    noise = torch.nn.functional.normalize(torch.tensor([[1.0, 1, 1, 1.1]]), dim=1).expand(20, 4)
    images = torch.eye(4)[[2, 0, 0]]
    found = describe(points, noise, images, words, names)
    assert [names[i] for i in found.label] == ["cat", "galaxy", "dog"]
    assert found.label_similarity.tolist() == pytest.approx([3 / math.sqrt(10), 5 / math.sqrt(26), 1])
    assert found.nearest.tolist()[:2] == [1, 0]
    assert found.above_noise.tolist() == [True] * 3
    summary = found.summary
    assert summary["above_noise"] == 1
    assert summary["common_label"]["noise"] == {"label": "noise", "share": 1.0}
    assert summary["vendi"]["n"] == 3
    assert summary["vendi"]["noise"] == pytest.approx(1)
    assert summary["vendi"]["end_points"] == pytest.approx(vendi_score(points))
    assert summary["vendi"]["images"] == pytest.approx(vendi_score(images))


def test_labels_of_noise_are_not_above_noise():
    rows = torch.nn.functional.normalize(torch.randn(2000, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    found = describe(rows[:1000], rows[1000:], rows[:0], torch.eye(8), list("abcdefgh"))
    assert found.summary["above_noise"] == pytest.approx(0.05, abs=0.03)
    assert found.nearest.tolist() == [-1] * 1000
    assert found.summary["nearest_similarity"]["end_points"] is None


def test_two_different_rows_over_all_pairs():
    rows = torch.nn.functional.normalize(torch.randn(12, 5, generator=torch.Generator().manual_seed(0)) + 1, dim=1)

    def by_pairs(e: torch.Tensor) -> float:
        pairs = [float(e[i] @ e[j]) for i in range(len(e)) for j in range(len(e)) if i != j]
        return sum(pairs) / len(pairs)

    found = unrelated(rows)
    assert found["mean"] == pytest.approx(by_pairs(rows), abs=1e-6)
    without = torch.tensor([by_pairs(torch.cat([rows[:i], rows[i + 1 :]])) for i in range(12)])
    half = 2.201 * math.sqrt(11 / 12 * float((without - without.mean()).square().sum()))
    assert found["ci95"] == pytest.approx([found["mean"] - half, found["mean"] + half], abs=1e-5)
    assert unrelated(rows[:1]) == {"mean": None, "ci95": None}
    assert unrelated(rows[:2]) == {"mean": pytest.approx(by_pairs(rows[:2]), abs=1e-6), "ci95": None}
    assert unrelated(rows[:9])["ci95"] is None


@pytest.mark.parametrize("n", [10, 40])
def test_the_interval_of_two_different_rows_holds_the_truth_as_often_as_it_says(n: int):
    generator, truth, held = torch.Generator().manual_seed(1), 0.0, 0
    direction = torch.nn.functional.normalize(torch.ones(6), dim=0)
    many = torch.nn.functional.normalize(direction + torch.randn(200_000, 6, generator=generator) / 2, dim=1)
    truth = float(many.mean(0).square().sum())
    for draw in many[: 1000 * n].view(1000, n, 6):
        low, high = unrelated(draw)["ci95"]
        held += low <= truth <= high
        assert high <= 1
    assert 0.91 <= held / 1000 <= 0.98
