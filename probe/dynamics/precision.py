"""Arithmetic that is what its name says."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Within, float32 means float32: no TF32 in convolutions or matrix products on CUDA.

    cuDNN convolves in TF32 unless told otherwise; its relative error of about 5e-4 would put a floor under the
    residual well above the paper's tolerance.
    """
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled,
            benchmark=torch.backends.cudnn.benchmark,
            deterministic=torch.backends.cudnn.deterministic,
            allow_tf32=False,
        ):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul


@contextmanager
def reduced(precision: str, device: str) -> Iterator[None]:
    """Within, arithmetic is coarser and faster: ``tf32`` (CUDA only; full precision elsewhere) or ``bfloat16``."""
    if precision == "bfloat16":
        with torch.autocast(device, torch.bfloat16):
            yield
        return
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled,
            benchmark=torch.backends.cudnn.benchmark,
            deterministic=torch.backends.cudnn.deterministic,
            allow_tf32=True,
        ):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
