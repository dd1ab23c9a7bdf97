"""Autoencoders that are given as functions of pictures, and random pictures."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.studies.roundtrip.config import RoundtripConfig, parse_roundtrip_config


def model(decode: Callable[[Tensor], Tensor], **more: Any) -> Autoencoder:
    """E is the identity and D the function: F and the latent map are both D; in float64, for values in [0, 1]."""
    given = {"image_range": (0.0, 1.0), "dtype": torch.float64, **more}
    return Autoencoder("test", "Own", lambda x: x, decode, (), **given)


def pictures(n: int, side: int = 16, seed: int = 0) -> Tensor:
    """uint8 (n, 3, side, side)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, side, side), generator=generator, dtype=torch.uint8)


def settings(**changes: Any) -> RoundtripConfig:
    given = {"models": {"own": None}, "datasets": {"digits": None}, "cycles": 8, "film": {"images": 2, "extremes": 1}}
    return parse_roundtrip_config({**given, **changes})
