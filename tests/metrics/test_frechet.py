"""The Fréchet distance against torch-fidelity's own number, closed forms and repeated draws."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from probe.errors import UserError
from probe.metrics.feature_weights import Missing
from probe.metrics.frechet import GROUPS, Inception, by_singular_values, frechet, left_out, load_inception

CPU = torch.device("cpu")


def loaded(weights: Path, layer: str = "64") -> Inception:
    found = load_inception(str(weights), layer=layer)
    assert isinstance(found, Inception)
    return found


def images(n: int, side: int = 32) -> tuple[Tensor, Tensor]:
    """Coloured noise that is smooth, and the same with more noise: uint8."""
    generator = torch.Generator().manual_seed(1)
    rough = torch.rand(n, 3, 4, 4, generator=generator)
    x = torch.nn.functional.interpolate(rough, (side, side), mode="bicubic").clamp(0, 1)
    y = (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    return tuple((image * 255).round().to(torch.uint8) for image in (x, y))


class Images(torch.utils.data.Dataset):
    """As torch-fidelity takes them."""

    def __init__(self, images: Tensor):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def theirs(x: Tensor, y: Tensor, weights: Path, layer: str) -> float:
    from torch_fidelity import calculate_metrics

    found = calculate_metrics(
        input1=Images(x),
        input2=Images(y),
        fid=True,
        feature_layer_fid=layer,
        feature_extractor_weights_path=str(weights),
        cuda=False,
        batch_size=16,
        save_cpu_ram=True,  # no further processes
        cache=False,
        verbose=False,
    )
    return found["frechet_inception_distance"]


@pytest.mark.parametrize(("layer", "n"), [("64", 12), pytest.param("2048", 12, marks=pytest.mark.slow)])
def test_it_is_the_number_of_torch_fidelity(random_inception: Path, layer: str, n: int):
    x, y = images(n)
    inception = loaded(random_inception, layer)
    found = frechet(inception(x), inception(y))
    assert found.mean > 0.01
    # The same weights, images and arithmetic, in other batches.
    assert found.mean == pytest.approx(theirs(x, y, random_inception, layer), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(200, 12), (30, 64)])
def test_singular_values_give_the_same(n: int, d: int):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) for _ in range(2))
    # Below d rows, torch-fidelity adds up roots of eigenvalues that are 0 but for rounding: 1e-8 of the largest each.
    expected = frechet(torch.from_numpy(a), torch.from_numpy(b)).mean
    assert by_singular_values(a, b) == pytest.approx(expected, rel=1e-9 if n > d else 1e-6)


@pytest.mark.parametrize("n", [30, 203])
def test_groups_are_left_out(n: int):
    """Both ways, for fewer rows than columns and for more, against features with rows removed."""
    rng = np.random.default_rng(0)
    a = 1 + rng.normal(size=(n, 40))
    b = a + 0.3 * rng.normal(size=a.shape)
    found = left_out(a, b)
    assert len(found) == GROUPS
    for g in (0, 7):
        rest = np.arange(n) % GROUPS != g
        assert found[g] == pytest.approx(by_singular_values(a[rest], b[rest]), rel=1e-9)


def test_closed_forms():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(300, 8))
    assert by_singular_values(a, a) == pytest.approx(0, abs=1e-12)
    shift = np.arange(8.0)
    assert by_singular_values(a, a + shift) == pytest.approx((shift**2).sum())
    # S_b = 9 S_a: the trace of (1 + 9 - 2 * 3) S_a; the means are of 300 rows
    mean, spread = a.mean(0), a.var(0, ddof=1).sum()
    assert by_singular_values(a, 3 * a) == pytest.approx((4 * mean**2).sum() + 4 * spread)
    assert by_singular_values(a, a[::-1]) == pytest.approx(0, abs=1e-12)  # of sets, not of pairs


def test_the_interval_is_as_wide_as_repeated_draws_vary():
    """Pairs of features from one distribution, again and again: their standard deviation against the jackknife's."""
    rng = np.random.default_rng(2)
    values, halves = [], []
    for _ in range(60):
        a = rng.normal(size=(200, 6)) * np.arange(1, 7)
        b = 0.8 * a + rng.normal(size=a.shape)
        found = frechet(torch.from_numpy(a), torch.from_numpy(b))
        values.append(found.mean)
        halves.append(found.high - found.mean)
    # Student's t of 19 degrees of freedom: 2.09. A standard deviation of 60 draws is off by a tenth, and so is that of
    # the mean of half-widths; a jackknife of skewed numbers is too wide rather than too narrow.
    assert np.mean(halves) / 2.09 / np.std(values) == pytest.approx(1.1, abs=0.3)


def test_few_images_have_no_interval():
    a = torch.rand(39, 4, dtype=torch.float64)
    assert frechet(a, a + 1).ci95 is None
    assert frechet(torch.cat([a, a]), torch.cat([a, a + 1])).ci95 is not None


def test_rows_do_not_depend_on_the_batch(random_inception: Path):
    inception, (x, _) = loaded(random_inception), images(6)
    alone = torch.cat([inception(x[i : i + 1]) for i in range(6)])
    assert torch.allclose(inception(x), alone, rtol=1e-4, atol=1e-6)


def test_weights(random_inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from safetensors.torch import save_file

    state = torch.load(random_inception, weights_only=True)
    save_file(state, tmp_path / "inception.safetensors")
    other = loaded(tmp_path / "inception.safetensors")
    assert other.sha256 == loaded(random_inception).sha256
    assert other.protocol["weights"] == "inception.safetensors"
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "alexnet.pth")
    with pytest.raises(UserError, match="does not hold the weights of FID's Inception"):
        load_inception(str(tmp_path / "alexnet.pth"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    nothing = load_inception()
    assert isinstance(nothing, Missing)
    assert "--set perceptual.inception=FILE" in nothing.reason
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    nothing = load_inception(str(random_inception))
    assert isinstance(nothing, Missing)
    assert "latent-probe[perceptual]" in nothing.reason


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_no_pickle_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Evil()}, "evil.pth")
    with pytest.raises(UserError, match="more than named tensors"):
        load_inception("evil.pth")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(("n", "ends"), [(39, None), (40, (0.0, 0.0))])
def test_equal_sets_have_no_distance(n: int, ends: tuple[float, float] | None):
    """Also where the covariance of many features has few images, and eigenvalues round."""
    features = torch.rand(n, 2048, generator=torch.Generator().manual_seed(0))
    found = frechet(features, features.clone())
    assert (found.mean, found.ci95) == (0, ends)
