"""Every way of finding neighbours gives the merge of the definition, in any order of arrival and in bounded memory."""

import numpy as np
import pytest
import torch

from probe.dictionary import cover, merge, merge_by_cosine, merge_by_euclid, near, points


def clusters(seed: int, n: int, count: int, d: int, spread: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(count, d, generator=generator), dim=1)
    which = torch.randint(count, (n,), generator=generator)
    return centres[which] + spread / d**0.5 * torch.randn(n, d, generator=generator)


def by_definition(rows: torch.Tensor, radius2: float, priority: np.ndarray | None = None) -> list[tuple[int, int]]:
    """Leaders and basins from the n x n matrix in float64, largest first; ties by the rows' bytes."""
    place = np.array([i for i, _ in sorted(enumerate(rows.numpy()), key=lambda item: item[1].tobytes())])
    x = rows.double()
    close = ((x[:, None] - x).square().sum(2) < radius2).numpy()
    rank = np.argsort(place)
    order = np.lexsort((rank, -close.sum(1), rank * 0 if priority is None else priority))
    owner = np.full(len(x), -1)
    for row in order:
        if owner[row] < 0:
            owner[close[row] & (owner < 0)] = row
    basins = {int(leader): int((owner == leader).sum()) for leader in np.unique(owner)}
    return sorted(basins.items(), key=lambda item: (-item[1], rank[item[0]]))


def outcome(found: merge.Merge) -> list[tuple[int, int]]:
    return list(zip(found.leader.tolist(), found.basin.tolist(), strict=True))


