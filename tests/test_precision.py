"""float32 means float32, by whichever of torch's switches TF32 was allowed before."""

import subprocess
import sys
import threading

import torch

from probe.precision import full_float32

SETUPS = (
    "torch.set_float32_matmul_precision('high')",
    "torch.backends.cuda.matmul.allow_tf32 = True",
    "torch.backends.cudnn.allow_tf32 = False",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "torch.backends.cudnn.fp32_precision = 'tf32'",
    "torch.backends.fp32_precision = 'tf32'",
)
CODE = """
import os, sys, torch
from probe.precision import full_float32, reduced

SWITCHES = ("backends.cuda.matmul.allow_tf32", "backends.cuda.matmul.fp32_precision", "backends.cudnn.allow_tf32",
            "backends.cudnn.conv.fp32_precision", "backends.cudnn.rnn.fp32_precision")

def seen():
    found = []
    for switch in SWITCHES:
        try:
            found.append(eval(f"torch.{switch}"))
        except RuntimeError:  # an older and a newer switch contradict each other
            found.append(None)
    return found

for setup in sys.argv[1:]:
    if not (child := os.fork()):  # each from torch's own state
        exec(setup)
        before = seen()
        with full_float32():
            assert seen() == [False, "ieee", False, "ieee", "ieee"], (setup, seen())
            with reduced("tf32", "cpu"):
                assert seen() == [True, "tf32", True, "tf32", "tf32"], (setup, seen())
            assert seen() == [False, "ieee", False, "ieee", "ieee"], (setup, seen())
        assert seen() == before, (setup, before, seen())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_tf32_is_forbidden_inside_and_as_before_afterwards():
    done = subprocess.run([sys.executable, "-c", CODE, *SETUPS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_threads_leave_the_switches_as_they_were():
    """Two threads enter one after the other, and leave in that order."""
    before = torch.backends.cudnn.allow_tf32
    entered, left, seen = threading.Event(), threading.Event(), []

    def second():
        with full_float32():
            entered.set()
            left.wait(60)
            seen.append(torch.backends.cudnn.allow_tf32)

    thread = threading.Thread(target=second)
    with full_float32():
        thread.start()
        assert entered.wait(60)
    left.set()
    thread.join(60)
    assert seen == [False]  # still forbidden for the one that is inside
    assert torch.backends.cudnn.allow_tf32 == before
