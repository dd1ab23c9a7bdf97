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
