"""Ranks against all orders that intervals allow, and against cases worked out by hand."""

from itertools import permutations

import numpy as np
import pytest

from probe.board.ranks import ranks


def of_their_own(runs):
    return {run: run for run in runs}


@pytest.mark.parametrize("seed", range(20))
def test_a_range_holds_the_places_in_all_orders_that_intervals_allow(seed: int):
    rng = np.random.default_rng(seed)
    runs = {f"r{i}": {"x": tuple(sorted(rng.uniform(0, 1, 2) * 0.5 + rng.uniform(0, 0.5)))} for i in range(5)}
    allowed = [
        order
        for order in permutations(runs)
        if not any(runs[b]["x"][1] < runs[a]["x"][0] for i, a in enumerate(order) for b in order[i + 1 :])
    ]
    places = {run: [order.index(run) + 1 for order in allowed] for run in runs}
    assert ranks(runs, of_their_own(runs)) == {run: (min(found), max(found)) for run, found in places.items()}


def test_data_sets_that_contradict_each_other_leave_a_tie():
    runs = {"a": {"x": (0.1, 0.2), "y": (0.8, 0.9)}, "b": {"x": (0.3, 0.4), "y": (0.6, 0.7)}}
    assert ranks(runs, of_their_own(runs)) == {"a": (1, 2), "b": (1, 2)}
    runs["b"]["y"] = (0.85, 0.95)  # overlaps: x decides
    assert ranks(runs, of_their_own(runs)) == {"a": (1, 1), "b": (2, 2)}


def test_runs_of_one_model_count_once():
    runs = {"a": {"x": (0.1, 0.2)}, "again": {"x": (0.15, 0.25)}, "b": {"x": (0.22, 0.4)}, "c": {"x": (0.5, 0.6)}}
    found = ranks(runs, {"a": "m", "again": "m", "b": "n", "c": "o"})
    # b overlaps one of the two runs of m, so m is not ahead of it; a, which is, is ahead of b.
    assert found == {"a": (1, 1), "again": (1, 2), "b": (1, 2), "c": (3, 3)}
