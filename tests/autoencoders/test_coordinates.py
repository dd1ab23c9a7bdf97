"""Scaled latents against the formulas of the pipelines; the table of all classes is compared in test_compatibility."""

import json

import pytest
import torch
from diffusers import AutoencoderKL, LTX2Pipeline, LTXPipeline

from probe import load_autoencoder
from probe.autoencoders.adapter import autoencoder_classes
from probe.autoencoders.compatibility import RESOLUTION, small_configurations
from probe.autoencoders.coordinates import RULES
from probe.autoencoders.pipelines import RAW, with_settings
from probe.config import ModelConfig
from probe.errors import UserError

CHANNELS = {"AutoencoderRAE": 64}


def pair(name, folder, change=lambda model: None, **settings):
    """The model itself, and as it is loaded in raw and in scaled coordinates."""
    small = small_configurations()[name]
    lengths = {key: small[key] for key in ("frames", "samples") if key in small}
    torch.manual_seed(0)
    model = with_settings(autoencoder_classes()[name], small["config"] | settings, CHANNELS.get(name, 4)).eval()
    change(model)
    model.save_pretrained(folder)
    raw, scaled = (
        load_autoencoder(ModelConfig(source=str(folder), latents=latents, **lengths)) for latents in ("raw", "scaled")
    )
    return model, raw, scaled, 0.5 * torch.rand(2, *raw.sample_shape(small.get("resolution", RESOLUTION)))


def same(one, other):
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5)


# The arithmetic with which each pipeline encodes, by hand.
BY_HAND = {
    "AutoencoderKL": lambda z, m: (z - m.config.shift_factor) * m.config.scaling_factor,
    "AutoencoderTiny": lambda z, m: (z - m.config.shift_factor) * m.config.scaling_factor,
    "AutoencoderDC": lambda z, m: z * m.config.scaling_factor,
    "AutoencoderKLCogVideoX": lambda z, m: m.config.scaling_factor * z,
    "AutoencoderKLHunyuanVideo": lambda z, m: z * m.config.scaling_factor,
    "AutoencoderKLWan": lambda z, m: (z - per_channel(m.config.latents_mean)) / per_channel(m.config.latents_std),
    "AutoencoderKLQwenImage": lambda z, m: (z - per_channel(m.config.latents_mean)) / per_channel(m.config.latents_std),
    "AutoencoderKLMochi": lambda z, m: (
        (z - per_channel(m.config.latents_mean)) * m.config.scaling_factor / per_channel(m.config.latents_std)
    ),
    "AutoencoderKLLTXVideo": lambda z, m: LTXPipeline._normalize_latents(
        z, m.latents_mean, m.latents_std, m.config.scaling_factor
    ),
    "AutoencoderKLLTX2Video": lambda z, m: LTX2Pipeline._normalize_latents(
        z, m.latents_mean, m.latents_std, m.config.scaling_factor
    ),
    "AutoencoderKLLTX2Audio": lambda z, m: LTX2Pipeline._unpack_audio_latents(
        LTX2Pipeline._normalize_audio_latents(
            LTX2Pipeline._pack_audio_latents(z), m.latents_mean, m.latents_std
        ), z.shape[2], z.shape[3]
    ),
    "AutoencoderOobleck": lambda z, m: z,
}  # fmt: skip


def per_channel(values):
    return torch.tensor(values).view(1, -1, 1, 1, 1)


@pytest.mark.parametrize("name", BY_HAND)
@torch.no_grad()
def test_scaled_latents_are_those_of_the_pipeline(name, tmp_path):
    model, raw, scaled, x = pair(name, tmp_path)
    z, s = raw.encode(x), scaled.encode(x)
    assert same(s, BY_HAND[name](z, model))
    assert same(RAW[name](s, model), z)
    assert same(scaled.decode(s), raw.decode(z))
    if str(RULES[name])[0] == "(":  # there is something to scale
        assert not same(s, z)


@torch.no_grad()
def test_flux2_is_scaled_in_patches(tmp_path):
    from diffusers import Flux2Pipeline

    model, raw, scaled, x = pair("AutoencoderKLFlux2", tmp_path)
    z, s = raw.encode(x), scaled.encode(x)
    mean, std = model.bn.running_mean, (model.bn.running_var + model.config.batch_norm_eps).sqrt()
    patches = (Flux2Pipeline._patchify_latents(z) - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
    assert same(s, Flux2Pipeline._unpatchify_latents(patches))
    assert same(scaled.decode(s), raw.decode(z))


@torch.no_grad()
def test_an_encoder_that_normalises_is_not_scaled_again(tmp_path):
    pytest.importorskip("transformers")
    model, raw, scaled, x = pair("AutoencoderRAE", tmp_path)
    assert model.config.scaling_factor == 0.7
    assert torch.equal(scaled.encode(x), raw.encode(x))
    assert same(scaled.encode(x), model.encode(x).latent)


def test_numbers_of_one_rule_name_each_class_once():
    assert set(RULES) == set(RAW)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("AutoencoderKLCosmos", "not known: its pipelines multiply by sigma_data"),
        ("AutoencoderVidTok", "not known: no pipeline of diffusers uses it"),
        ("ConvAutoencoder", "not known: no pipeline of diffusers uses it"),
    ],
)
def test_classes_without_a_rule_are_refused(name, message, tmp_path):
    with pytest.raises(UserError, match=f"{message}.*use model.latents=raw"):
        pair(name, tmp_path)


SMALL = {
    "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 8), "norm_num_groups": 4, "latent_channels": 3,
}  # fmt: skip
STATISTICS = {"latents_mean": [0.1, 0.2, 0.3], "latents_std": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scaling_factor": None}, "has no scaling_factor"),
        ({"latents_mean": STATISTICS["latents_mean"]}, "has no latents_std"),
        ({"latents_std": STATISTICS["latents_std"]}, "has no latents_mean"),
        ({**STATISTICS, "shift_factor": 0.5}, "shift_factor beside latents_mean, which no pipeline uses"),
        (
            {"latents_mean": [0.0, 0.0], "latents_std": [1.0, 1.0]},
            r"have 2 values, which do not fit latents of shape \(3, 8, 8\)",
        ),
    ],
)
def test_settings_for_which_no_rule_is_known_are_refused(settings, message, tmp_path):
    AutoencoderKL(**SMALL).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    load_autoencoder(str(tmp_path)).latent_shape(16)
    with pytest.raises(UserError, match=message):
        load_autoencoder(ModelConfig(source=str(tmp_path), latents="scaled")).latent_shape(16)


def test_a_setting_that_the_rule_does_not_use_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.json has shift_factor, which no pipeline uses"):
        pair("AutoencoderKLCogVideoX", tmp_path / "a", shift_factor=0.5)
    with pytest.raises(UserError, match=r"config\.json has latents_mean, which no pipeline uses"):
        pair("AutoencoderKLCogVideoX", tmp_path / "b", latents_mean=[0.0] * 4, latents_std=[1.0] * 4)


def test_buffers_that_are_no_statistics_are_refused(tmp_path):
    with pytest.raises(UserError, match="deviation above 0"):
        pair("AutoencoderKLLTXVideo", tmp_path, lambda model: model.latents_std.zero_())
