"""Small autoencoders with the random initial weights of their class."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import torch
import yaml

from probe.autoencoders.adapter import adapted, autoencoder_classes, why_undefined
from probe.autoencoders.base import Autoencoder
from probe.config import ModelConfig

NEEDS = {"AutoencoderRAE": "transformers"}
RESOLUTION = 32


def small_configurations() -> dict[str, dict[str, Any]]:
    """For each class in small.yaml: ``config``, and if needed ``resolution``, ``frames``, ``samples``."""
    return yaml.safe_load((files("probe") / "autoencoders" / "small.yaml").read_text())


def small_classes() -> Iterator[str]:
    """Classes with a latent map, a small configuration, and all packages they need."""
    small = small_configurations()
    for name, cls in sorted(autoencoder_classes().items()):
        missing = name in NEEDS and find_spec(NEEDS[name]) is None
        if name in small and not missing and not why_undefined(cls):
            yield name


def untrained(name: str, config: dict[str, Any], *, seed: int, **lengths: int) -> Autoencoder:
    """A model with the weights that its constructor draws after ``torch.manual_seed(seed)``; on the CPU.

    Args:
        name: a class of diffusers' autoencoders, or ours.
        config: arguments of its constructor.
        lengths: ``frames`` or ``samples``, as in ``ModelConfig``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = autoencoder_classes()[name](**config)
    return adapted(model, ModelConfig(source=name, device="cpu", **lengths), torch.device("cpu"), torch.float32)
