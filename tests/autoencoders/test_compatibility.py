"""Every autoencoder class of the installed diffusers has a latent map, or a reason why not."""

import diffusers
import pytest
import torch
from diffusers.models import autoencoders

from probe.autoencoders.adapter import autoencoder_classes, latent_in, why_undefined
from probe.autoencoders.compatibility import compatibility, markdown


@pytest.mark.slow
def test_the_table_in_the_documentation_is_true(root):
    rows = list(compatibility())
    assert not [row for row in rows if row.status == "fails"]
    assert all(row.reason for row in rows if row.status != "works")
    page = (root / "docs" / "models.md").read_text()
    # Another diffusers may have other classes, and without transformers one is not tried.
    if f"diffusers {diffusers.__version__}," in page and not any("not installed" in row.reason for row in rows):
        assert page == markdown(rows)


def test_no_autoencoder_of_diffusers_is_left_out():
    named = {name for name in autoencoders.__dict__ if name.startswith(("Autoencoder", "AsymmetricAutoencoder"))}
    assert named
    assert named | {"VQModel", "ConvAutoencoder"} <= set(autoencoder_classes())


def test_signatures_say_why_a_map_is_undefined():
    class Vocoder:
        def forward(self, x): ...

    class Conditioned:
        def encode(self, x, mask): ...
        def decode(self, z): ...

    class Sampler:
        def encode(self, x): ...
        def decode(self, z, num_inference_steps=2): ...

    class Plain:
        def encode(self, x, return_dict=True): ...
        def decode(self, z, num_frames, return_dict=True): ...

    assert why_undefined(Vocoder) == "it has no encode and no decode"
    assert why_undefined(Conditioned) == "its encode also needs mask"
    assert "draws noise" in why_undefined(Sampler)
    assert why_undefined(Plain) is None


def test_what_an_encoder_returns_is_read_without_noise():
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution, EncoderOutput
    from diffusers.models.modeling_outputs import AutoencoderKLOutput

    mean = torch.randn(1, 2, 3, 3)
    posterior = DiagonalGaussianDistribution(torch.cat([mean, torch.ones_like(mean)], dim=1))
    for output in (AutoencoderKLOutput(latent_dist=posterior), (posterior,), EncoderOutput(latent=mean), mean):
        assert torch.equal(latent_in(output), mean)
    with pytest.raises(TypeError, match="without latent_dist"):
        latent_in(object())
