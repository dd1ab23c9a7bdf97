"""The embedded autoencoders keep what their cards promise."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from probe import LatentMap, find_attractors, load_autoencoder
from probe.autoencoders import embedded_names
from probe.autoencoders.embedded.train import TrainConfig, train_embedded, well
from probe.config import DatasetConfig, SeedConfig, SolverConfig, load_config
from probe.data.load import load_images
from probe.errors import UserError


@pytest.fixture(scope="module")
def attractors():
    return load_autoencoder("embedded:cifar-attractors")


@pytest.mark.parametrize("name", embedded_names())
def test_each_is_small(name, root):
    file = root / "probe" / "autoencoders" / "embedded" / name / "diffusion_pytorch_model.safetensors"
    assert file.stat().st_size <= 700_000
    assert load_autoencoder(f"embedded:{name}").latent_shape(32) == (4, 8, 8)


@pytest.mark.shared
@pytest.mark.parametrize("name", embedded_names())
def test_each_reconstructs_images_that_it_was_not_trained_on(name, shared):
    model = load_autoencoder(f"embedded:{name}")
    spec = DatasetConfig(source=f"parquet:{shared}/data/study/cifar10-test.parquet", n=1000, holdout=0)
    x = load_images("cifar10", spec, resolution=32).images / 127.5 - 1
    with torch.no_grad():
        y = torch.cat([model.decode(model.encode(batch)).clamp(-1, 1) for batch in x.split(100)])
    psnr = 10 * torch.log10(4 / (x - y).square().flatten(1).mean(1))
    assert psnr.mean() >= 22


@pytest.mark.parametrize(("count", "fewest", "most"), [(12, 3, 11), pytest.param(128, 15, 60, marks=pytest.mark.slow)])
def test_starts_reach_certified_attractors_and_share_them(attractors, root, count, fewest, most):
    limit = load_config(root / "configs" / "quickstart.yaml").solver.max_steps
    solver = SolverConfig(max_steps=limit, batch_size=128)
    # Other starts than those of the quickstart.
    _, dictionary = find_attractors(
        LatentMap(attractors), attractors.latent_shape(32), seeds=SeedConfig(count=count, seed=1), solver=solver
    )
    certified = dictionary.certificate == 1
    assert dictionary.basin[certified].sum() >= 0.9 * count
    assert fewest <= certified.sum() <= most


def test_no_start_of_the_plain_twin_settles():
    model = load_autoencoder("embedded:cifar-plain")
    ends, _ = find_attractors(
        LatentMap(model), model.latent_shape(32), seeds=SeedConfig(count=4), solver=SolverConfig(max_steps=100)
    )
    assert ends.counts()["converged"] == 0


def test_the_well_of_a_start_is_as_likely_as_the_threshold_says():
    config = TrainConfig(wells_block=(2, 4), wells_threshold=0.6, wells_depth=1.5)
    z = torch.randn(500, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    found = well(z, config)
    assert set(found.unique().tolist()) == {-1.5, 1.5}
    blocks = found.unflatten(2, (4, 2)).unflatten(4, (2, 4))  # (n, channel, block, row, block, column)
    assert (blocks == blocks[:, :, :, :1, :, :1]).all()
    above = 1 - 0.5 * (1 + math.erf(0.6 / math.sqrt(2)))
    assert (found > 0).float().mean().item() == pytest.approx(above, abs=0.01)
    raised = torch.full((1, 4, 8, 8), 0.6 / math.sqrt(8))
    assert (well(raised * 1.01, config) > 0).all()
    assert (well(raised * 0.99, config) < 0).all()


@pytest.fixture
def noise_images(tmp_path):
    """A folder like that of the npm package, of 120 images of noise."""
    noise = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        pixels = noise.integers(0, 256, (20, 1024, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


TINY = {"steps": 4, "batch_size": 4, "fresh_rows": 2, "trajectories": 4, "trajectory_rows": 2, "held_out": 20}


def test_training_is_a_function_of_its_configuration(noise_images):
    for out in ("a", "b"):
        train_embedded(TrainConfig(**TINY), noise_images, noise_images / out)
    one, two = (load_autoencoder(str(noise_images / out)).weights_sha256() for out in ("a", "b"))
    assert one == two


def test_the_plain_twin_sees_the_same_images_and_noise(noise_images):
    still = {**TINY, "learning_rate": 1e-12, "weight_decay": 0.0}
    made, plain = (
        train_embedded(TrainConfig(**still, wells=wells), noise_images, noise_images / str(wells)) for wells in (5, 0)
    )
    assert "wells" in made
    assert "wells" not in plain
    assert plain["reconstruction"] == pytest.approx(made["reconstruction"], rel=1e-5)


def test_blocks_that_do_not_divide_the_latents_are_refused(noise_images):
    with pytest.raises(UserError, match=r"blocks of \(3, 4\) do not divide latents of \(4, 8, 8\); set wells_block"):
        train_embedded(TrainConfig(**TINY, wells_block=(3, 4)), noise_images, noise_images / "out")
