"""Merging end points into a dictionary, and the dictionaries it is compared with."""

from probe.dictionary.controls import (
    dct,
    draws_like,
    gaussian,
    matched_gaussian,
    mean_first,
    pca_oracle,
    random_bases,
    random_orthogonal,
    unit_row_of,
    unit_rows,
    weights_transform,
)
from probe.dictionary.merge import Merge, at_origin, merge_by_cosine, merge_by_euclid, merge_certified, with_origin

__all__ = [
    "Merge",
    "at_origin",
    "dct",
    "draws_like",
    "gaussian",
    "matched_gaussian",
    "mean_first",
    "merge_by_cosine",
    "merge_by_euclid",
    "merge_certified",
    "pca_oracle",
    "random_bases",
    "random_orthogonal",
    "unit_row_of",
    "unit_rows",
    "weights_transform",
    "with_origin",
]
