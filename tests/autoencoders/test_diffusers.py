"""The four image classes of diffusers, from folders saved by diffusers itself."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AsymmetricAutoencoderKL, AutoencoderKL, AutoencoderTiny, VQModel

from probe import LatentMap, load_autoencoder
from probe.config import ModelConfig
from probe.dynamics import Jacobian, spectral_radius
from probe.errors import UserError

from ..hub.repositories import OWN

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


def test_subfolder_of_a_pipeline(tiny_vae, tmp_path):
    for subfolder in ("vae", None):
        spec = ModelConfig(source=str(tiny_vae.parent), subfolder=subfolder)
        assert load_autoencoder(spec).class_name == "AutoencoderKL"
    shutil.copytree(tiny_vae, tmp_path / "other")
    with pytest.raises(UserError, match=r"set model\.subfolder to one of other"):
        load_autoencoder(str(tmp_path))


def test_a_variant_and_shards_are_read(tiny_vae, tmp_path):
    expected = load_autoencoder(str(tiny_vae)).weights_sha256()
    model = AutoencoderKL.from_pretrained(tiny_vae)
    model.save_pretrained(tmp_path / "variant", variant="fp16")
    assert (tmp_path / "variant" / "diffusion_pytorch_model.fp16.safetensors").exists()
    assert load_autoencoder(ModelConfig(source=str(tmp_path / "variant"), variant="fp16")).weights_sha256() == expected
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert load_autoencoder(str(tmp_path / "shards")).weights_sha256() == expected


def test_one_file_is_enough_with_a_configuration(tiny_vae, tmp_path):
    expected = load_autoencoder(str(tiny_vae)).weights_sha256()
    beside = tiny_vae / "diffusion_pytorch_model.safetensors"
    assert load_autoencoder(str(beside)).weights_sha256() == expected
    alone = tmp_path / "weights.safetensors"
    shutil.copy(beside, alone)
    for config in (tiny_vae, tiny_vae.parent):  # the folder, or the pipeline around it
        assert load_autoencoder(ModelConfig(source=str(alone), config=str(config))).weights_sha256() == expected
    with pytest.raises(UserError, match=r"set model\.config"):
        load_autoencoder(str(alone))
    with pytest.raises(UserError, match="no such file"):
        load_autoencoder(str(tmp_path / "absent.safetensors"))
    for suffix in (".ckpt", ".bin", ".pt"):
        with pytest.raises(UserError, match="pickle form"):
            load_autoencoder(str(tmp_path / f"weights{suffix}"))


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
        (unknown, "UNet2DModel, which is not an autoencoder"),
        (pickled, "pickle form only"),
        (truncated, "safetensors|do not load"),
        (empty, "there is no .*config.json"),
        (tmp_path / "absent", "there is no .*config.json"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            load_autoencoder(str(folder))
        assert "\n" not in str(caught.value)


def test_weights_that_would_stay_at_random_are_refused(tiny_vae, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copy_with(tiny_vae, tmp_path)
    file = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["decoder.conv_in.weight"]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"incomplete, .*: decoder\.conv_in\.weight is missing \(1 in all\)"):
        load_autoencoder(str(folder))
    with pytest.raises(UserError, match=r"incomplete, .*: decoder\.conv_in\.weight is missing \(1 in all\)"):
        load_autoencoder(str(file))


OWN_CODE = "import pathlib\n\npathlib.Path({trace!r}).touch()\n" + OWN


def test_code_of_a_repository_runs_only_where_it_is_trusted(tmp_path, monkeypatch):
    import diffusers.utils.dynamic_modules_utils as dynamic
    from safetensors.torch import save_file

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, trace = tmp_path / "own", tmp_path / "trace"
    folder.mkdir()
    (folder / "halving.py").write_text(OWN_CODE.format(trace=str(trace)))
    (folder / "config.json").write_text(
        json.dumps({"_class_name": "Halving", "auto_map": {"AutoModel": "halving.Halving"}})
    )
    save_file({"scale": torch.tensor(0.25)}, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"its own code, halving\.py; .*model\.trust_remote_code"):
        load_autoencoder(str(folder))
    assert not trace.exists()
    model = load_autoencoder(ModelConfig(source=str(folder), trust_remote_code=True))
    assert trace.exists()
    assert model.class_name == "Halving"
    z = torch.randn(2, 3, 4, 4)
    assert torch.allclose(LatentMap(model)(z), 0.25 * z, atol=1e-6)
    assert model.code_sha256 == hashlib.sha256((folder / "halving.py").read_bytes()).hexdigest()


def test_subfolders_stay_inside():
    for subfolder in ("../other", "/etc", "vae/../../other"):
        with pytest.raises(ValueError, match="inside the model's folder"):
            ModelConfig(source="somebody/vae", subfolder=subfolder)


def test_tiles_and_slices_are_those_of_diffusers(tiny_vae, tmp_path):
    model = load_autoencoder(ModelConfig(source=str(tiny_vae), tiling=True, slicing=True))
    assert model.modules[0].use_tiling
    assert model.modules[0].use_slicing
    plain, x = load_autoencoder(str(tiny_vae)), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(model.encode(x), plain.encode(x), atol=1e-5)  # smaller than a tile
    MAKERS["VQModel"]().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"a VQModel has no tiling; leave model\.tiling out"):
        load_autoencoder(ModelConfig(source=str(tmp_path), tiling=True))


def test_resolution_must_suit_the_downsampling(tiny_vae):
    with pytest.raises(UserError, match=r"not divisible by 4.*use 28"):
        load_autoencoder(str(tiny_vae)).latent_shape(30)


def test_device_and_embedded_names_are_checked():
    with pytest.raises(UserError, match=r"model.device 'cuda:99' is not available here; use auto or cpu"):
        load_autoencoder(ModelConfig(device="cuda:99"))
    with pytest.raises(UserError, match=r"embedded ones: cifar-attractors, cifar-plain\.$"):
        load_autoencoder("embedded:nothing")
    with pytest.raises(UserError, match=r"cifar-attractors, cifar-plain \(cifar-attractors replaced cifar-kl\)"):
        load_autoencoder("embedded:cifar-kl")


def test_per_channel_statistics_scale_as_pipelines_do(tmp_path):
    mean, std = (0.5, -1.0, 2.0), (0.5, 2.0, 3.0)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latents_mean=mean,
        latents_std=std,
        scaling_factor=0.5,
        **SMALL,
    ).save_pretrained(tmp_path)
    raw, scaled = (load_autoencoder(ModelConfig(source=str(tmp_path), latents=kind)) for kind in ("raw", "scaled"))
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        z = raw.encode(x)
        # StableDiffusionXLPipeline: latents * std / scaling_factor + mean before decoding.
        expected = (z - torch.tensor(mean).view(1, 3, 1, 1)) * 0.5 / torch.tensor(std).view(1, 3, 1, 1)
        assert torch.allclose(scaled.encode(x), expected, atol=1e-5)
        assert torch.allclose(scaled.decode(expected), raw.decode(z), atol=1e-4)


def test_the_two_maps_of_a_code_book(tmp_path):
    torch.manual_seed(0)
    original = MAKERS["VQModel"]().eval()
    original.save_pretrained(tmp_path)
    z = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        continuous, quantised = (
            LatentMap(load_autoencoder(ModelConfig(source=str(tmp_path), quantisation=name)))(z)
            for name in ("continuous", "quantised")
        )
        plain = original.encode(original.decode(z).sample).latents
        assert torch.allclose(continuous, plain, atol=1e-5)
        decoded = original.decode(z, force_not_quantize=True).sample
        assert torch.allclose(quantised, original.quantize(original.encode(decoded).latents)[0], atol=1e-5)


@pytest.mark.parametrize("norm", ["group", "spatial"])
def test_a_code_book_that_decode_looks_up_is_the_same_map(norm, tmp_path):
    """With lookup_from_codebook, decode takes numbers of code vectors where it is told not to quantise."""
    torch.manual_seed(0)
    settings = {**SMALL, "num_vq_embeddings": 16, "norm_type": norm, "vq_embed_dim": 2 if norm == "group" else 3}
    settings["block_out_channels"] = (32, 32)  # a spatial norm has 32 groups
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    original = VQModel(**blocks, **settings, lookup_from_codebook=True).eval()
    original.save_pretrained(tmp_path)
    z = torch.randn(2, settings["vq_embed_dim"], 8, 8)
    with torch.no_grad():
        for name in ("continuous", "quantised"):
            model = load_autoencoder(ModelConfig(source=str(tmp_path), quantisation=name))
            assert model.latent_shape(16) == tuple(z.shape[1:])
            codes = original.quantize(z)[0]
            decoded = original.decode(z).sample
            assert torch.allclose(model.decode(z if name == "continuous" else codes), decoded, atol=1e-5)
            encoded = original.encode(decoded).latents
            expected = encoded if name == "continuous" else original.quantize(encoded)[0]
            assert torch.allclose(LatentMap(model)(z if name == "continuous" else codes), expected, atol=1e-5)


def test_a_video_model_takes_still_images_and_an_audio_model_none(tmp_path):
    import yaml

    from probe.autoencoders import compatibility
    from probe.autoencoders.adapter import autoencoder_classes

    small = yaml.safe_load(Path(compatibility.__file__).with_name("small.yaml").read_text())
    models = {}
    for name, lengths in (("AutoencoderKLWan", {"frames": 5}), ("AutoencoderOobleck", {"samples": 512})):
        autoencoder_classes()[name](**small[name]["config"]).save_pretrained(tmp_path / name)
        models[name] = load_autoencoder(ModelConfig(source=str(tmp_path / name), **lengths))
    video, audio = models.values()
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    x = video.from_pixels(pixels)
    assert x.shape == (2, 3, 5, 16, 16)
    assert torch.equal(x[:, :, 0], x[:, :, 4])
    assert torch.equal(video.to_pixels(x), pixels)
    assert video.encode(x).shape[1:] == video.latent_shape(16) == (4, 2, 2, 2)
    with pytest.raises(UserError, match="audio model and takes no images"):
        audio.from_pixels(pixels)
    assert audio.latent_shape(16) == (4, 64)
    assert audio.to_pixels(torch.zeros(2, 2, 512)).shape == (2, 3, 22, 22)


def test_a_class_without_a_map_says_why(tiny_vae, tmp_path):
    folder = copy_with(tiny_vae, tmp_path, _class_name="MMAudioVocoder")
    with pytest.raises(UserError, match="undefined: it has no encode and no decode"):
        load_autoencoder(str(folder))
