"""How close a set is to another by cosine: memorization of training images, and Chamfer similarity (paper, Section 3).

| symbol | meaning | shape |
|---|---|---|
| a, b | rows to compare, and the set to compare them with: images or latents, flattened | (n, d), (m, d) |
| D(z*), x | decoded attractors, training images | (n, c, h, w), (m, c, h, w) |
| mem(z*) | max over x of cos(D(z*), x) | (n,) |

Images of one kind look alike: unseen test images reach 0.86 on MNIST, and random pixels 0.5. Only values above these
levels mean memorization.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from probe.precision import full_float32

CELLS = 2**24
"""Similarities, and coordinates of the set, held at once: 64 MiB each in float32."""


def nearest_cosine(a: Tensor, b: Tensor) -> Tensor:
    """max over j of <a_i, b_j> / (|a_i| |b_j|), in [-1, 1] up to rounding: (n,), on the device of ``a``.

    ``a`` (n, ...) and ``b`` (m, ...), m >= 1, are flattened from the second dimension on, and compared in tiles in the
    wider of their types, at least float32. A row of zeros has similarity 0 to everything. A row of ``a`` that is not
    finite gives NaN; one of ``b`` gives NaN for all rows. ValueError if ``b`` is empty, or the rows differ in length.
    """
    a, b = a.flatten(1), b.flatten(1)
    if not len(b) or a.shape[1] != b.shape[1]:
        raise ValueError(f"rows {tuple(a.shape)} cannot be compared with the set {tuple(b.shape)}")
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    d = max(a.shape[1], 1)
    columns = max(min(len(b), CELLS // d, 2**13), 1)
    rows = max(CELLS // max(columns, d), 1)
    found = torch.full((len(a),), -torch.inf, dtype=dtype, device=a.device)
    with full_float32():
        for part in b.split(columns):
            part = _unit(part.to(a.device, dtype))
            for start in range(0, len(a), rows):
                mine = slice(start, start + rows)
                found[mine] = torch.maximum(found[mine], (_unit(a[mine].to(dtype)) @ part.T).amax(1))
    return found


def _unit(x: Tensor) -> Tensor:
    """Rows of norm 1, zeros where they are zero."""
    # Divided by the largest coordinate first: squares of float32 overflow beyond 1e19 and vanish below 1e-23.
    largest = x.abs().amax(1, keepdim=True)
    x = x / torch.where(largest > 0, largest, 1)
    norm = x.norm(dim=1, keepdim=True)
    return x / torch.where(norm > 0, norm, 1)


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
    """mem of images that training cannot have produced, (n,) by name: ``unseen`` images of the same kind (a test set),
    ``noise`` (see ``noise_images``), and decoded attractors of the ``untrained`` network from the same starts."""
    shown = {"unseen": unseen, "noise": noise, "untrained": untrained}
    return {name: memorization(images, training) for name, images in shown.items() if images is not None}


def noise_images(n: int, shape: Sequence[int], *, seed: int = 0) -> Tensor:
    """Images (n, *shape) of independent pixels, uniform in [0, 1); image i is the same for every n > i."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.rand(tuple(shape), generator=generator) for _ in range(n)])


def chamfer_cosine(a: Tensor, b: Tensor) -> float:
    """(mean over a_i of max_j cos(a_i, b_j) + mean over b_j of max_i cos(a_i, b_j)) / 2, of noise and training
    attractors in the paper.

    In [-1, 1], symmetric and invariant to the order and scale of the rows; 1 if and only if every row of each set has
    the direction of a row of the other; NaN if a row is not finite. Sets and errors as for ``nearest_cosine``, n >= 1.
    """
    if not len(a):
        raise ValueError(f"the set {tuple(a.shape)} is empty")
    return float(nearest_cosine(a, b).double().mean() + nearest_cosine(b, a).double().mean()) / 2
