"""The latent map f(z) = E(D(z)) (paper, Equation 2)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