@pytest.fixture(params=["brute", "groups", "small blocks", "nothing kept", "few coordinates", "all cells"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Points compared with all others; in groups; in blocks smaller than a group; without lists from the first pass; in
    few coordinates first; from an inverted-file index of which all cells are searched."""
    if request.param == "few coordinates":
        monkeypatch.setattr(points, "FEW", 0)
        monkeypatch.setattr(points, "SHORT", 3)
    elif request.param == "all cells":
        monkeypatch.setattr(near, "WORK", 0)
        monkeypatch.setattr(near, "PROBES", (500,))
        monkeypatch.setattr(near, "BLOCK", 64)
    elif request.param != "brute":
        monkeypatch.setattr(cover, "SMALL", 0)
        monkeypatch.setattr(near, "SMALL", 0)
    if request.param == "small blocks":
        for module, size in ((cover, 37), (near, 19), (merge, 5)):
            monkeypatch.setattr(module, "BLOCK", size)
        monkeypatch.setattr(points, "ELEMENTS", 1)
    if request.param == "nothing kept":
        monkeypatch.setattr(near, "KEPT", 0)
    return request.param


@pytest.mark.parametrize(
    "spread", [1e-4, 0.03, 0.06, 0.1, 0.3], ids=["tight", "within", "wide", "overlapping", "apart"]
)
@pytest.mark.parametrize("ranked", [False, True])
def test_the_merge_is_the_one_of_the_definition(way: str, spread: float, ranked: bool):
    x = clusters(0, 400, 12, 16, spread)
    x[17] = x[201]  # a duplicate
    x = torch.nn.functional.normalize(x, dim=1)
    priority = torch.arange(400) % 3 if ranked else None
    found = merge_by_cosine(x, 0.99, priority)
    assert outcome(found) == by_definition(x, 0.02, None if priority is None else priority.numpy())
    assert torch.equal(found.basin, torch.bincount(found.member))


def test_distances_too(way: str):
    x = clusters(1, 300, 10, 6, 0.05) * torch.linspace(1, 30, 300)[:, None]
    radius2 = 0.05**2 * x.double().square().sum(1).mean().item()
    assert outcome(merge_by_euclid(x, 0.05)) == by_definition(x, radius2)


def test_groups_are_used_where_they_pay():
    x = torch.nn.functional.normalize(clusters(2, 6000, 20, 32, 0.03), dim=1)
    groups = near.near(points.Points(x), 0.02)
    assert isinstance(groups, near.Exact)
    assert len(groups.cover.pivot) == 20
    apart = torch.nn.functional.normalize(clusters(3, 6000, 6000, 32, 0.0), dim=1)
    assert len(near.near(points.Points(apart), 0.02).cover.pivot) == 1


@pytest.mark.parametrize("spread", [1e-4, 0.06], ids=["tight", "wide"])
@pytest.mark.parametrize("known", [False, True], ids=["by bytes", "by start"])
def test_the_same_points_are_chosen_in_any_order_of_arrival(way: str, spread: float, known: bool):
    x = clusters(4, 500, 9, 12, spread)
    priority, starts = torch.arange(500) % 2, torch.arange(500)
    first = merge_by_cosine(x, priority=priority, starts=starts if known else None)
    for seed in range(3):
        shuffle = torch.randperm(500, generator=torch.Generator().manual_seed(seed))
        again = merge_by_cosine(x[shuffle], priority=priority[shuffle], starts=shuffle if known else None)
        assert torch.equal(shuffle[again.leader], first.leader)
        assert torch.equal(again.basin, first.basin)
        assert torch.equal(again.member, first.member[shuffle])
        assert again.components == first.components
        distances = [merge_by_euclid(rows, 0.05).basin.tolist() for rows in (x, x[shuffle])]
        assert distances[0] == distances[1]


def test_ties_go_to_the_lower_start(way: str):
    x = clusters(9, 60, 3, 12, 1e-4)
    starts = torch.arange(60).flip(0) + 100
    leader = merge_by_cosine(x, starts=starts).leader
    member = merge_by_cosine(x, starts=starts).member
    assert starts[leader].tolist() == [starts[member == k].min().item() for k in range(3)]


@pytest.mark.parametrize("count", [5, 700])
def test_duplicates_go_to_the_first_of_them(way: str, count: int):
    x = torch.randn(1, 10, generator=torch.Generator().manual_seed(0)).repeat(count, 1)
    for threshold in (0.99, 1 - 1e-9):
        found = merge_by_cosine(x, threshold)
        assert (outcome(found), found.components) == ([(0, count)], 1)
    assert outcome(merge_by_euclid(x, 1e-9)) == [(0, count)]


def test_a_chain_is_one_component(way: str):
    angles = torch.linspace(0, 1.5, 400)
    found = merge_by_cosine(torch.stack([angles.cos(), angles.sin()], 1), 0.9999)
    assert found.components == 1
    assert len(found.leader) > 50


def test_what_has_no_direction_takes_no_part(way: str):
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [torch.nan, 1.0], [2.0, 0.0], [torch.inf, 0.0]])
    assert merge_by_cosine(x).member.tolist() == [-1, 0, -1, 0, -1]
    assert merge_by_euclid(x).basin.tolist() == [1, 1, 1]
    assert merge_by_euclid(x).member[[2, 4]].tolist() == [-1, -1]
    nothing = merge_by_cosine(torch.zeros(3, 2))
    assert (nothing.member.tolist(), len(nothing.leader), nothing.components) == ([-1] * 3, 0, 0)
    assert merge_by_euclid(torch.zeros(3, 2)).basin.tolist() == [3]
    assert len(merge_by_cosine(torch.empty(0, 2)).leader) == 0


@pytest.mark.parametrize("spread", [1e-4, 0.06], ids=["tight", "wide"])
def test_one_basin_does_not_need_a_list_for_every_point(monkeypatch: pytest.MonkeyPatch, spread: float):
    """All points are neighbours of nearly all: n^2 = 1.4e8 pairs, of which a tile holds few."""
    sizes = []
    within = points.Points.within

    def counted(self: points.Points, a: np.ndarray, b: np.ndarray, radius2: float):
        found = within(self, a, b, radius2)
        sizes.append(len(a) * len(b))
        return found

    monkeypatch.setattr(points.Points, "within", counted)
    found = merge_by_cosine(clusters(5, 12_000, 1, 8, spread), 0.99)
    assert found.components == 1
    assert found.basin[0] > 11_000
    assert max(sizes) <= 1024 * 2**14
    if spread < 1e-3:  # a tight group is counted, not compared
        assert sum(sizes) < 1024**2 + 128 * 12_000 + 1


def test_close_calls_do_not_depend_on_the_tile():
    """A pair on the threshold, far from the origin: float32 tiles could say either; differences decide."""
    x = torch.tensor([[1000.0, 0.0], [1000.0, 1.0], [1000.0, 2.0]])
    found = points.Points(x)
    rows = np.arange(3)
    assert [len(found.within(rows, rows, radius2)[0]) for radius2 in (0.999, 1.0, 1.001)] == [3, 3, 7]


def test_beyond_the_limit_an_approximate_index_says_its_recall(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(near, "WORK", 1e4)
    x = clusters(6, 5000, 2000, 24, 0.03)
    found = merge_by_cosine(x)
    monkeypatch.undo()
    exact = merge_by_cosine(x)
    assert exact.recall == 1
    assert near.ENOUGH <= found.recall <= 1
    assert abs(len(found.leader) - len(exact.leader)) <= 0.01 * len(exact.leader)
    assert torch.equal(found.basin, torch.bincount(found.member))


def test_a_poor_index_says_so(monkeypatch: pytest.MonkeyPatch):
    """Points about the origin, in two cells each of nearly 180: pairs that neither cell of a point holds are lost."""
    monkeypatch.setattr(near, "PROBES", (2,))
    x = points.Points(torch.randn(2000, 8, generator=torch.Generator().manual_seed(7)))
    poor, exact = near.Approximate(x, 4.0), near.Exact(x, 4.0, cover.no_cover(2000))
    found, there = (one.degrees()[0].sum() - 2000 for one in (poor, exact))
    assert found / there < 0.9
    assert poor.recall == pytest.approx(found / there, abs=1e-9)  # the sample is all points


def test_few_groups_are_exact_whatever_the_number_of_points(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(near, "WORK", 1e8)  # all pairs are 1e9
    found = merge_by_cosine(clusters(8, 6000, 50, 24, 0.02))
    assert (len(found.leader), found.recall) == (50, 1.0)


def grid(n: int, d: int, seed: int) -> torch.Tensor:
    """Whole numbers far from the origin: the squared distances of many pairs are exactly the same whole number."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (n, d), generator=generator).float() + 1000


@pytest.mark.parametrize("index", ["exact", "few coordinates", "cells"])
@pytest.mark.parametrize("radius2", [9 - 1e-9, 9.0, 9 + 1e-9])
def test_pairs_on_the_threshold_are_decided_in_float64(monkeypatch: pytest.MonkeyPatch, index: str, radius2: float):
    x = grid(700, 24, 0)
    if index != "exact":
        monkeypatch.setattr(points, "FEW", 0)
        monkeypatch.setattr(points, "SHORT", 12)
    rows = points.Points(x)
    assert (rows.short is None) == (index == "exact")
    monkeypatch.setattr(near, "PROBES", (10_000,))
    found = near.Approximate(rows, radius2) if index == "cells" else near.Exact(rows, radius2, cover.no_cover(len(x)))
    count = ((x[:, None] - x).double().square().sum(2) < radius2).sum(1)
    assert found.degrees()[0].tolist() == count.tolist()
    assert (count > 1).any()


def test_the_few_coordinates_never_hide_a_neighbour(monkeypatch: pytest.MonkeyPatch):
    """Pairs that differ along one principal direction only, by just less than the radius: nothing is to spare."""
    monkeypatch.setattr(points, "FEW", 0)
    x = torch.randn(3000, 80, generator=torch.Generator().manual_seed(1)) * torch.linspace(3, 0.1, 80)
    first = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=False)[2][0].float()
    shifted = torch.cat([x, x + 0.4999999 * first])
    near_enough = ((shifted[3000:].double() - x).square().sum(1) < 0.25).nonzero().squeeze(1).tolist()
    assert 1000 < len(near_enough) < 3000  # float32 rounds some to beyond the radius
    at, to = points.Points(shifted).within(np.arange(3000), np.arange(3000, 6000), 0.25)
    assert {*zip(at.tolist(), to.tolist(), strict=True)} >= {(k, k) for k in near_enough}


@pytest.mark.parametrize(("spread", "kept"), [(1e-4, True), (0.06, True), (0.06, False), (0.1, True)])
def test_an_index_of_recall_1_merges_as_the_exact_search_does(
    monkeypatch: pytest.MonkeyPatch, spread: float, kept: bool
):
    """Clusters of Zipf's sizes, some across several cells, most in a few."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.nn.functional.normalize(torch.randn(300, 32, generator=generator), dim=1)
    which = torch.multinomial(1 / torch.arange(1.0, 301), 4000, replacement=True, generator=generator)
    x = centres[which] + spread / 32**0.5 * torch.randn(4000, 32, generator=generator)
    exact = merge_by_cosine(x)
    monkeypatch.setattr(near, "WORK", 0)
    if not kept:
        monkeypatch.setattr(near, "KEPT", 0)
    found = merge_by_cosine(x)
    assert (found.exact, found.recall) == (False, 1.0)
    assert found.sampled > 1000
    assert found.components == exact.components
    assert torch.equal(found.member, exact.member)


def test_leaders_that_a_poor_index_left_near_each_other_are_merged(monkeypatch: pytest.MonkeyPatch):
    x = torch.nn.functional.normalize(clusters(10, 3000, 40, 12, 0.15), dim=1)
    monkeypatch.setattr(near, "PROBES", (1,))
    monkeypatch.setattr(near, "WORK", 1e8)  # all pairs take 2e8, those of the leaders less
    found = merge_by_cosine(x)
    assert (found.exact, found.recall < 0.99) == (False, True)
    leader = x[found.leader].double()
    apart = (leader[:, None] - leader).square().sum(2) + torch.eye(len(leader))
    assert apart.min() >= 0.02
    assert torch.equal(found.basin, torch.bincount(found.member))


def test_a_poor_index_says_the_same_whether_pairs_are_kept_or_not(monkeypatch: pytest.MonkeyPatch):
    """Of one cell for each point; there are no more components than atoms, as in the exact search."""
    x = torch.nn.functional.normalize(clusters(3, 3000, 40, 12, 0.08), dim=1)
    monkeypatch.setattr(near, "PROBES", (1,))
    monkeypatch.setattr(near, "WORK", 3e6)
    kept = merge_by_cosine(x)
    monkeypatch.setattr(near, "KEPT", 0)
    found = merge_by_cosine(x)
    assert (found.exact, found.recall < 0.9) == (False, True)
    assert torch.equal(found.member, kept.member)
    assert found.components == kept.components <= len(found.leader)
