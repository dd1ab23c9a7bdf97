"""The embedded autoencoder keeps what its card promises."""

import numpy as np
import pytest
import torch
from PIL import Image

from probe import LatentMap, find_attractors, load_autoencoder
from probe.config import DatasetConfig, SeedConfig, SolverConfig, load_config
from probe.data import load_images


@pytest.fixture(scope="module")
def model():
    return load_autoencoder("embedded:cifar-kl")


def test_it_is_small(model, root):
    file = root / "probe" / "autoencoders" / "embedded" / "cifar-kl" / "diffusion_pytorch_model.safetensors"
    assert file.stat().st_size <= 6_000_000
    assert 256 <= torch.Size(model.latent_shape(32)).numel() <= 1024


@pytest.mark.shared
def test_it_reconstructs_images_that_it_was_not_trained_on(model, shared):
    spec = DatasetConfig(source=f"parquet:{shared}/data/study/cifar10-test.parquet", n=1000, holdout=0)
    x = load_images("cifar10", spec, resolution=32).images / 127.5 - 1
    with torch.no_grad():
        y = torch.cat([model.decode(model.encode(batch)).clamp(-1, 1) for batch in x.split(100)])
    psnr = 10 * torch.log10(4 / (x - y).square().flatten(1).mean(1))
    assert psnr.mean() >= 22


@pytest.mark.parametrize(("count", "many"), [(12, 5), pytest.param(128, 20, marks=pytest.mark.slow)])
def test_at_least_half_of_the_starts_reach_certified_attractors_and_many_remain(model, root, count, many):
    limit = load_config(root / "configs" / "quickstart.yaml").solver.max_steps
    solver = SolverConfig(max_steps=limit, batch_size=128)
    # Other starts than those of the quickstart.
    _, dictionary = find_attractors(
        LatentMap(model), model.latent_shape(32), seeds=SeedConfig(count=count, seed=1), solver=solver
    )
    certified = dictionary.certificate == 1
    assert dictionary.basin[certified].sum() >= count / 2
    assert certified.sum() >= many


def test_training_is_a_function_of_its_configuration(tmp_path):
    from probe.autoencoders.embedded.train import TrainConfig, train_embedded

    noise = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        pixels = noise.integers(0, 256, (20, 1024, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    config = TrainConfig(
        steps=4, contraction_from=1, contraction_ramp=1, batch_size=4, trajectories=4, trajectory_rows=2, held_out=20
    )
    for out in ("a", "b"):
        train_embedded(config, tmp_path, tmp_path / out)
    one, two = (load_autoencoder(str(tmp_path / out)).weights_sha256() for out in ("a", "b"))
    assert one == two
