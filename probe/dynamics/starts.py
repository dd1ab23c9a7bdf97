"""Gaussian starts, each a function of (run seed, index) alone."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def gaussian_starts(seed: int, indices: Sequence[int] | range, shape: Sequence[int]) -> Tensor:
    """Starts z0 ~ N(0, I) (paper, Section 4.1).

    Start i has a generator of its own, so that it does not depend on the batch, the rank or a restart.

    Args:
        seed: the run's seed, >= 0.
        indices: which starts, each >= 0.
        shape: the latent shape without the batch.

    Returns:
        float32 tensor (len(indices), *shape) on the CPU.
    """
    starts = torch.empty((len(indices), *shape))
    generator = torch.Generator()
    for row, index in zip(starts, indices, strict=True):
        # SeedSequence mixes the pair: neighbouring seeds and indices give unrelated streams.
        state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0]
        generator.manual_seed(int(state >> np.uint64(1)))
        row.normal_(generator=generator)
    return starts
