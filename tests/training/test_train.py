"""Training: the closed form of one step, determinism, resuming after a kill, and what is refused."""

import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from probe import load_autoencoder
from probe.autoencoders.convolutional import ConvAutoencoder
from probe.errors import UserError
from probe.training.config import TrainConfig
from probe.training.images import as_input, crop, fitted, is_grey, pad
from probe.training.train import build, disturbed, train

SMALL = TrainConfig(base_channels=2, epochs=4, batch_size=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def images():
    """40 blurred pictures, grey, 16 px."""
    coarse = np.random.default_rng(0).random((40, 1, 4, 4))
    return torch.from_numpy((coarse.repeat(4, 2).repeat(4, 3) * 255).astype(np.uint8))


def fit(images, folder, config=SMALL, seed=0, k=3, **more):
    return train(images, side=16, k=k, config=config, seed=seed, folder=folder, cpu=True, **more)


def weights(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def test_one_step_of_adam_on_the_whole_set_is_the_closed_form(images, tmp_path):
    config = TrainConfig(base_channels=2, epochs=1, batch_size=40, learning_rate=1e-3, weight_decay=0.1)
    start = build(1, 16, 3, config, 5)
    loss = F.mse_loss(start(images.float() / 255), images.float() / 255)
    loss.backward()
    trained = fit(images, tmp_path, config, seed=5)
    for (name, before), after in zip(start.named_parameters(), trained.model.parameters(), strict=True):
        gradient = before.grad + 0.1 * before  # L2, not decoupled
        # The first step of Adam is lr * g / (|g| + eps), whatever the betas; the order of the batch moves the last
        # bits of g, which matters where g is near eps.
        expected = before - 1e-3 * gradient / (gradient.abs() + 1e-8)
        assert torch.allclose(after, expected, atol=1e-5), name
    assert trained.losses == pytest.approx([loss.item()], rel=1e-5)


def test_the_schedule_falls_linearly_to_nothing(images, tmp_path):
    """With a constant gradient direction Adam steps by the learning rate: the steps tell the schedule."""
    config = TrainConfig(base_channels=2, epochs=4, batch_size=40, learning_rate=1e-4)
    config = config.model_copy(update={"weight_decay": 1e6, "checkpoint_every": 1})  # beyond what a user may set
    seen = [weights(build(1, 16, 3, config, 0))]
    fit(images, tmp_path, config)
    for epoch in range(1, 5):
        seen.append(weights(ConvAutoencoder.from_pretrained(tmp_path / f"epoch-{epoch:04d}")))
    far = seen[0].abs() > 0.01  # weights that do not come near 0 on the way
    steps = [float((a - b)[far].abs().mean()) for a, b in itertools.pairwise(seen)]
    assert steps == pytest.approx([1e-4, 0.75e-4, 0.5e-4, 0.25e-4], rel=0.02)


def test_training_learns_and_the_loss_is_kept(tmp_path):
    images = torch.linspace(0, 255, 40).byte().view(-1, 1, 1, 1).expand(-1, 1, 16, 16).contiguous()  # of one grey each
    config = TrainConfig(base_channels=4, epochs=60, batch_size=16, learning_rate=5e-3, weight_decay=0)
    seen = []
    trained = fit(images, tmp_path, config, k=16, on_epoch=lambda *news: seen.append(news))
    assert trained.losses[-1] < 0.1 * trained.losses[0]
    assert seen == [(epoch + 1, 60, loss) for epoch, loss in enumerate(trained.losses)]
    x = images.float() / 255
    assert F.mse_loss(trained.model(x), x).item() == pytest.approx(trained.losses[-1], rel=0.2)


def test_deterministic_by_seed_and_no_one_elses_random_numbers_are_touched(images, tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one = fit(images, tmp_path / "1")
    assert torch.equal(torch.rand(3), expected)
    two, other = fit(images, tmp_path / "2"), fit(images, tmp_path / "3", seed=1)
    assert torch.equal(weights(one.model), weights(two.model))
    assert not torch.equal(weights(one.model), weights(other.model))


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [1, 3])
def test_a_killed_training_goes_on_to_the_same_weights(images, tmp_path, at):
    config = TrainConfig(**{**SMALL.model_dump(), "noise": 0.1, "mask": 0.3, "checkpoint_every": 2})
    whole = fit(images, tmp_path / "whole", config)

    def kill(done, *_):
        if done == at:
            raise Killed

    with pytest.raises(Killed):
        fit(images, tmp_path / "parts", config, on_epoch=kill, save_every=0)
    done = []
    parts = fit(images, tmp_path / "parts", config, on_epoch=lambda epoch, *_: done.append(epoch))
    assert done == list(range(at + 1, 5))  # nothing twice
    assert torch.equal(weights(parts.model), weights(whole.model))
    assert parts.losses == whole.losses
    for epoch in (2, 4):
        one, two = (load_file(tmp_path / w / f"epoch-{epoch:04d}" / FILE) for w in ("whole", "parts"))
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert fit(images, tmp_path / "parts", config, on_epoch=kill).losses == whole.losses  # done: no epoch at all


FILE = "diffusion_pytorch_model.safetensors"


def test_every_checkpoint_is_opened_like_any_model(images, tmp_path):
    trained = fit(images, tmp_path, TrainConfig(**{**SMALL.model_dump(), "checkpoint_every": 1}))
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert folders == [f"epoch-{epoch:04d}" for epoch in range(5)]
    untrained = load_file(tmp_path / "epoch-0000" / FILE)
    assert all(torch.equal(value, untrained[name]) for name, value in build(1, 16, 3, SMALL, 0).state_dict().items())
    model = load_autoencoder(str(trained.folder))
    assert model.latent_shape(16) == (3,)
    x = images.float() / 255
    with torch.no_grad():
        assert torch.allclose(model.decode(model.encode(x)), trained.model(x), atol=1e-6)


def test_a_shallower_network_takes_mnist_as_it_is_and_learns(tmp_path):
    """The architecture of a replication of the paper by another author: convolutions of 32 and 64 channels."""
    images = torch.linspace(0, 255, 32).byte().view(-1, 1, 1, 1).expand(-1, 1, 28, 28).contiguous()  # of one grey each
    config = TrainConfig(
        base_channels=32, convolutions=2, schedule="constant", epochs=8, batch_size=8, learning_rate=2e-3
    )
    side = fitted(28, "mnist", config.convolutions)
    assert side == 28
    trained = train(images, side=side, k=8, config=config, seed=0, folder=tmp_path, cpu=True)
    assert trained.losses[-1] < 0.5 * trained.losses[0]
    model = load_autoencoder(str(trained.folder))
    assert (model.side, model.latent_shape(28)) == (28, (8,))
    x = images.float() / 255
    with torch.no_grad():
        z = model.encode(x)
        assert z.shape == (32, 8)
        assert torch.allclose(model.decode(z), trained.model(x), atol=1e-6)
        assert 0 <= model.decode(100 * z).min() <= model.decode(100 * z).max() <= 1


def test_a_constant_schedule_keeps_the_learning_rate(images, tmp_path):
    config = TrainConfig(base_channels=2, epochs=4, batch_size=40, learning_rate=1e-4, schedule="constant")
    config = config.model_copy(update={"weight_decay": 1e6})  # a constant gradient direction, as above
    before, after = weights(build(1, 16, 3, config, 0)), weights(fit(images, tmp_path, config).model)
    far = before.abs() > 0.01
    assert float((after - before)[far].abs().mean()) == pytest.approx(4e-4, rel=0.02)
    assert config.rate(4, 4) == 1e-4


def test_small_sets_are_gone_through_more_often(images, tmp_path):
    config = TrainConfig(base_channels=2, epochs=2, batch_size=16, min_steps=10)
    assert config.epochs_for(40) == 4  # of 3 steps each
    assert fit(images, tmp_path, config).epochs == 4
    assert config.epochs_for(1000) == 2


def test_what_does_not_fit_is_refused_in_a_sentence(images, tmp_path):
    with pytest.raises(UserError, match=r"k = 17 is more than the 16 features .* raise base_channels to 3"):
        fit(images, tmp_path, k=17)
    assert build(1, 16, 17, TrainConfig(base_channels=3), 0)
    with pytest.raises(UserError, match="no training image"):
        fit(images[:0], tmp_path)
    with pytest.raises(UserError, match="images of side 15 are too small for 4 strides of 2, which need 16"):
        fitted(15, "mnist", 4)
    far = TrainConfig(base_channels=2, epochs=3, batch_size=4).model_copy(update={"learning_rate": 1e30})
    with pytest.raises(UserError, match="loss is not finite in epoch 1"):
        fit(images, tmp_path / "far", far)


def test_another_trainings_checkpoint_is_refused(images, tmp_path):
    fit(images, tmp_path)
    with pytest.raises(UserError, match=r"another training .architecture: latent_dim is 3 there and 4 now"):
        fit(images, tmp_path, k=4)
    with pytest.raises(UserError, match="training: seed is 0 there and 1 now"):
        fit(images, tmp_path, seed=1)
    with pytest.raises(UserError, match=r"images is '.*' there"):
        fit(images[:39], tmp_path)
    (tmp_path / "training.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(UserError, match=r"training.safetensors is damaged .*; remove it"):
        fit(images, tmp_path)


def test_padding_and_its_inverse():
    images = torch.arange(2 * 28 * 28).reshape(1, 2, 28, 28)
    assert fitted(28, "mnist", 4) == 32
    assert fitted(32, "cifar", 4) == 32
    framed = pad(images, 32)
    assert framed.shape == (1, 2, 32, 32)
    assert torch.equal(framed[..., 2:30, 2:30], images)
    assert framed.sum() == images.sum()
    for side in (32, 33, 28):
        assert torch.equal(crop(pad(images, side), 28), images)
    assert as_input(torch.full((1, 1, 16, 16), 255, dtype=torch.uint8), 16).max() == 1


def test_grey_is_told_from_colour():
    grey = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8).expand(-1, 3, -1, -1)
    assert is_grey(grey)
    coloured = grey.clone()
    coloured[3, 2, 0, 0] ^= 1
    assert not is_grey(coloured)


def test_noise_and_masks_are_as_strong_as_asked():
    x = torch.full((200, 3, 16, 16), 0.5)
    generator = torch.Generator().manual_seed(0)
    noisy = disturbed(x, noise=0.2, mask=0.0, generator=generator) - x
    assert noisy.std().item() == pytest.approx(0.2, rel=0.02)  # 153,600 numbers: the error of the deviation is 0.2 %
    masked = disturbed(x, noise=0.0, mask=0.3, generator=generator) == 0
    assert masked.float().mean().item() == pytest.approx(0.3, abs=0.03)  # 3200 patches: deviation 0.008
    patches = masked.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)
    assert torch.equal(patches.all(-1), patches.any(-1))  # whole patches,
    assert torch.equal(masked[:, 0], masked[:, 2])  # in all channels
    assert disturbed(x, noise=0.0, mask=0.0, generator=generator) is x


def test_weights_of_he_keep_the_second_moment_and_torchs_lose_it():
    """Through ten layers; behind the last convolution only, since a sigmoid follows it."""
    moments = {}
    for how in ("torch", "he"):
        model = build(1, 64, 64, TrainConfig(base_channels=32, initialisation=how), 0)
        z = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
        before = model.decoder[:-1](z)
        moments[how] = float((before - before.mean(0)).detach().square().mean())
    assert 0.3 < moments["he"] < 3
    assert moments["torch"] < 1e-3
