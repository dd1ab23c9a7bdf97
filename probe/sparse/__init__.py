"""Sparse codes of latents in a dictionary."""

from probe.sparse.omp import SparseCodes, omp

__all__ = ["SparseCodes", "omp"]
