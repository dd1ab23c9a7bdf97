"""Rows of the leaderboard, sorted."""

import pytest

from probe.serve.pages.order import ordered

GROUP = {
    "title": "t",
    "rows": [
        {"id": id, "name": id, "model": model, "cells": {} if value == "absent" else {"d": {"value": value}}}
        for id, model, value in (("a", "Zed", 2), ("b", "alpha", None), ("c", "beta", 10), ("e", "x", "absent"))
    ],
}


@pytest.mark.parametrize(
    ("column", "down", "wanted"),
    [
        ("d", True, "cabe"),
        ("d", False, "acbe"),
        ("model", False, "bcea"),
        ("name", True, "ecba"),
        ("", True, "abce"),
        ("nothing", False, "abce"),
    ],
)
def test_rows_are_sorted_and_those_without_a_number_come_last(column, down, wanted):
    assert "".join(row["id"] for row in ordered(GROUP, column, down)["rows"]) == wanted
