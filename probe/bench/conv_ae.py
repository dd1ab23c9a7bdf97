"""The paper's convolutional autoencoder (Table 4), trained on the spot: it converges, each start at its own speed."""

from functools import cache

import torch
from torch.nn import functional as F

from probe.autoencoders.convolutional import ConvAutoencoder
from probe.config import DatasetConfig
from probe.data.load import load_images

SIDE, K, STEPS = 32, 16, 600


@cache
def load() -> ConvAutoencoder:
    """k = 16 on scikit-learn's digits at 32 px, by 600 steps of Adam: half a minute on two cores.

    In float64, since in float32 rounding alone makes another model of it on another machine or number of threads, with
    other attractors and other speeds.
    """
    spec = DatasetConfig(source="bundled:digits", n=1797, holdout=0)
    x = load_images("digits", spec, resolution=SIDE).images.double() / 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ConvAutoencoder(sample_size=SIDE, latent_dim=K).double()
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5)
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, STEPS)
        for _ in range(STEPS):
            batch = x[torch.randint(len(x), (64,))]
            optimiser.zero_grad()
            F.mse_loss(model(batch), batch).backward()
            optimiser.step()
            schedule.step()
    return model.float()
