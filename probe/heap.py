"""The C library's heap, from which tensors on a CPU come."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 1 << 30
"""Bytes of a block from which on it goes back to the system at once."""


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones, up to about 2 GiB.

    glibc maps every large block anew and unmaps it when it is freed, so that each activation of each step of f is paged
    in again, 4 KiB at a time. Not done where the environment says how malloc is to behave, nor without glibc.
    """
    told = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
    if told or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, LARGEST)  # a glibc that does not take so much goes on as before
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
