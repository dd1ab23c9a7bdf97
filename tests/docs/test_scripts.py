"""The scripts that write pages: nothing public is missing, and the drawing of the rooms has a top and a bottom."""

import functools
import importlib
from collections import Counter
from collections.abc import Callable
from types import ModuleType

import pytest

import probe
from probe.configuration import keys


def test_every_public_name_is_on_the_python_page(script: Callable[[str], ModuleType]):
    listed = [name for names in script("python_api").SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(probe.__all__)


def test_every_result_file_and_column_is_on_the_page(script: Callable[[str], ModuleType]):
    page, layout = script("run_directory").page(), script("run_directory").layout
    for files in layout.FILES.values():
        for one in files:
            assert f"`{one.pattern.partition(':')[0]}" in page
            assert all(f"`{column.name}`" in page for column in (*one.columns, *one.about))
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") in (3, 4) for line in rows)


def test_arrows_that_others_imply_are_left_out(script: Callable[[str], ModuleType]):
    rooms = script("rooms")
    edges = {("cli", "jobs"), ("jobs", "studies"), ("cli", "studies")}
    assert rooms.direct(edges) == {("cli", "jobs"), ("jobs", "studies")}
    assert rooms.levels(edges) == {"cli": 0, "jobs": 1, "studies": 2}


def test_rooms_that_import_each_other_in_a_circle_are_named(script: Callable[[str], ModuleType]):
    rooms = script("rooms")
    with pytest.raises(ValueError, match="circle"):
        rooms.levels({("a", "b"), ("b", "c"), ("c", "a")})
    assert rooms.one_way(Counter({("a", "b"): 3, ("b", "a"): 1})) == {("a", "b")}


def test_every_command_is_on_the_page(script: Callable[[str], ModuleType]):
    page = script("command_line").page()
    for name in ("probe run", "probe bench dynamics", "probe config", "probe submit"):
        assert f"### `{name}`" in page
    heads = [line for line in page.splitlines() if line.startswith("| ") and "option" in line.split("|")[1]]
    assert "| argument or option | meaning | default and range |" in heads
    assert "| | |" not in page.replace("-|", "")


def test_every_key_is_on_the_page(script: Callable[[str], ModuleType]):
    page = script("configuration").page()
    for one in keys():
        assert f"| `{one.key}` |" in page or f"### `{one.key}` " in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert all(line.replace("\\|", "").count("|") == 4 for line in rows)


def test_times_are_those_of_the_innermost_part(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch):
    shares, now = script("shares"), 0.0
    monkeypatch.setattr(shares.time, "perf_counter", lambda: now)
    clock = shares.Clock()

    def spend(seconds: float) -> None:
        nonlocal now
        now += seconds

    def values():
        spend(1)
        yield 1
        network(2)

    network = clock.timed("network f", spend)
    for _ in clock.timed("extrapolation and host", values)():
        spend(4)
    clock.timed("certificates", lambda: (network(8), spend(16)))()  # keeps what it calls
    clock.switch(shares.OTHER)
    assert clock.seconds == {"extrapolation and host": 1, "network f": 2, shares.OTHER: 4, "certificates": 24}


def test_every_function_that_is_timed_exists(script: Callable[[str], ModuleType]):
    shares = script("shares")
    for place in (place for places in shares.PARTS.values() for place in places):
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        assert name in vars(functools.reduce(getattr, owners, importlib.import_module(module))), place
    assert set(shares.PARTS) >= shares.WHOLE | shares.NETWORKS | shares.SPARSE
    drawn = shares.shown({"pursuit": 0.5, "network f": 0.2, "merge": 0.01, shares.OTHER: 0.29})
    assert list(drawn) == ["network f", "pursuit", shares.OTHER]
    assert sum(drawn.values()) == pytest.approx(1)


def test_the_table_of_the_replication_says_which_published_cells_lie_within_the_spread(
    script: Callable[[str], ModuleType],
):
    def model(seed: int, mem: float, distinct: int) -> dict[str, object]:
        rest = {"rank": 2, "test_error": 0.054, "null_test": 0.856, "null_noise": None}
        return {"k": 2, "seed": seed, "mem": mem, "distinct_cosine": 3, "distinct_euclidean": distinct, **rest}

    found = [model(seed, mem, distinct) for seed, (mem, distinct) in enumerate([(0.90, 2), (0.93, 3), (0.96, 4)])]
    rows = [line.strip("| ").split(" | ") for line in script("replication").table(found).splitlines()[2:]]
    assert ["memorization", "2", "0.94", "0.93", "0.9 to 0.96", "3", "yes"] in rows
    assert ["distinct by distance, 1 %", "2", "37", "3", "2 to 4", "3", "no"] in rows
    assert all(row[1] == "2" and row[0] != "noise" for row in rows)  # of what was not measured there is no row
    assert script("replication").table(found[:2]).count("too few seeds") == 6
