"""Certificates on a kept graph, against those of the former method, dense Jacobians, and the other modes."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from probe import LatentMap, load_autoencoder
from probe.autoencoders.convolutional import ConvAutoencoder
from probe.config import DatasetConfig, ModelConfig
from probe.data.load import load_images
from probe.dynamics import Jacobian, certify, gaussian_starts, iterate, spectral_norm, spectral_radius
from probe.dynamics.certificate import NO, YES, spectra_at

FORMER = json.loads((Path(__file__).parent / "former.json").read_text())
"""By model, radius and norm with their errors. At end points of the embedded model, from dense Jacobians in float64;
after three steps of TAEF2 from noise, by the method of ae3722f (forward-mode products; the norm by power iteration)."""


def as_before(model: str, differentiable, radius, norm) -> None:
    """Within each other's errors. Both rest on a random start, which misses the largest value in about 1 of 100."""
    former = FORMER[model]
    assert differentiable.all()
    for found, name in ((radius, "radius"), (norm, "norm")):
        before, error = (torch.tensor([row[key] for row in former]).double() for key in (name, f"{name}_error"))
        assert ((found.value - before).abs() <= found.error + error + 1e-4).all(), name


def test_the_embedded_model_against_dense_jacobians():
    model = load_autoencoder("embedded:cifar-attractors")
    f, former = LatentMap(model), FORMER["embedded"]
    ends = iterate(f, gaussian_starts(5, range(len(former)), model.latent_shape(32)), max_steps=500).end
    found = certify(f, ends)
    assert found.attractor.tolist() == [row["decision"] for row in former]
    as_before("embedded", *spectra_at(f, ends))
    assert found.products.double().mean() < 95  # 102 at ae3722f, which asked for no shrinking residuals


@pytest.mark.shared
def test_taef2_as_before(shared, root):
    model = load_autoencoder(f"python:{root}/tests/models/taef2.py:load")
    f, former = LatentMap(model), FORMER["taef2"]
    z = gaussian_starts(5, range(len(former)), model.latent_shape(32))
    with torch.no_grad():
        for _ in range(3):
            z = f(z)
    differentiable, radius, norm = spectra_at(f, z)
    as_before("taef2", differentiable, radius, norm)
    assert (radius.value - radius.error > 1).all()


def dense(f, point: torch.Tensor) -> torch.Tensor:
    """J_f at one point (d, d), row by row in reverse mode."""
    rows = torch.autograd.functional.jacobian(lambda v: f(v[None])[0], point)
    return rows.reshape(point.numel(), point.numel()).double()


@pytest.fixture(scope="module")
def convolutional() -> ConvAutoencoder:
    """The paper's (Table 4), k = 16, trained for a few seconds on scikit-learn's digits, in float64."""
    spec = DatasetConfig(source="bundled:digits", n=400, holdout=0)
    x = load_images("digits", spec, resolution=32).images.double() / 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ConvAutoencoder(sample_size=32, latent_dim=16).double()
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5)
        for _ in range(60):
            batch = x[torch.randint(len(x), (32,))]
            optimiser.zero_grad()
            F.mse_loss(model(batch), batch).backward()
            optimiser.step()
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_convolutional_model_against_dense_jacobians(convolutional, dtype, tmp_path):
    """A basis of 16 vectors is the whole space: value and norm are exact, to rounding. In float64 where it is asked."""
    convolutional.save_pretrained(tmp_path)
    model = load_autoencoder(ModelConfig(source=str(tmp_path), dtype=str(dtype).removeprefix("torch.")))
    f = LatentMap(model)
    z = gaussian_starts(0, range(12), model.latent_shape(32)).to(dtype) * 3
    ends = torch.cat([iterate(f, z, max_steps=2000, tolerance=1e-8).end, z])
    found = certify(f, ends, tolerance=1e-8)
    assert (found.attractor == YES).any()
    assert (found.attractor == NO).any()
    differentiable, radius, norm = spectra_at(f, ends)
    precise = 1e-9 if dtype == torch.float64 else 1e-3
    for row in differentiable.nonzero().flatten().tolist():
        jacobian = dense(f, ends[row])
        exact = torch.linalg.eigvals(jacobian).abs().max().item()
        assert radius.value[row].item() == pytest.approx(exact, rel=0.05, abs=radius.error[row].item())
        assert abs(radius.value[row].item() - exact) <= radius.error[row].item() + precise
        largest = torch.linalg.matrix_norm(jacobian, 2).item()
        assert abs(norm.value[row].item() - largest) <= 2 * norm.error[row].item() + precise * largest
        fixed = found.residual[row].item() < 1e-8
        assert (found.attractor[row] == YES).item() == (fixed and exact < 1)


class Rows:
    """A map that counts the rows that it is given."""

    def __init__(self, f):
        self.f, self.rows = f, 0

    def __call__(self, z):
        self.rows += len(z)
        return self.f(z)


def bent(d: int, n: int):
    """f(z) = tanh(z W^T), whose Jacobian differs from point to point, and n points."""
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(d, d, dtype=torch.float64, generator=generator) / d**0.5
    return lambda z: torch.tanh(z @ weight.T), torch.randn(n, d, dtype=torch.float64, generator=generator) * 0.3


def test_the_graph_is_built_once_for_all_products():
    f, z = bent(120, 8)
    counted = Rows(f)
    radius = spectral_radius(Jacobian(counted, z), budget=400)
    assert radius.products.sum() > 200
    assert counted.rows <= 4 * len(z) + 10  # again only for the last quarter, and where the modes are measured


def test_all_modes_give_the_same_products_and_spectra():
    f, z = bent(40, 5)
    v = torch.randn(z.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    kept, forward, nothing = (Jacobian(f, z) for _ in range(3))
    forward._modes.chosen(z).forward = True
    kept._modes.chosen(z).forward = False
    nothing._modes.chosen(z).keep, nothing._modes.forward = False, True
    for jacobian in (forward, nothing):
        assert torch.allclose(jacobian.times(v), kept.times(v), rtol=1e-12)
        assert torch.allclose(jacobian.transposed_times(v), kept.transposed_times(v), rtol=1e-12)
        assert torch.allclose(spectral_norm(jacobian).value, spectral_norm(kept).value, rtol=1e-9)
        radius, other = spectral_radius(jacobian, budget=400), spectral_radius(kept, budget=400)
        assert ((radius.value - other.value).abs() <= radius.error + other.error).all()
    assert kept.transposes
    assert not nothing.transposes


def test_where_no_graph_fits_nothing_is_kept(monkeypatch):
    """A CPU without room is not asked to keep a graph, and certificates are the same."""
    f, z = bent(40, 5)
    differentiable, radius, norm = spectra_at(f, z)
    asked = []
    monkeypatch.setattr("probe.dynamics.jacobian.free_bytes", lambda: asked.append(1) or 0)
    without = spectra_at(f, z)
    assert asked
    assert torch.equal(differentiable, without[0])
    assert ((radius.value - without[1].value).abs() <= radius.error + without[1].error).all()
    assert torch.allclose(norm.value, without[2].value, rtol=1e-2)


def test_a_map_is_measured_once():
    f, z = bent(40, 3)
    counted = Rows(f)
    Jacobian(counted, z).times(z)
    first, counted.rows = counted.rows, 0
    Jacobian(counted, z).times(z)
    assert counted.rows == len(z) < first
    slotted = type("Slotted", (), {"__slots__": (), "__call__": staticmethod(f)})()  # takes no weak reference
    assert torch.equal(Jacobian(slotted, z).times(z), Jacobian(counted, z).times(z))
