"""The iteration on the device: every outcome, step and end point of the bank of maps."""

import itertools
from collections.abc import Iterator

import torch

from probe.dynamics import Iteration, iterate
from probe.selfcheck.check import Check, Row, Setting, equals
from probe.verify.bank import bank, mistakes, starts


def _bank(setting: Setting) -> Iterator[Row]:
    each = 3 if setting.small else 30
    for dtype, accelerate, far in itertools.product(
        (torch.float32, torch.float64), (False, True), ("float32", "tf32", "bfloat16")
    ):
        z0 = starts(dtype, each)
        how = Iteration(250, 1e-10, 1e4, len(z0), accelerate, far)
        ends = iterate(bank, z0.to(setting.device), how)
        kind = f"{str(dtype).removeprefix('torch.')}, {'accelerated' if accelerate else 'plain'}, far {far}"
        wrong = mistakes(ends)
        yield equals(f"wrong end points: {kind}", len(wrong), 0, "starts", "; ".join(wrong[:2]))


CHECKS = (Check("bank", "correctness", "the bank of maps ends as known", 20, _bank),)
