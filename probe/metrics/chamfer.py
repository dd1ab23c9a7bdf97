"""Chamfer cosine similarity between two sets (paper, Section 3, across training: noise and training attractors)."""

from torch import Tensor

from probe.metrics.nearest import nearest_cosine


def chamfer_cosine(a: Tensor, b: Tensor) -> float:
    """(mean over a_i of max_j cos(a_i, b_j) + mean over b_j of max_i cos(a_i, b_j)) / 2.

    Symmetric and invariant to the order and scale of the rows; 1 if and only if every row of each set has the direction
    of a row of the other.

    Args:
        a, b: (n, ...) and (m, ...), flattened from the second dimension on; n, m >= 1.

    Returns:
        In [-1, 1]; NaN if a row is not finite. A row of zeros has similarity 0.

    Raises:
        ValueError: a set is empty, or the rows have different lengths.
    """
    if not len(a):
        raise ValueError(f"the set {tuple(a.shape)} is empty")
    return float(nearest_cosine(a, b).double().mean() + nearest_cosine(b, a).double().mean()) / 2
