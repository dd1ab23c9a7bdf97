"""Data-free weight probing, second half: sparse reconstructions of images in each dictionary (paper, Section 4.1)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.config import SparseConfig
from probe.dictionary import dct, gaussian, pca_oracle, random_orthogonal, unit_rows
from probe.sparse import Dictionary, omp, working_dtype

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 8
"""Images whose reconstructions at 5 % are kept as pictures, at most."""


@dataclass(frozen=True)
class Reconstructions:
    """Errors of n images (all of a data set, or a range of them) in M dictionaries at L levels.

    Attributes:
        methods, levels: names of the dictionaries, and numbers of atoms.
        d: latent dimension.
        floor: (n,) pixel MSE of decode(encode(x)), the floor of pixel_mse.
        used: (M, L, n) atoms in the code.
        latent_mse: (M, L, n), a mean over the d coordinates.
        pixel_mse: (M, L, n), a mean over pixels and channels of images in [0, 1], the decoded image clamped, against
            the original image.
        examples: uint8 (e, 3, H, W) by name: original, autoencoder, and methods at 5 % of d.
    """

    methods: tuple[str, ...]
    levels: tuple[int, ...]
    d: int
    floor: Tensor
    used: Tensor
    latent_mse: Tensor
    pixel_mse: Tensor
    examples: dict[str, Tensor]

    @staticmethod
    def concatenate(parts: "list[Reconstructions]") -> "Reconstructions":
        """The images of several ranges behind each other; the first ``EXAMPLES`` of them stay as pictures."""
        one = parts[0]
        tensors = {
            name: torch.cat([getattr(part, name) for part in parts], dim=-1)
            for name in ("floor", "used", "latent_mse", "pixel_mse")
        }
        examples = {name: torch.cat([part.examples[name] for part in parts])[:EXAMPLES] for name in one.examples}
        return Reconstructions(one.methods, one.levels, one.d, **tensors, examples=examples)

    def rows(self, ids: list[str]) -> "pd.DataFrame":
        """One row per image, method and level: image, id, method, atoms, fraction, atoms_used, latent_mse, pixel_mse.

        Method ``autoencoder`` is decode(encode(x)).
        """
        import pandas as pd

        n = len(ids)

        def frame(method: str, level: int, used: Tensor, latent_mse: Tensor, pixel_mse: Tensor) -> "pd.DataFrame":
            return pd.DataFrame(
                {
                    "image": range(n),
                    "id": ids,
                    "method": method,
                    "atoms": level,
                    "fraction": level / self.d,
                    "atoms_used": used.numpy(),
                    "latent_mse": latent_mse.numpy(),
                    "pixel_mse": pixel_mse.numpy(),
                }
            )

        zero = torch.zeros(n, dtype=torch.float64)
        frames = [frame("autoencoder", self.d, torch.full((n,), self.d), zero, self.floor)]
        for m, method in enumerate(self.methods):
            for k, level in enumerate(self.levels):
                frames.append(frame(method, level, self.used[m, k], self.latent_mse[m, k], self.pixel_mse[m, k]))
        return pd.concat(frames, ignore_index=True)


def dictionaries(atoms: Tensor, first: Tensor, sparse: SparseConfig, seed: int) -> dict[str, Tensor]:
    """The end points and their controls, as far as these depend on no images: unit rows in float64, by name.

    Args:
        atoms: end points (m, d).
        first: f(z0) of every start (N, c, h, w).
        seed: of the random bases.
    """
    d = atoms.shape[1]
    makers: dict[str, Callable[[], Tensor]] = {
        "random_orthogonal": lambda: random_orthogonal(d, seed),
        "gaussian": lambda: gaussian(len(first), d, seed + 1),
        "one_step": lambda: unit_rows(first),
        "dct": lambda: dct(first.shape[1:]),
    }
    made = {name: makers[name]() for name in sparse.controls if name in makers}
    return {"attractors": unit_rows(atoms)} | {name: basis for name, basis in made.items() if len(basis)}


def with_oracle(bases: Mapping[str, Tensor], heldout: Tensor, sparse: SparseConfig) -> dict[str, Tensor]:
    """The dictionaries and, where it is wanted and possible, the PCA of held-out latents (k, c, h, w) of the same data
    set; k may be 0."""
    oracle = pca_oracle(heldout) if "pca_oracle" in sparse.controls and len(heldout) else ()
    return {**bases, "pca_oracle": oracle} if isinstance(oracle, Tensor) and len(oracle) else dict(bases)


def absent_controls(bases: Iterable[str], sparse: SparseConfig) -> dict[str, str]:
    """The controls that were asked for and could not be made, each with the reason."""
    why = {"pca_oracle": "no image was left to hold out", "one_step": "f(z0) is not finite for any start"}
    made = set(bases)
    return {name: why.get(name, "it has no atoms") for name in sparse.controls if name not in made}


def pursuit_dtype(sparse: SparseConfig, d: int, sizes: Iterable[int]) -> str:
    """The dtype that all dictionaries of ``sizes`` atoms are compared in: the configured one, or for ``auto`` float64
    if one of them needs it, and else float32."""
    if sparse.dtype != "auto":
        return sparse.dtype
    needed = {working_dtype(size, d, sparse.atoms(d)) for size in sizes}
    return "float64" if torch.float64 in needed else "float32"


def prepare(bases: Mapping[str, Tensor], sparse: SparseConfig, device: torch.device) -> dict[str, Dictionary]:
    """The dictionaries made ready for ``reconstruct``, to be used for more than one batch of images."""
    d = next(iter(bases.values())).shape[1]
    dtype = getattr(torch, pursuit_dtype(sparse, d, [len(basis) for basis in bases.values()]))
    return {name: Dictionary(basis.to(device), dtype) for name, basis in bases.items()}


@torch.no_grad()
def encode_images(model: Autoencoder, images: Tensor, batch_size: int) -> Tensor:
    """Latents (n, c, h, w) of uint8 images (n, 3, H, W)."""
    return torch.cat([model.encode(model.from_pixels(batch)) for batch in images.split(batch_size)])


def reconstruct(
    model: Autoencoder,
    bases: Mapping[str, Tensor | Dictionary],
    images: Tensor,
    sparse: SparseConfig,
    *,
    on_method: Callable[[int], None] | None = None,
) -> Reconstructions:
    """Reconstruct every image in every dictionary at every level, by OMP on its latent; the result is on the CPU.

    Args:
        model: encodes and decodes.
        bases: dictionaries by name, unit rows (m, d); see ``dictionaries`` and ``with_oracle``. Those that ``prepare``
            has made ready keep what they have computed for further calls.
        images: uint8 (n, 3, H, W).
        on_method: called with the number of dictionaries that are done.
    """
    latents = encode_images(model, images, sparse.batch_size)
    shape, d = latents.shape[1:], latents[0].numel()
    levels, five = sparse.atoms(d), sparse.five_percent(d)
    signals = latents.flatten(1)
    dtype = getattr(torch, pursuit_dtype(sparse, d, [len(basis) for basis in bases.values()]))
    floor, shown = _decode(model, latents, images, sparse.batch_size)
    examples = {"original": images[:EXAMPLES], "autoencoder": shown}
    used: list[Tensor] = []
    latent_mse: list[Tensor] = []
    pixel_mse: list[Tensor] = []
    for done, (method, basis) in enumerate(bases.items()):
        if not isinstance(basis, Dictionary):
            basis = Dictionary(basis.to(model.device), dtype)
        codes = omp(basis, signals, levels)
        latent_mse.append((codes.squared_error.T / d).double())
        used.append(torch.stack([codes.used(level) for level in levels]))
        pixels: list[Tensor] = []
        for level in levels:
            z = codes.reconstruct(basis.atoms, level).to(model.dtype).view(-1, *shape)
            pixel, shown = _decode(model, z, images, sparse.batch_size)
            pixels.append(pixel)
            if level == five:
                examples[method] = shown
        pixel_mse.append(torch.stack(pixels))
        if on_method is not None:
            on_method(done + 1)
    stacked = {"used": used, "latent_mse": latent_mse, "pixel_mse": pixel_mse}
    whole = {name: torch.stack(parts).cpu() for name, parts in stacked.items()}
    return Reconstructions(tuple(bases), tuple(levels), d, floor.cpu(), **whole, examples=examples)


@torch.no_grad()
def _decode(model: Autoencoder, latents: Tensor, images: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Pixel MSE against the images in [0, 1] units (n,), and the first decoded images as uint8."""
    low, high = model.image_range
    errors: list[Tensor] = []
    shown: list[Tensor] = []
    for z, target in zip(latents.split(batch_size), images.split(batch_size), strict=True):
        decoded = model.decode(z)
        difference = (decoded.clamp(low, high) - model.from_pixels(target)) / (high - low)
        errors.append(difference.double().square().flatten(1).mean(1))
        if sum(len(part) for part in shown) < EXAMPLES:
            shown.append(model.to_pixels(decoded[:EXAMPLES]))
    return torch.cat(errors), torch.cat(shown)[:EXAMPLES]
