"""Float32 without TF32, and reduced precision on request."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any

import torch


def full_float32() -> AbstractContextManager[None]:
    """Context in which float32 means float32: no TF32 in convolutions or matrix products on CUDA.

    cuDNN convolves in TF32 by default; its relative error of about 5e-4 would keep residuals well above the paper's
    tolerance. Whatever a caller has allowed, by torch's older switches (``allow_tf32``) or by the newer ones
    (``fp32_precision``), is forbidden inside and allowed again afterwards.
    """
    return _tf32(False)


@contextmanager
def reduced(precision: str, device: str) -> Iterator[None]:
    """Context of faster, coarser arithmetic: ``tf32`` (CUDA only; full precision elsewhere) or ``bfloat16``."""
    with torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else _tf32(True):
        yield


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """The switches are the process's, and threads enter and leave in any order: the first one in keeps what was set
    before, the last one out restores it, and in between the request made last holds."""
    request = _Request(allowed)
    try:  # a signal may raise at any line
        with _turn:
            if not _requests:
                _before[:] = _seen()
            _requests.append(request)
            _allow(allowed)
        yield
    finally:
        with _turn:
            if request in _requests:
                _requests.remove(request)
                if _requests:
                    _allow(_requests[-1].allowed)
                else:
                    _restore()


@dataclass(eq=False)
class _Request:
    """One context that is entered."""

    allowed: bool


_turn = RLock()
_requests: list[_Request] = []
_before: list[tuple[Any, str, Any]] = []
"""The switches (where, name, value) as they were before the first request, in the order in which to set them."""


def _seen() -> list[tuple[Any, str, Any]]:
    older = [
        (place, "allow_tf32", _older(place, name)) for place, name in zip(_PLACES, ("matmul", "conv"), strict=True)
    ]
    return older + [(place, "fp32_precision", place.fp32_precision) for place in _newer()]


def _restore() -> None:
    for place, name, value in _before:
        setattr(place, name, value)


def _allow(allowed: bool) -> None:
    for place in _PLACES:
        place.allow_tf32 = allowed
    # The older switches leave convolutions to a newer, general one.
    for place in _newer():
        place.fp32_precision = "tf32" if allowed else "ieee"


_PLACES: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
"""Where the older switches are."""


def _newer() -> tuple[Any, ...]:
    """Where the newer switches are: torch 2.9 has them first."""
    if not hasattr(torch.backends.cudnn, "conv"):
        return ()
    return torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn


def _older(place: Any, name: str) -> bool:
    """An older switch. Where it contradicts a newer one, torch does not tell it: then it is that one's opposite."""
    try:
        return bool(place.allow_tf32)
    except RuntimeError:
        newer = place if name == "matmul" else place.conv
        return bool(newer.fp32_precision != "tf32")
