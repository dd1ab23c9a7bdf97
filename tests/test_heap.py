"""Memory that is freed and asked for again is not paged in again; told by the kernel's count of page faults."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from probe.heap import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
import torch
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30):
    torch.ones(10 << 20)
before = faults()
for _ in range(30):
    torch.ones(10 << 20)
print((faults() - before) * resource.getpagesize() / (30 * (40 << 20)))
"""


def paged_in(*arguments: str, **environment: str) -> float:
    """Of each block of 40 MiB, the share that is paged in anew, by pages of 4 KiB; huge ones would make it smaller."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc has other rules")
def test_a_block_that_is_freed_serves_again():
    assert paged_in("keep") < 1e-3 < paged_in()
    # Who says how malloc is to behave is obeyed.
    assert paged_in("keep", MALLOC_MMAP_THRESHOLD_="131072") > 1e-3
