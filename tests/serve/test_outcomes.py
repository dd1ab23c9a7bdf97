"""Outcomes read from shards without torch are those that the report counts."""

import json

import numpy as np
from safetensors.numpy import save_file

from probe.serve.outcomes import outcomes_so_far

from .stand_in import FINISHED


def test_they_are_those_of_the_report():
    report = json.loads((FINISHED / "report" / "report.json").read_text())
    assert outcomes_so_far(FINISHED) == report["solver"]["outcomes"]


def test_shards_are_added_up_and_damaged_ones_left_out(tmp_path):
    assert outcomes_so_far(tmp_path) is None
    (tmp_path / "attractors").mkdir()
    for name, values in (("00000000-00000003", [0, 1, 3, 0]), ("00000004-00000005", [2, 0])):
        tensors = {"index": np.arange(len(values)), "outcome": np.array(values, np.uint8), "z": np.zeros((3, 2))}
        save_file(tensors, tmp_path / "attractors" / f"{name}.safetensors")
    (tmp_path / "attractors" / "00000006-00000007.safetensors").write_bytes(b"\xff" * 100)
    assert outcomes_so_far(tmp_path) == {"converged": 3, "cycle": 1, "max_steps": 1, "diverged": 1}
