"""ViT-MAE of transformers, with random weights, against the model's own forward pass."""

import json

import pytest
import torch

from probe import LatentMap, load_autoencoder
from probe.autoencoders.vit_mae import IMAGENET
from probe.config import ModelConfig
from probe.dynamics import Jacobian, spectral_norm
from probe.errors import UserError

transformers = pytest.importorskip("transformers")


def save(folder, **changes):
    torch.manual_seed(0)
    config = transformers.ViTMAEConfig(
        image_size=16,
        patch_size=4,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        decoder_hidden_size=8,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
        initializer_range=0.3,
        **changes,
    )
    model = transformers.ViTMAEForPreTraining(config).eval()
    model.save_pretrained(folder)
    return model


def test_the_latent_is_the_whole_token_sequence_in_order(tmp_path):
    own = save(tmp_path)
    model = load_autoencoder(str(tmp_path))
    assert model.latent_shape(16) == (17, 8)
    mean, std = (torch.tensor(IMAGENET[key]).view(1, 3, 1, 1) for key in ("image_mean", "image_std"))
    x = torch.rand(2, 3, 16, 16)
    own.config.mask_ratio = 0.0
    with torch.no_grad():
        whole = own((x - mean) / std, noise=torch.arange(16.0).expand(2, -1))
        assert torch.allclose(model.decode(model.encode(x)), own.unpatchify(whole.logits) * std + mean, atol=1e-5)
        # Independent of the order in which the encoder is given the patches.
        shuffled = own((x - mean) / std, noise=torch.rand(2, 16))
        assert torch.allclose(shuffled.logits, whole.logits, atol=1e-4)
        # A patch is where its tokens are.
        z = model.encode(x)
        moved = z.clone()
        moved[:, 1] += 10.0
        change = (model.decode(moved) - model.decode(z)).abs().amax((0, 1))
    assert change[:4, :4].max() == change.max()


def test_it_can_be_certified_and_other_sizes_are_refused(tmp_path):
    save(tmp_path)
    model = load_autoencoder(ModelConfig(source=str(tmp_path), dtype="float64"))
    f, z = LatentMap(model), torch.randn(1, 17, 8, dtype=torch.float64)
    dense = torch.autograd.functional.jacobian(lambda v: f(v.view_as(z)).flatten(), z.flatten())
    assert float(spectral_norm(Jacobian(f, z)).value) == pytest.approx(
        float(torch.linalg.matrix_norm(dense, 2)), rel=1e-3
    )
    with pytest.raises(UserError, match="images of side 16 only"):
        model.latent_shape(32)


def test_the_normalisation_is_that_of_the_repository(tmp_path):
    save(tmp_path)
    plain = load_autoencoder(str(tmp_path))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    other = load_autoencoder(str(tmp_path))
    mean, std = (torch.tensor(IMAGENET[key]).view(1, 3, 1, 1) for key in ("image_mean", "image_std"))
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(other.encode(x), plain.encode((x - 0.5) / 0.5 * std + mean), atol=1e-4)


def test_what_is_no_autoencoder_is_refused(tmp_path):
    save(tmp_path / "normed", norm_pix_loss=True)
    with pytest.raises(UserError, match="undefined"):
        load_autoencoder(str(tmp_path / "normed"))
    save(tmp_path / "whole").vit.save_pretrained(tmp_path / "encoder")
    with pytest.raises(UserError, match=r"weights are incomplete, .*: decoder"):
        load_autoencoder(str(tmp_path / "encoder"))


def edited(folder, **settings):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return str(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_hidden_layers": 1}, r"no place for, vit\.layers\.1\."),
        ({"num_hidden_layers": 3}, r"vit\.layers\.2\..* is missing"),
        ({"hidden_size": 10}, "another architecture"),
        ({"image_size": 100_000, "patch_size": 1}, "another architecture"),
        ({"intermediate_size": 10**6}, "config.json describes .* numbers"),
        ({"num_hidden_layers": 10**7}, "num_hidden_layers in config.json is 10,000,000"),
        ({"num_hidden_layers": 900_000}, "describes a model of more than"),
        ({"hidden_size": "many"}, "no model can be built from config.json"),
    ],
)
def test_the_weights_are_those_of_the_configuration(settings, message, tmp_path):
    save(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        load_autoencoder(edited(tmp_path, **settings))
    assert len(str(caught.value)) < 500


def test_scaled_latents_are_refused(tmp_path):
    save(tmp_path)
    with pytest.raises(UserError, match=r"no scaled coordinates; use model\.latents=raw"):
        load_autoencoder(ModelConfig(source=str(tmp_path), latents="scaled"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_mean": "auto"}, "image_mean in preprocessor_config.json must be a list of 3 numbers"),
        ({"image_mean": [0.5, 0.5]}, "must be a list of 3 numbers"),
        ({"image_std": [1.0, 0.0, 1.0]}, "image_std in preprocessor_config.json must be a finite number above 0"),
        ({"image_std": [1.0, "x", 1.0]}, "image_std in preprocessor_config.json must be a finite number above 0"),
    ],
)
def test_a_normalisation_that_is_none_is_refused(settings, message, tmp_path):
    save(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=message):
        load_autoencoder(str(tmp_path))
