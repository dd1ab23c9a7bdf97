"""The four image classes of diffusers, from folders saved by diffusers itself."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import AsymmetricAutoencoderKL, AutoencoderKL, AutoencoderTiny, VQModel

from probe import LatentMap, load_autoencoder
from probe.config import ModelConfig
from probe.dynamics import Jacobian, spectral_radius
from probe.errors import UserError

SMALL = {"block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 3}
MAKERS = {
    "AutoencoderKL": lambda: AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **SMALL
    ),
    "AutoencoderTiny": lambda: AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=3,
    ),
    "AsymmetricAutoencoderKL": lambda: AsymmetricAutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        down_block_out_channels=(8, 8),
        up_block_types=("UpDecoderBlock2D",) * 2,
        up_block_out_channels=(8, 8),
        latent_channels=3,
        norm_num_groups=4,
    ),
    "VQModel": lambda: VQModel(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        num_vq_embeddings=16,
        **SMALL,
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_each_class_loads_and_closes(name, tmp_path):
    torch.manual_seed(0)
    original = MAKERS[name]().eval()
    original.save_pretrained(tmp_path / "vae")
    model = load_autoencoder(str(tmp_path / "vae"))
    assert model.class_name == name
    assert model.latent_shape(16) == (3, 8, 8)
    assert model.downsampling == 2
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        encoded = original.encode(x)
        expected = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        # Another memory layout than the original's, and so another order of summation.
        assert torch.allclose(model.encode(x), expected, atol=1e-5)
        assert torch.allclose(model.decode(expected), original.decode(expected).sample, atol=1e-5)
        z = LatentMap(model)(expected)
    assert z.shape == expected.shape


def test_the_derivative_through_a_quantiser_is_the_true_one(tmp_path):
    torch.manual_seed(0)
    MAKERS["VQModel"]().save_pretrained(tmp_path / "vq")
    f = LatentMap(load_autoencoder(str(tmp_path / "vq")))
    z = torch.randn(1, 3, 4, 4)
    assert torch.allclose(f(z), f(z + 1e-5), atol=1e-5)  # piecewise constant, so
    assert spectral_radius(Jacobian(f, z)).value == 0


def test_scaled_coordinates_are_those_of_diffusers(tiny_vae):
    raw, scaled = load_autoencoder(str(tiny_vae)), load_autoencoder(ModelConfig(source=str(tiny_vae), latents="scaled"))
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        z = raw.encode(x)
        assert torch.allclose(scaled.encode(x), (z - 0.25) * 0.5, atol=1e-6)
        assert torch.allclose(scaled.decode((z - 0.25) * 0.5), raw.decode(z), atol=1e-5)


def test_clamping_is_an_option(tiny_vae):
    model = load_autoencoder(str(tiny_vae))
    z = 50 * torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        decoded = 100 * model.decode(z)
        loud = LatentMap(model, clamp=True)
        object.__setattr__(model, "decoder", lambda z: decoded)
        assert torch.equal(loud(z), model.encode(decoded.clamp(-1, 1)))
        assert torch.equal(LatentMap(model)(z), model.encode(decoded))


def test_weight_hash_follows_the_weights(tiny_vae, tmp_path):
    first = load_autoencoder(str(tiny_vae)).weights_sha256()
    assert first == load_autoencoder(str(tiny_vae)).weights_sha256()
    other = AutoencoderKL.from_pretrained(tiny_vae)
    with torch.no_grad():
        next(other.parameters()).flatten()[0] += 1e-3
    other.save_pretrained(tmp_path / "other")
    assert load_autoencoder(str(tmp_path / "other")).weights_sha256() != first


def test_subfolder_of_a_pipeline(tiny_vae):
    assert load_autoencoder(ModelConfig(source=str(tiny_vae.parent), subfolder="vae")).class_name == "AutoencoderKL"
    with pytest.raises(UserError, match=r"set model\.subfolder to one of vae"):
        load_autoencoder(str(tiny_vae.parent))


def copy_with(tiny_vae: Path, tmp_path: Path, **changes: object) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_vae, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def test_bad_folders_are_one_sentence(tiny_vae, tmp_path):
    unknown = copy_with(tiny_vae, tmp_path / "a", _class_name="UNet2DModel")
    pickled = copy_with(tiny_vae, tmp_path / "b")
    weights = pickled / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    truncated = copy_with(tiny_vae, tmp_path / "c")
    file = truncated / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, message in [
        (unknown, "UNet2DModel, which is no autoencoder"),
        (pickled, "pickle form only"),
        (truncated, "safetensors|do not load"),
        (empty, "there is no .*config.json"),
        (tmp_path / "absent", "there is no .*config.json"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            load_autoencoder(str(folder))
        assert "\n" not in str(caught.value)


def test_resolution_must_suit_the_downsampling(tiny_vae):
    with pytest.raises(UserError, match=r"not divisible by 4.*use 28"):
        load_autoencoder(str(tiny_vae)).latent_shape(30)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("GatedRepoError", "is gated"),
        ("RepositoryNotFoundError", "neither a local folder"),
        (None, "cannot be reached"),
    ],
)
def test_hub_errors_are_one_sentence(error, message, monkeypatch):
    if error:
        import huggingface_hub

        response = SimpleNamespace(headers={}, request=None, status_code=401)

        def raising(*_args, **_keywords):
            raise getattr(huggingface_hub.errors, error)("no", response=response)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", raising)
    with pytest.raises(UserError, match=message):
        load_autoencoder("somebody/private-vae")


def test_device_and_embedded_names_are_checked():
    with pytest.raises(UserError, match=r"model.device 'cuda:99'"):
        load_autoencoder(ModelConfig(device="cuda:99"))
    with pytest.raises(UserError, match="there is cifar-kl"):
        load_autoencoder("embedded:nothing")
