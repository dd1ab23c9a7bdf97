"""The loop, certificates and the pursuit on a pretended device: the CPU's numbers, and no wait but the planned.

What is planned stands in docs/guides/selfcheck.md, "Where the host waits".
"""

from collections import Counter

import pytest
import torch

from probe.dynamics import Iteration, certify, iterate
from probe.dynamics import jacobian as jacobians
from probe.sparse import Dictionary, batched, cholesky, directions, omp
from probe.verify.bank import bank, starts

from .pretended import Pretended, Watch, there

LOOP = {("read", "flow._Flags.look"), ("sent", "flow.indices")}
"""Flags of each step, and rows that have ended; on CUDA neither makes the host wait."""

CERTIFICATES = {
    "certificate.Certificates.unknown",  # the residuals
    "certificate.certify",
    "certificate._first_look.look",
    "jacobian.directions",  # drawn on the CPU, so that they are the same everywhere
    "jacobian.Jacobian.agrees",
    "jacobian.Jacobian._agreed",
    "settling.rounding",
    "settling.settle",
    "settling._steps",
    "settling._walked",
    "spectra._krylov_schur",  # small eigenproblems are LAPACK's
    "spectra._extend",
    "spectra.singular_values",
    "spectra.singular_values.<genexpr>",
}
"""Where a certificate reads or sends, between its products."""
OMP = {
    ("read", "omp._checked"): 1,  # finite?
    ("read", "dictionary.Dictionary.__init__"): 1,  # finite?
    ("read", "dictionary.independent"): 1,  # the basis of the span is LAPACK's
    ("sent", "dictionary.independent"): 2,
    ("read", "closed_form.project"): 1,  # how many atoms
}
"""Where matching pursuit with a level of the whole span does, whatever the number of signals and atoms."""


def _noted(watch):
    """What was noted, but for what the map itself does."""
    return Counter({key: count for key, count in watch.noted.items() if not key[1].startswith("bank.")})


@pytest.mark.parametrize(
    ("what", "function"),
    [
        ("read", lambda x: bool((x > 0).any())),
        ("read", lambda x: x.cpu()),
        ("read", lambda x: torch.zeros(3).copy_(x)),
        ("sent", lambda x: torch.zeros(3).to(x)),
        ("sized", lambda x: x[x > 0]),
        ("sized", lambda x: (x > 0).nonzero()),
        ("sized", lambda x: x.index_put_((x > 0,), x.sum())),
        ("misplaced", lambda x: x + torch.zeros(3)),
        ("misplaced", lambda x: x.index_select(0, torch.tensor([0]))),
    ],
)
def test_the_watch_sees_what_it_is_for(what, function):
    with Watch() as watch:
        function(there(torch.ones(3)))
    assert watch.noted == {(what, "outside"): 1}


def test_numbers_and_tensors_of_the_device_are_nothing_to_note():
    with Watch() as watch:
        x = there(torch.ones(3))
        y = torch.where(x > 0, x * 2, torch.tensor(5.0)) + torch.zeros(3, device=x.device)
    assert watch.noted == {}
    assert torch.equal(y.inner, torch.full((3,), 2.0))


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("far_precision", ["float32", "tf32"])
def test_the_loop(accelerate, far_precision):
    z0, how = starts(torch.float64, 1), Iteration(40, 1e-10, 1e4, 7, accelerate, far_precision)
    expected = iterate(bank, z0, how)
    with Watch() as watch:
        found = iterate(bank, there(z0), how)
    assert set(_noted(watch)) == LOOP
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name).inner, value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("accelerate", [False, True])
def test_a_step_of_the_loop_reads_flags_and_nothing_else(accelerate):
    z0 = starts(torch.float64, 1)
    counts = []
    for steps in (20, 30):
        with Watch() as watch:
            iterate(lambda z: 0.999 * z, there(z0), Iteration(steps, 1e-30, 1e4, 11, accelerate))
        counts.append(_noted(watch))
    assert counts[1] - counts[0] == {("read", "flow._Flags.look"): 10}


class Tanh:
    """tanh(z A), A symmetric of radius 0.8; fixed point 0."""

    def __init__(self, d):
        generator = torch.Generator().manual_seed(0)
        matrix = torch.randn(d, d, generator=generator, dtype=torch.float64)
        matrix = matrix + matrix.T
        self.matrix = 0.8 * matrix / torch.linalg.eigvalsh(matrix).abs().max()

    def __call__(self, z):
        return torch.tanh(z @ self.matrix)


def test_certificates(monkeypatch):
    f, z = Tanh(30), 1e-6 * torch.ones(3, 30, dtype=torch.float64)
    monkeypatch.setattr(jacobians._Modes, "_measured", lambda self, z: jacobians._Measured())
    expected = certify(f, z, tolerance=1e-8)
    g = Tanh(30)
    g.matrix = there(g.matrix)
    with Watch() as watch:
        found = certify(g, there(z), tolerance=1e-8)
    assert {place for _, place in watch.noted} <= CERTIFICATES
    # Of each point the two sums of singular vectors, once.
    assert watch.noted["sent", "spectra.singular_values.<genexpr>"] == 2 * len(z)
    assert sum(watch.noted.values()) < int(expected.products.sum())
    for name, value in vars(expected).items():
        here = getattr(found, name)
        here = here.inner if isinstance(here, Pretended) else here
        torch.testing.assert_close(here, value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("method", ["omp", "ols"])
@pytest.mark.parametrize("pursue", [batched.pursue, cholesky.pursue, directions.pursue])
def test_the_pursuit(pursue, method):
    generator = torch.Generator().manual_seed(0)
    atoms, x = (torch.randn(n, 40, dtype=torch.float64, generator=generator) for n in (60, 8))
    ready, watch = Dictionary(atoms, torch.float64), Watch()
    expected = pursue(ready.unit, ready.gram, x, (5, 20), ols=method == "ols", memory=1 << 20)
    with watch:
        found = pursue(there(ready.unit), there(ready.gram), there(x), (5, 20), ols=method == "ols", memory=1 << 20)
    assert watch.noted == {}
    assert torch.equal(found.support.inner, expected.support)
    torch.testing.assert_close(found.squared_error.inner, expected.squared_error)


def test_omp():
    generator = torch.Generator().manual_seed(0)
    atoms, x = (torch.randn(n, 40, dtype=torch.float64, generator=generator) for n in (60, 8))
    with Watch() as watch:
        omp(there(atoms), there(x), (5, 20, 40))
    assert watch.noted == OMP
