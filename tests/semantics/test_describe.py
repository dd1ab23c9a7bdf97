"""Labels, nearest images and diversity of embeddings whose answers are known."""

import math

import pytest
import torch

from probe.metrics.vendi import vendi_score
from probe.semantics.describe import describe


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
