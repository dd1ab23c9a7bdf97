"""The perceptual metrics that a configuration asks for, as far as their weights are at hand."""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch

from probe.config import PerceptualConfig
from probe.metrics.feature_weights import Missing
from probe.metrics.frechet import Inception, load_inception
from probe.metrics.perceptual import Lpips, load_lpips


@dataclass(frozen=True)
class Perceptual:
    """LPIPS and the features of rFID; None for what is missing here, with a sentence about each in ``missing``."""

    lpips: Lpips | None = None
    inception: Inception | None = None
    missing: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Over the weights of both; empty without any."""
        found = [one.sha256 for one in (self.lpips, self.inception) if one]
        return hashlib.sha256("\n".join(found).encode()).hexdigest() if found else ""

    @property
    def protocols(self) -> dict[str, dict[str, Any]]:
        """What the numbers depend on, by metric."""
        both = {"lpips": self.lpips, "rfid": self.inception}
        return {name: one.protocol for name, one in both.items() if one}


def load_perceptual(config: PerceptualConfig, device: torch.device) -> Perceptual:
    """Load what there is; UserError for a file that the configuration names and that does not fit."""
    lpips = load_lpips(config.network, config.lpips, device)
    inception = load_inception(config.inception, device)
    return Perceptual(
        None if isinstance(lpips, Missing) else lpips,
        None if isinstance(inception, Missing) else inception,
        tuple(one.reason for one in (lpips, inception) if isinstance(one, Missing)),
    )
