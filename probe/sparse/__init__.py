"""Sparse codes of signals in a dictionary."""

from probe.sparse.codes import SparseCodes, working_dtype
from probe.sparse.dictionary import Dictionary
from probe.sparse.omp import omp

__all__ = ["Dictionary", "SparseCodes", "omp", "working_dtype"]
