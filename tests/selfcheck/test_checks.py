"""Every check of correctness passes on a CPU, and needs torch, numpy and scipy alone."""

import subprocess
import sys

import pytest
import torch

from probe.selfcheck.check import Setting, Verdict
from probe.selfcheck.checks import CHECKS
from probe.selfcheck.models import LATENT, Convolutional

CORRECTNESS = [one for one in CHECKS if one.group == "correctness" and not one.cuda]
SLOW = {"bank", "latent-map", "memory"}
ALONE = """
import sys

class Hiding:
    "A finder that does not find some packages."

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in sys.argv[1].split() else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Hiding, sys.meta_path)
import torch
import probe.dictionary, probe.dynamics, probe.sparse
from probe.selfcheck.checks import CHECKS
from probe.selfcheck.runner import run
from probe.selfcheck.write import as_markdown, machine

cpu = torch.device("cpu")
found = run([one for one in CHECKS if one.name in ("exponents", "omp-float64", "merge")], cpu, small=True, budget=1e4)
print(as_markdown(found, machine(cpu)))
sys.exit(any(one.status != "done" for one in found))
"""
OTHERS = (
    "PIL accelerate certifi datasets diffusers faiss filelock fsspec huggingface_hub jinja2 matplotlib numba pandas "
    "pooch psutil pyarrow pydantic rich safetensors skimage sklearn torchmetrics torchvision transformers typer yaml"
)
"""What else the package depends on, by the names to import."""


@pytest.mark.parametrize(
    "check",
    [pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.name in SLOW else []) for one in CORRECTNESS],
)
def test_a_cpu_passes(check):
    rows = list(check.run(Setting(torch.device("cpu"), small=True)))
    assert rows
    assert [row for row in rows if row.verdict == Verdict.FAIL] == []
    assert len({row.name for row in rows}) == len(rows)


def test_names_are_unique():
    names = [one.name for one in CHECKS]
    assert len(set(names)) == len(names)
    assert not {"correctness", "speed"} & set(names)


def test_torch_numpy_and_scipy_are_enough():
    done = subprocess.run([sys.executable, "-c", ALONE, OTHERS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_model_is_the_same_wherever_it_is_made():
    torch.manual_seed(1)
    one = Convolutional(2.0)
    torch.manual_seed(2)
    z = torch.ones(1, *LATENT)
    assert torch.equal(one.encode(one.decode(z)), Convolutional(2.0).encode(Convolutional(2.0).decode(z)))
