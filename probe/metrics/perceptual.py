"""LPIPS (Zhang et al., 2018, version 0.1): how different two images look to a network trained on photographs.

Differences of unit features of an ImageNet network, weighted by heads that were fitted to what people see. The network
is torchmetrics', and the heads are those in its package; the features' weights are torchvision's.

| symbol | meaning | shape |
|---|---|---|
| x, y | images in [0, 1] | (n, 3, H, W) |
"""

import importlib.util
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from probe.files import tensors_sha256
from probe.metrics.feature_weights import Missing, Published, chosen, found
from probe.precision import full_float32

__all__ = ["EXTRA", "Lpips", "Missing", "load_lpips"]

Network = Literal["alex", "vgg"]
EXTRA = "pip install 'latent-probe[perceptual]'"
LPIPS_KEY = "perceptual.lpips"
NETWORKS = {
    "alex": Published(
        "AlexNet",
        ("alexnet-owt-7be5be79.pth",),
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        LPIPS_KEY,
    ),
    "vgg": Published(
        "VGG16",
        ("vgg16-397923af.pth",),
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        LPIPS_KEY,
    ),
}
SMALLEST = {"alex": 31, "vgg": 16}
"""The smallest side of an image that leaves the last features one pixel."""


@dataclass(frozen=True, eq=False)
class Lpips:
    """LPIPS with its weights: ``lpips(x, y)`` is (n,).

    Attributes:
        network: of torchmetrics, on ``device``.
        kind: alex or vgg.
        weights: name of the file of weights.
        sha256: over names, types, shapes and bytes of features' weights and heads.
    """

    network: Any
    kind: Network
    weights: str
    sha256: str
    device: torch.device

    @torch.no_grad()
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """LPIPS of each pair, (n,), float64, on the device of ``x``; 0 for equal images.

        Images are not resized. NaN for images smaller than the network's ``SMALLEST``, and for video and sound. Values
        outside of [0, 1] are for the caller to clamp.
        """
        if x.ndim != 4 or min(x.shape[-2:]) < SMALLEST[self.kind] or not len(x):
            return x.double().new_full((len(x),), float("nan"))
        with full_float32():
            both = (image.to(self.device, torch.float32) for image in (x, y))
            return self.network(*both, normalize=True).flatten().double().to(x.device)

    @property
    def protocol(self) -> dict[str, Any]:
        """What the number depends on, besides the images."""
        return {
            "network": NETWORKS[self.kind].what,
            "version": "0.1",
            "weights": self.weights,
            "sha256": self.sha256,
            "heads": f"torchmetrics {version('torchmetrics')}",
            "resize": "none",
            "dtype": "float32",
        }


def load_lpips(
    kind: Network = "alex", weights: str | None = None, device: torch.device | str = "cpu"
) -> Lpips | Missing:
    """LPIPS with weights from a file, or from torch's cache; ``Missing`` without them, or without the extra.

    Args:
        kind: alex (the usual one for reports) or vgg.
        weights: a file (.safetensors or .pth) with the tensors ``features.N.weight`` and ``.bias`` of torchvision's
            AlexNet or VGG16; others in it are not used.

    Raises:
        UserError: ``weights`` is not such a file.
    """
    if importlib.util.find_spec("torchvision") is None:
        return Missing(f"no LPIPS: torchvision is not installed; {EXTRA}")
    path = found(NETWORKS[kind], weights)
    if isinstance(path, Missing):
        return Missing(f"no LPIPS: {path.reason}")
    return _loaded(kind, path, torch.device(device))


def _loaded(kind: Network, path: Path, device: torch.device) -> Lpips:
    from torchmetrics.functional.image.lpips import _LPIPS

    with torch.random.fork_rng(devices=[]):  # the features are first drawn at random
        network = _LPIPS(net=kind, pnet_rand=True)
    ours = network.net.state_dict()
    # slice2.3.weight is torchvision's features.3.weight
    names = {f"features.{name.partition('.')[2]}": name for name in ours}
    features = chosen(path, {theirs: ours[name] for theirs, name in names.items()})
    network.net.load_state_dict({names[theirs]: value for theirs, value in features.items()})
    heads = {
        name: value for name, value in network.state_dict().items() if name.startswith("lin") and "lins" not in name
    }
    sha256 = tensors_sha256(sorted({**features, **heads}.items()))
    return Lpips(network.to(device).eval(), kind, path.name, sha256, device)
