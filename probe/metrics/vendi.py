"""Diversity of a set: the Vendi score (Friedman and Dieng, 2023, Definition 3.1).

| symbol | meaning | shape |
|---|---|---|
| x | embeddings, unit rows, similarities are their cosines | (n, D) |
| lambda | eigenvalues of x x^T / n, their sum is 1 | (min(n, D),) |
"""

import torch
from torch import Tensor


def vendi_score(x: Tensor) -> float:
    """exp(-sum lambda log lambda): the effective number of distinct rows, from 1 (all equal) to n (all orthogonal).

    Raises:
        ValueError: there are no rows.
    """
    if x.ndim != 2 or not len(x):
        raise ValueError(f"embeddings have shape (n, D), n >= 1, not {tuple(x.shape)}")
    values = torch.linalg.svdvals(x.double()).square() / len(x)
    values = values[values > 0]
    return float(torch.exp(-(values * values.log()).sum()))
