"""diffusers' AutoencoderRAE (a frozen encoder of transformers and a trained decoder), random weights, from disk."""

import json
from importlib.util import find_spec

import pytest
import torch

from probe import LatentMap, load_autoencoder
from probe.autoencoders.adapter import autoencoder_classes
from probe.autoencoders.compatibility import small_configurations
from probe.cli.main import app

pytestmark = pytest.mark.skipif(
    find_spec("transformers") is None or "AutoencoderRAE" not in autoencoder_classes(),
    reason="needs transformers, and a diffusers that has AutoencoderRAE",
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rae")
    torch.manual_seed(0)
    model = autoencoder_classes()["AutoencoderRAE"](**small_configurations()["AutoencoderRAE"]["config"]).eval()
    model.save_pretrained(folder)
    return model, folder


@torch.no_grad()
def test_it_is_loaded_as_it_was_saved(saved):
    own, folder = saved
    model = load_autoencoder(str(folder))
    assert (model.class_name, model.image_range) == ("AutoencoderRAE", (0.0, 1.0))
    z = torch.randn(2, *model.latent_shape(32), generator=torch.Generator().manual_seed(0))
    composed = own.encode(own.decode(z).sample).latent
    assert torch.allclose(LatentMap(model)(z), composed, atol=1e-5)


def test_it_runs_from_noise_to_outcomes(saved, tmp_path, capsys):
    settings = {
        "seeds.count": 3,
        "solver.max_steps": 15,
        "solver.exponents": 0,
        "sparse.levels": [2],
        "datasets": {"digits": {"n": 2, "holdout": 0}},
    }
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    app(["run", "--model", str(saved[1]), *flags, "--out", str(tmp_path / "run"), "--json"], standalone_mode=False)
    report = json.loads(capsys.readouterr().out)
    assert report["model"]["class"] == "AutoencoderRAE"
    assert sum(report["solver"]["outcomes"].values()) == 3
    assert report["datasets"]["digits"]["n_used"] == 2
