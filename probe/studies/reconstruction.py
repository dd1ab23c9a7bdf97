"""Data-free weight probing, second half: sparse reconstructions of images in each dictionary (paper, Section 4.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.config import SparseConfig
from probe.dictionary import dct, gaussian, pca_oracle, random_orthogonal, unit_rows
from probe.sparse import omp

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 8
"""Images whose reconstructions at 5 % are kept as pictures."""


@dataclass(frozen=True)
class Reconstructions:
    """Errors of one data set.

    Attributes:
        rows: one per image, method and level: image, id, method, atoms, fraction, atoms_used, latent_mse (mean over
            the d coordinates), pixel_mse (mean over pixels and channels, images in [0, 1], the decoded image clamped,
            against the original image). Method ``autoencoder`` is decode(encode(x)), the floor of pixel_mse.
        examples: uint8 (e, 3, H, W) by name: original, autoencoder, and methods at 5 % of d.
        method_atoms: size of each dictionary.
        absent: controls that could not be made, with the reason.
        five_percent: 5 % of d, in atoms.
    """

    rows: "pd.DataFrame"
    examples: dict[str, Tensor]
    method_atoms: dict[str, int]
    absent: dict[str, str]
    five_percent: int


def dictionaries(
    atoms: Tensor, first: Tensor, heldout: Tensor, sparse: SparseConfig, seed: int
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The end points and their controls, each with unit rows in float64, and the controls that could not be made.

    Args:
        atoms: end points (m, d).
        first: f(z0) of every start (N, c, h, w).
        heldout: latents of images outside the test images (k, c, h, w); k may be 0.
        seed: of the random bases.
    """
    d = atoms.shape[1]
    makers: dict[str, Callable[[], Tensor]] = {
        "random_orthogonal": lambda: random_orthogonal(d, seed),
        "gaussian": lambda: gaussian(len(first), d, seed + 1),
        "one_step": lambda: unit_rows(first),
        "dct": lambda: dct(first.shape[1:]),
        "pca_oracle": lambda: pca_oracle(heldout) if len(heldout) else heldout.new_empty((0, d)),
    }
    why = {"pca_oracle": "no image was left to hold out", "one_step": "f(z0) is not finite for any start"}
    found = {"attractors": unit_rows(atoms)}
    absent: dict[str, str] = {}
    for name in sparse.controls:
        made = makers[name]()
        if len(made):
            found[name] = made
        else:
            absent[name] = why.get(name, "it has no atoms")
    return found, absent


@torch.no_grad()
def encode_images(model: Autoencoder, images: Tensor, batch_size: int) -> Tensor:
    """Latents (n, c, h, w) of uint8 images (n, 3, H, W)."""
    return torch.cat([model.encode(to_model(model, batch)) for batch in images.split(batch_size)])


def to_model(model: Autoencoder, images: Tensor) -> Tensor:
    """uint8 images to the model's range, dtype and device."""
    low, high = model.image_range
    return images.to(model.device, model.dtype) / 255 * (high - low) + low


def to_pixels(model: Autoencoder, x: Tensor) -> Tensor:
    """Images in the model's range, clamped, to uint8 on the CPU."""
    low, high = model.image_range
    return ((x.clamp(low, high) - low) / (high - low) * 255).round().to(torch.uint8).cpu()


def reconstruct(
    model: Autoencoder,
    atoms: Tensor,
    first: Tensor,
    images: Tensor,
    heldout: Tensor,
    ids: list[str],
    sparse: SparseConfig,
    *,
    seed: int,
    on_method: Callable[[str], None] | None = None,
) -> Reconstructions:
    """Reconstruct every image in every dictionary at every level, by OMP on its latent.

    Args:
        model: encodes and decodes.
        atoms: end points (m, d); first: f(z0) (N, c, h, w), for the one-step control.
        images, heldout: uint8 (n, 3, H, W) and (k, 3, H, W).
        ids: one per image.
        on_method: called with the method that is about to be solved.
    """
    import pandas as pd

    latents = encode_images(model, images, sparse.batch_size)
    shape, d = latents.shape[1:], latents[0].numel()
    held = encode_images(model, heldout, sparse.batch_size) if len(heldout) else latents[:0]
    found, absent = dictionaries(atoms, first, held.cpu(), sparse, seed)
    levels = sparse.atoms(d)
    five = sparse.five_percent(d)
    signals, dtype = latents.flatten(1), getattr(torch, sparse.dtype)
    floor, shown = _decode(model, latents, images, sparse.batch_size)
    frames = [_rows(ids, "autoencoder", d, d, torch.full((len(ids),), d), torch.zeros(len(ids)), floor)]
    examples = {"original": images[:EXAMPLES], "autoencoder": shown}
    for method, dictionary in found.items():
        if on_method is not None:
            on_method(method)
        dictionary = dictionary.to(model.device, dtype)
        codes = omp(dictionary, signals, levels, dtype=dtype)
        for position, level in enumerate(levels):
            z = codes.reconstruct(dictionary, level).to(model.dtype).view(-1, *shape)
            pixel, shown = _decode(model, z, images, sparse.batch_size)
            frames.append(_rows(ids, method, level, d, codes.used(level), codes.squared_error[:, position] / d, pixel))
            if level == five:
                examples[method] = shown
    sizes = {method: len(dictionary) for method, dictionary in found.items()}
    return Reconstructions(pd.concat(frames, ignore_index=True), examples, sizes, absent, five)


@torch.no_grad()
def _decode(model: Autoencoder, latents: Tensor, images: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Pixel MSE against the images in [0, 1] units (n,), and the first decoded images as uint8."""
    low, high = model.image_range
    errors: list[Tensor] = []
    shown: list[Tensor] = []
    for z, target in zip(latents.split(batch_size), images.split(batch_size), strict=True):
        decoded = model.decode(z)
        difference = (decoded.clamp(low, high) - to_model(model, target)) / (high - low)
        errors.append(difference.double().square().flatten(1).mean(1))
        if sum(len(part) for part in shown) < EXAMPLES:
            shown.append(to_pixels(model, decoded[:EXAMPLES]))
    return torch.cat(errors), torch.cat(shown)[:EXAMPLES]


def _rows(
    ids: list[str], method: str, level: int, d: int, used: Tensor, latent_mse: Tensor, pixel_mse: Tensor
) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(
        {
            "image": range(len(ids)),
            "id": ids,
            "method": method,
            "atoms": level,
            "fraction": level / d,
            "atoms_used": used.cpu().numpy(),
            "latent_mse": latent_mse.double().cpu().numpy(),
            "pixel_mse": pixel_mse.double().cpu().numpy(),
        }
    )
