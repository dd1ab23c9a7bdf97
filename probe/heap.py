"""The C library's heap, which holds tensors on a CPU."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 1 << 30
"""Blocks of at least this many bytes are returned to the system at once."""


def keep_freed_memory() -> None:
    """Let this process reuse the memory of freed tensors, up to about 2 GiB.

    By default glibc maps every large block anew and unmaps it when it is freed, so each activation of each step of f is
    paged in again, 4 KiB at a time. Nothing is done without glibc, or if the environment configures malloc.
    """
    configured = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
    if configured or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, LARGEST)  # a glibc that does not accept this ignores it
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
