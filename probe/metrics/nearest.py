"""The largest cosine similarity of each row to the rows of a set, computed in tiles.

| symbol | meaning | shape |
|---|---|---|
| a | rows to compare: images or latents, flattened | (n, d) |
| b | the set to compare them with | (m, d) |
"""

import torch
from torch import Tensor

from probe.precision import full_float32

CELLS = 2**24
"""Similarities, and coordinates of the set, held at once: 64 MiB each in float32."""


def nearest_cosine(a: Tensor, b: Tensor) -> Tensor:
    """max over j of <a_i, b_j> / (|a_i| |b_j|), in [-1, 1] up to rounding.

    A row of zeros has similarity 0 to everything. A row of ``a`` that is not finite gives NaN; one of ``b`` gives NaN
    for all rows.

    Args:
        a, b: (n, ...) and (m, ...), flattened from the second dimension on; m >= 1. Computed in the wider of their
            types, at least float32.

    Returns:
        (n,), on the device of ``a``.

    Raises:
        ValueError: ``b`` is empty, or the rows have different lengths.
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
