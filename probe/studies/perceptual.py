"""The perceptual metrics that a configuration asks for, as far as their weights are at hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.config import PerceptualConfig
from probe.metrics.feature_weights import Missing
from probe.metrics.frechet import Inception, frechet, load_inception
from probe.metrics.perceptual import Lpips, load_lpips


@dataclass(frozen=True)
class Perceptual:
    """LPIPS and the features of rFID; None for what is missing here, with a sentence about each in ``missing``."""

    lpips: Lpips | None = None
    inception: Inception | None = None
    missing: tuple[str, ...] = ()

    @property
    def checksums(self) -> dict[str, str]:
        """Of the weights of each; empty where there are none."""
        return {name: one.sha256 if one else "" for name, one in (("lpips", self.lpips), ("inception", self.inception))}

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


def perception(perceptual: Perceptual, features: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a run records of a data set: rFID of the autoencoder alone, what it and LPIPS depend on, what is missing.

    Args:
        features: of all ``images`` and of what the ``autoencoder`` makes of them (n, D); empty without Inception.
    """
    found = None
    if features and len(features["images"]) > 1:
        found = frechet(features["images"], features["autoencoder"]).as_json() | {"n": len(features["images"])}
    return {"rfid": found, "protocols": perceptual.protocols, "missing": list(perceptual.missing)}
