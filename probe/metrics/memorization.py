"""Memorization (paper, Section 3): how close decoded attractors are to training images, and the null levels.

| symbol | meaning | shape |
|---|---|---|
| D(z*) | decoded attractors | (n, c, h, w) |
| x | training images | (m, c, h, w) |
| mem(z*) | max over x of cos(D(z*), x) | (n,) |

Images of one kind look alike: unseen test images reach 0.86 on MNIST, and random pixels 0.5. Only values above these
levels mean memorization.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from probe.metrics.nearest import nearest_cosine


def memorization(decoded: Tensor, training: Tensor) -> Tensor:
    """mem(z*) of decoded attractors: cosine similarity to the closest training image.

    Not centred, as in the paper: for images in [0, 1] the common brightness alone makes it positive.

    Args:
        decoded: (n, ...), in the range of ``training``.
        training: (m, ...), m >= 1, uint8 or floating point; the scale does not matter, the origin does.

    Returns:
        (n,) in [-1, 1], in [0, 1] for non-negative images; 0 for an all-zero image.

    Raises:
        ValueError: there are no training images, or the sizes differ.
    """
    return nearest_cosine(decoded, training)


def null_levels(
    training: Tensor, *, unseen: Tensor, noise: Tensor, untrained: Tensor | None = None
) -> dict[str, Tensor]:
    """mem of images that training cannot have produced.

    Args:
        unseen: images of the same kind that were not trained on, such as the test set.
        noise: such as ``noise_images``.
        untrained: decoded attractors of the same network with initial weights, from the same starts.

    Returns:
        A tensor (n,) for each that is given, by name.
    """
    shown = {"unseen": unseen, "noise": noise, "untrained": untrained}
    return {name: memorization(images, training) for name, images in shown.items() if images is not None}


def noise_images(n: int, shape: Sequence[int], *, seed: int = 0) -> Tensor:
    """Images (n, *shape) of independent pixels, uniform in [0, 1); image i is the same for every n > i."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.rand(tuple(shape), generator=generator) for _ in range(n)])
