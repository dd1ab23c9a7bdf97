"""The known truths, and that the table would tell if one did not hold."""

import json
import math

import numpy as np
import pytest

from probe.cli.main import main
from probe.errors import UserError
from probe.verify import truths
from probe.verify.codes import leaders
from probe.verify.truth import Truth, check, chosen


@pytest.mark.parametrize("truth", truths.TRUTHS, ids=lambda one: one.name)
def test_truths_hold(truth):
    (found,) = check([truth])
    assert found.holds, found
    assert found.error == ""


def test_names_are_distinct():
    names = [one.name for one in truths.TRUTHS]
    assert len(set(names)) == len(names)


def truth(measure, expected=1.0, tolerance=0.5) -> Truth:
    return Truth("one", "a number", "closed form", expected, tolerance, measure)


@pytest.mark.parametrize(
    ("found", "holds"), [(1.0, True), (1.5, True), (0.5, True), (1.51, False), (math.nan, False), (math.inf, False)]
)
def test_a_truth_holds_within_its_tolerance(found, holds):
    (row,) = check([truth(lambda: found)])
    assert row.holds is holds


def test_decimals_at_the_border_of_a_tolerance_hold():
    (row,) = check([truth(lambda: 0.15, expected=0.1, tolerance=0.05)])
    assert row.holds


def test_a_measure_that_fails_is_a_row_and_the_others_are_still_checked():
    def fails() -> float:
        raise RuntimeError("no such operation")

    rows = list(check([truth(fails), truth(lambda: 1)]))
    assert [row.holds for row in rows] == [False, True]
    assert (rows[0].found, rows[0].error) == (None, "RuntimeError: no such operation")


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(UserError, match="no truth 'henom'; the truths are bank, "):
        chosen(truths.TRUTHS, ["henom"])


def test_the_brute_force_leader_takes_its_free_neighbours_only():
    near = np.eye(5, dtype=bool)
    for a, b in [(0, 1), (1, 2), (2, 3)]:
        near[a, b] = near[b, a] = True
    points = np.arange(5, dtype=">f8")[:, None]  # bytes in the order of the numbers
    assert leaders(near, points).tolist() == [1, 1, 1, 3, 4]


def test_the_command_prints_a_table_and_succeeds(capsys):
    with pytest.raises(SystemExit) as left:
        main(["verify", "--only", "rank", "--only", "vendi"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert "rank at 90 %" in out
    assert sum(line.rstrip(" │").endswith("holds") for line in out.splitlines()) == 2
    assert out.splitlines()[0].strip() == "2 known truths"
    assert out.splitlines()[-1] == "2 of 2 hold."


def test_one_truth_is_not_several(capsys):
    with pytest.raises(SystemExit):
        main(["verify", "--only", "rank"])
    out = capsys.readouterr().out.splitlines()
    assert (out[0].strip(), out[-1]) == ("1 known truth", "1 of 1 holds.")


def test_the_command_as_json(capsys):
    with pytest.raises(SystemExit) as left:
        main(["verify", "--only", "rank", "--json"])
    assert left.value.code == 0
    (row,) = json.loads(capsys.readouterr().out)["truths"]
    assert (row["name"], row["expected"], row["found"], row["holds"]) == ("rank", 4, 4.0, True)


def test_the_command_ends_with_status_1_if_one_does_not_hold(capsys, monkeypatch):
    monkeypatch.setattr(truths, "TRUTHS", (truth(lambda: 3), truth(lambda: 1)))
    assert main(["verify"]) == 1
    streams = capsys.readouterr()
    assert "does not hold" in streams.out
    assert "1 of 2 truths do not hold here: one" in streams.err


def test_an_unknown_name_is_status_2(capsys):
    assert main(["verify", "--only", "henom"]) == 2
    assert "no truth 'henom'" in capsys.readouterr().err
