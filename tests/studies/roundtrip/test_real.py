"""Real autoencoders, cycle by cycle: the same as a loop over single images, measured by scikit-image."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from probe import load_autoencoder
from probe.config import DatasetConfig, ModelConfig
from probe.data.load import load_images
from probe.studies.roundtrip.trip import round_trip

from .models import settings

CYCLES = 4


def by_hand(model, image: torch.Tensor, between: str) -> list[float]:
    """PSNR after 1..CYCLES cycles of one uint8 image (3, H, W)."""
    x0, found = image.double().numpy() / 255, []
    low, high = model.image_range
    x = image[None].float() / 255
    for _ in range(CYCLES):
        with torch.no_grad():
            x = (model.decode(model.encode(x * (high - low) + low)) - low) / (high - low)
        if between == "8bit":
            x = (x.clamp(0, 1) * 255).round() / 255
        found.append(peak_signal_noise_ratio(x0, np.clip(x[0].double().numpy(), 0, 1), data_range=1.0))
    return found


@pytest.mark.parametrize("between", ["none", "8bit"])
@pytest.mark.parametrize("name", ["embedded", pytest.param("taef2", marks=pytest.mark.shared)])
def test_a_real_model_loses_what_a_plain_loop_loses(name, between, request, root):
    if name == "embedded":
        spec, source = ModelConfig(device="cpu"), "bundled:photographs"
    else:
        folder = request.getfixturevalue("shared")
        spec = ModelConfig(source=f"python:{root}/tests/models/taef2.py:load", device="cpu")
        source = f"parquet:{folder}/data/six/imagenet.parquet"
    model = load_autoencoder(spec)
    images = load_images("images", DatasetConfig(source=source, n=3, holdout=0), resolution=32).images
    found, tensors, _ = round_trip(model, between, images, settings(cycles=CYCLES, solver={"max_steps": 0}))
    for row, image in enumerate(images):
        # Batches of other sizes are summed in another order, and a value near one half is then rounded the other way.
        assert found.columns["psnr"][row, 1:].tolist() == pytest.approx(by_hand(model, image, between), abs=0.01)
    assert (found.columns["psnr"][:, CYCLES] < found.columns["psnr"][:, 1] - 1).all()
    assert tensors["outcome"].tolist() == [2] * 3
