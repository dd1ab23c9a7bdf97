"""Merging end points into a dictionary, and the dictionaries it is compared with."""

from probe.dictionary.controls import dct, gaussian, pca_oracle, random_bases, random_orthogonal, unit_rows
from probe.dictionary.merge import Merge, at_origin, merge_by_cosine, merge_by_euclid, merge_certified

__all__ = [
    "Merge",
    "at_origin",
    "dct",
    "gaussian",
    "merge_by_cosine",
    "merge_by_euclid",
    "merge_certified",
    "pca_oracle",
    "random_bases",
    "random_orthogonal",
    "unit_rows",
]
