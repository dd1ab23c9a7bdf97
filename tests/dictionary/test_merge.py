"""Merging against a brute-force reference, and its promises."""

import pytest
import torch

from probe.dictionary import merge as merging
from probe.dictionary import merge_by_cosine, merge_by_euclid, merge_certified, with_origin


def clusters(seed: int, sizes: list[int], d: int = 24, spread: float = 0.01) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(sizes), d, generator=generator)
    rows = [c + spread * torch.randn(n, d, generator=generator) for c, n in zip(centres, sizes, strict=True)]
    return torch.cat(rows)


def test_separated_clusters_become_atoms_by_basin_size():
    merge = merge_by_cosine(clusters(0, [3, 10, 6]), 0.99)
    assert merge.basin.tolist() == [10, 6, 3]
    assert merge.components == 3
    assert merge.member.tolist() == [2] * 3 + [0] * 10 + [1] * 6


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_promises_on_overlapping_points(threshold):
    points = clusters(1, [30, 30, 30], d=6, spread=0.4)
    merge = merge_by_cosine(points, threshold)
    unit = torch.nn.functional.normalize(points, dim=1)
    kept = unit[merge.leader]
    between = kept @ kept.T - 2 * torch.eye(len(kept))
    assert between.max() <= threshold + 1e-6  # no two atoms exceed the threshold
    own = (unit * kept[merge.member]).sum(1)
    assert own.min() > threshold - 1e-6  # every point is near its leader
    assert torch.equal(merge.basin, torch.bincount(merge.member))
    assert merge.components <= len(merge.leader)


def test_points_at_the_origin_are_one_atom_more():
    points = clusters(3, [2, 6])
    points[[1, 4, 5]] = 0.0
    priority = torch.zeros(8, dtype=torch.long)
    priority[1] = 1
    plain = merge_by_cosine(points, 0.99, priority)
    merge = with_origin(plain, points, priority)
    assert merge.basin.tolist() == [4, 3, 1]
    assert merge.member.tolist() == [2, 1, 0, 0, 1, 1, 0, 0]
    assert merge.leader[1] == 4  # start 1 comes later, by its priority
    assert (merge.components, plain.components) == (3, 2)
    alone = torch.zeros(3, 5)
    merge = with_origin(merge_by_cosine(alone), alone, priority[:3])
    assert (merge.leader.tolist(), merge.basin.tolist(), merge.member.tolist()) == ([0], [3], [0, 0, 0])


def test_the_atoms_do_not_depend_on_the_order_of_arrival():
    points = clusters(2, [5, 9, 4, 7], spread=0.005)
    shuffle = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    assert merge_by_cosine(points).basin.tolist() == merge_by_cosine(points[shuffle]).basin.tolist()


def test_a_point_of_lower_priority_number_leads_its_basin():
    points = torch.eye(4)[[0, 0, 0]]
    assert merge_by_cosine(points, priority=torch.tensor([2, 0, 0])).leader.tolist() == [1]
    angles = torch.tensor([0.0, 0.1, -0.1])  # the first is near both others, these only near the first
    fan = torch.stack([angles.cos(), angles.sin()], 1)
    assert merge_by_cosine(fan).leader.tolist() == [0]
    assert merge_by_cosine(fan, priority=torch.tensor([1, 0, 1])).leader.tolist() == [1, 2]


def test_chains_are_cut_by_leaders_and_joined_by_components():
    angles = torch.linspace(0, 1.5, 40)
    chain = torch.stack([angles.cos(), angles.sin()], 1)
    merge = merge_by_cosine(chain, 0.99)
    assert merge.components == 1
    assert len(merge.leader) > 3


def test_the_origin_has_no_direction():
    merge = merge_by_cosine(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert merge.member.tolist() == [-1, 0]


def test_euclid_tells_a_ray_apart_where_cosine_cannot():
    ray = torch.linspace(1, 5, 9)[:, None] * torch.ones(1, 8)
    assert len(merge_by_cosine(ray).leader) == 1
    assert len(merge_by_euclid(ray, 0.05).leader) == 9
    assert len(merge_by_euclid(torch.ones(5, 8), 0.05).leader) == 1


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_euclid_knows_no_scale(scale):
    points = torch.cat([torch.tensor([[1.0, 0.0]]) * (1 + 0.2 * k) for k in range(5)] * 2)
    near, far = merge_by_euclid(points), merge_by_euclid(points * scale)
    assert len(far.leader) == 5
    assert torch.equal(far.member, near.member)


@pytest.mark.parametrize("block", [1024, 7])
def test_certified_attractors_join_the_first_that_leads(monkeypatch: pytest.MonkeyPatch, block: int):
    """In blocks or at once as one after the other; the last one of all is at the origin."""
    monkeypatch.setattr(merging, "CERTIFIED", block)
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(200, 3, generator=generator)
    points[-1] = 0
    distance = 0.3 * torch.rand(200, generator=generator) ** 4
    x, near = points.double(), distance.double()
    norm = x.norm(dim=1)
    first: list[int] = []
    for i in range(200):
        joins = [
            j
            for j in range(i)
            if first[j] == j
            and ((x[i] - x[j]).norm() <= near[i] + near[j] or x[i] @ x[j] > 0.99 * norm[i] * norm[j] > 0)
        ]
        first.append(joins[0] if joins else i)
    assert merge_certified(points, distance).tolist() == first
    assert 20 < len(set(first)) < 180
