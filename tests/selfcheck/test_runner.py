"""The frame of the self-check: what fails, lacks a package or finds no time is said, and the rest goes on."""

import json
import time

import pytest
import torch

from probe.errors import UserError
from probe.selfcheck.check import Check, Row, Verdict, at_least, at_most, equals
from probe.selfcheck.runner import chosen, run
from probe.selfcheck.write import as_json, as_markdown, failures, headline, machine, write

CPU = torch.device("cpu")


def _good(setting):
    yield equals("sum", 2, 2)
    yield Row("speed", 3.5, "rows/s")


def _raises(setting):
    yield equals("before", 1, 1)
    raise RuntimeError("the device | is gone\nmore lines")


def _slow(setting):
    yield equals("before", 1, 1)
    while setting.left() > -5:
        time.sleep(0.001)
    yield equals("after", 1, 1)


def _check(name, run, seconds=1.0, **more):
    return Check(name, "correctness", f"what {name} is", seconds, run, **more)


def test_every_check_has_its_turn_and_says_how_it_ended(tmp_path):
    checks = [
        _check("raises", _raises),
        _check("slow", _slow, 0.1),
        _check("absent", _good, needs=("no_such_package",)),
        _check("gpu", _good, cuda=True),
        _check("long", _good, 1e6),
        _check("good", _good),
    ]
    found = run(checks, CPU, budget=60)
    assert [one.status for one in found] == ["failed", "stopped", "skipped", "skipped", "skipped", "done"]
    assert [len(one.rows) for one in found] == [2, 1, 0, 0, 0, 2]
    assert "RuntimeError at test_runner.py" in found[0].reason
    assert found[2].reason == "needs no_such_package"
    assert failures(found) == ["raises"]
    about = machine(CPU)
    write(tmp_path, found, about)
    kept = json.loads((tmp_path / "selfcheck.json").read_text())
    assert kept == as_json(found, about)
    assert kept["checks"][-1]["rows"][0] == {
        "name": "sum",
        "value": 2,
        "unit": "",
        "expected": "2",
        "verdict": "pass",
        "note": "",
    }
    text = (tmp_path / "selfcheck.md").read_text()
    assert text == as_markdown(found, about)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {7}
    assert "1 of 6 checks failed: raises; 4 of 6 were skipped or stopped: slow, absent, gpu, long." in text.splitlines()


def test_the_headline_tells_what_was_not_checked():
    found = run([_check("gpu", _good, cuda=True), _check("good", _good)], CPU)
    assert headline(found) == "No check failed; 1 of 2 was skipped or stopped: gpu."
    assert headline(found[1:]) == "No check failed."


def test_what_was_found_is_kept_after_every_row():
    seen = []
    run([_check("good", _good), _check("raises", _raises)], CPU, keep=lambda found: seen.append(len(found[-1].rows)))
    assert seen == [1, 2, 2, 1, 2]


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (at_most("a", 0.1, 0.1), Verdict.PASS),
        (at_most("a", float("nan"), 0.1), Verdict.FAIL),
        (at_least("a", 0.2, 0.1), Verdict.PASS),
        (at_least("a", float("nan"), 0.1), Verdict.FAIL),
        (equals("a", "x", "y"), Verdict.FAIL),
    ],
)
def test_verdicts(row, verdict):
    assert row.verdict == verdict


def test_nan_is_no_json(tmp_path):
    found = run([_check("nan", lambda setting: iter([Row("a", float("inf"))]))], CPU)
    write(tmp_path, found, machine(CPU))
    json.loads((tmp_path / "selfcheck.json").read_text(), parse_constant=pytest.fail)


def test_checks_are_chosen_by_name_or_group():
    checks = [_check("a", _good), Check("b", "speed", "", 1, _good)]
    assert [one.name for one in chosen(checks, [])] == ["a", "b"]
    assert [one.name for one in chosen(checks, ["speed"])] == ["b"]
    with pytest.raises(UserError, match="'c'; use one of correctness, speed, a, b"):
        chosen(checks, ["c"])
