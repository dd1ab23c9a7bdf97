"""Float32 without TF32, and reduced precision on request."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


def full_float32() -> AbstractContextManager[None]:
    """Context in which float32 means float32: no TF32 in convolutions or matrix products on CUDA.

    cuDNN convolves in TF32 by default; its relative error of about 5e-4 would keep residuals well above the paper's
    tolerance.
    """
    return _tf32(False)


@contextmanager
def reduced(precision: str, device: str) -> Iterator[None]:
    """Context of faster, coarser arithmetic: ``tf32`` (CUDA only; full precision elsewhere) or ``bfloat16``."""
    with torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else _tf32(True):
        yield


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        with torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled,
            benchmark=torch.backends.cudnn.benchmark,
            deterministic=torch.backends.cudnn.deterministic,
            allow_tf32=allowed,
        ):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
