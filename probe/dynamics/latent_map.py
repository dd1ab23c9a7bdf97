"""The latent map f(z) = E(D(z)) (paper, Equation 2), and Gaussian starts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from probe.autoencoders import Autoencoder


class LatentMap:
    """f(z) = E(D(z)) of an autoencoder, in the coordinates that the autoencoder was loaded with.

    Args:
        autoencoder: supplies ``encode`` and ``decode``.
        clamp: clamp D(z) to the image range before it is encoded again (the paper does not).
    """

    def __init__(self, autoencoder: "Autoencoder", *, clamp: bool = False):
        self.autoencoder = autoencoder
        self.clamp = clamp

    def __call__(self, z: Tensor) -> Tensor:
        """Map latents (n, c, h, w) to latents of the same shape; differentiable."""
        x = self.autoencoder.decode(z)
        if self.clamp:
            x = x.clamp(*self.autoencoder.image_range)
        return self.autoencoder.encode(x)


@contextmanager
def in_type(f: Callable[[Tensor], Tensor], dtype: torch.dtype) -> Iterator[None]:
    """Within, a latent map computes in this type (its weights lose nothing if that is the finer one); any other
    function is left alone."""
    before = f.autoencoder.dtype if isinstance(f, LatentMap) else dtype
    modules = f.autoencoder.modules if isinstance(f, LatentMap) and before != dtype else ()
    try:
        for module in modules:
            nn.Module.to(module, dtype)  # diffusers' own warns of every change of type
        yield
    finally:
        for module in modules:
            nn.Module.to(module, before)


def gaussian_starts(seed: int, indices: Sequence[int] | range, shape: Sequence[int]) -> Tensor:
    """Starts z0 ~ N(0, I) (paper, Section 4.1).

    Start i has a generator of its own, so that it does not depend on the batch, the rank or a restart. Seed and indices
    are >= 0, ``shape`` is without the batch; float32 (len(indices), *shape) on the CPU.
    """
    starts = torch.empty((len(indices), *shape))
    generator = torch.Generator()
    for row, index in zip(starts, indices, strict=True):
        # SeedSequence mixes the pair: neighbouring seeds and indices give unrelated streams.
        state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0]
        generator.manual_seed(int(state >> np.uint64(1)))
        row.normal_(generator=generator)
    return starts
