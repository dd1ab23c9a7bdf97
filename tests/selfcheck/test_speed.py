"""The speed checks run on a CPU, small: every path, and the counts behind them. No speed is looked at."""

from functools import partial

import pytest
import torch

from probe.selfcheck import speed_codes, speed_device, speed_loop, speed_map
from probe.selfcheck.autoencoder_kl import sd_shaped
from probe.selfcheck.check import Check, Setting, Verdict

CHECKS = (*speed_device.CHECKS, *speed_map.CHECKS, *speed_map.FURTHER, *speed_loop.CHECKS, *speed_codes.CHECKS)
SMALL = Setting(torch.device("cpu"), small=True)


@pytest.mark.parametrize("check", [one for one in CHECKS if not one.cuda], ids=lambda check: check.name)
def test_every_check_gives_numbers_on_a_cpu(check: Check):
    rows = list(check.run(SMALL))
    names = [row.name for row in rows]
    assert names
    assert len(names) == len(set(names))
    assert all(isinstance(row.value, float) and row.value == row.value for row in rows)
    assert all(row.verdict == Verdict.INFO for row in rows)  # a device that others use is no failure


@pytest.mark.slow
def test_compiled_maps_are_timed(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = next(one for one in speed_map.FURTHER if one.name == "map-compiled")
    rows = list(compiled.run(SMALL))
    assert [row.unit for row in rows[:2]] == ["s", "rows/s"]


def test_operations_of_stable_diffusions_autoencoder():
    # By hand: the convolutions of the decoder's last level at 256 px are 2 * 9 * 256^2 * c_in * c_out each, of
    # 256 -> 128 once and 128 -> 128 five times, the shortcut, and the output.
    last = 2 * 256**2 * (9 * (256 * 128 + 5 * 128 * 128 + 128 * 3) + 256 * 128)
    assert 5 * last < speed_map.operations(False) < 15 * last


@pytest.mark.parametrize("way", [speed_map.Way("bfloat16", weights=True, channels_last=True), speed_map.Way("float32")])
def test_each_way_computes_the_same_map_and_leaves_the_settings(way: speed_map.Way):
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    z, exact = speed_map.starts(SMALL, 2), sd_shaped(SMALL.device, small=True)
    with torch.no_grad(), speed_map.prepared(sd_shaped(SMALL.device, small=True), way, SMALL.device) as f:
        torch.testing.assert_close(f(z), exact(z), rtol=0, atol=5e-3)
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == before


def test_the_floor_of_a_pursuit():
    # d = N = 4096, 500 signals to 2048 atoms: 2 n N^2 K operations, and n K^3 / 3 numbers of F beside 8 n N K others.
    products, numbers = 2 * 500 * 4096**2 * 2048, 500 * (2048**3 / 3 + 8 * 4096 * 2048)
    assert speed_codes.floor_seconds(500, 4096, 2048, 1.0, float("inf")) == products
    assert speed_codes.floor_seconds(500, 4096, 2048, float("inf"), 1.0) == pytest.approx(8 * numbers)


def test_no_start_of_the_restless_map_ends_early():
    from probe.dynamics import iterate

    f = speed_loop.restless(sd_shaped(SMALL.device, small=True))
    ends = iterate(f, speed_map.starts(SMALL, 2), max_steps=12, tolerance=0.0, far_precision="bfloat16")
    assert ends.outcomes == ["max_steps"] * 2
    assert ends.evaluations.tolist() == [14, 14]  # 12 steps, the last residual, and the hand-over
