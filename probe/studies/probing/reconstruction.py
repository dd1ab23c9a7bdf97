"""Data-free weight probing, second half: sparse reconstructions of images in each dictionary (paper, Section 4.1)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from probe.autoencoders import Autoencoder
from probe.config import SparseConfig
from probe.dictionary import dct, gaussian, pca_oracle, random_bases, unit_rows
from probe.metrics.images import image_metrics
from probe.semantics.clip import Clip
from probe.sparse import Dictionary, omp, working_dtype

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 8
"""Images whose reconstructions are kept as pictures, at most."""
PICTURE = 128
"""Longest side of these pictures, pixels."""
SANITY = ("zero_code", "mean_image")
"""Reconstructions that take neither dictionary nor code: decode(0), and one mean image for all."""
BASIS = "/"
"""Between the name of a method and the number of its dictionary, if it has several: ``random_orthogonal/1`` is the
second, after ``random_orthogonal``."""


@dataclass(frozen=True)
class Look:
    """CLIP, and what it makes of the n originals: their embeddings (n, D)."""

    clip: Clip
    originals: Tensor

    def similarity(self, images: Tensor, rows: slice) -> Tensor:
        """Cosines (n,), float64, of images in [0, 1] (or one for all) and the originals of these rows."""
        return (self.clip.images(images) * self.originals[rows]).sum(1).double()


@dataclass(frozen=True)
class Reconstructions:
    """Errors of n images (all of a data set, or a range of them) in M dictionaries at L levels.

    Attributes:
        methods, levels: names of the dictionaries, and numbers of atoms.
        d: latent dimension.
        used: (M, L, n) atoms in the code.
        errors: (M, L, n) by metric: ``latent_mse``, a mean over the d coordinates, and those of
            ``probe.metrics.images`` between the original image and the decoded, clamped one.
        floor: (n,) by metric: the same of decode(encode(x)).
        sanity: (2, n) by metric: the same of ``SANITY``; the latent that stands for the mean image is its own.
        examples: uint8 pictures of at most ``PICTURE`` pixels a side, by name: (e, 3, h, w) for ``original`` and
            ``autoencoder``, (L, e, 3, h, w) for methods, of which those with several dictionaries have the first's.
        originals: with CLIP: ``picture`` (n, 3, h, w) of the images themselves, at most ``PICTURE`` pixels a side,
            the ``embedding`` (n, D) of these, and that of the ``whole`` images; else empty.
    """

    methods: tuple[str, ...]
    levels: tuple[int, ...]
    d: int
    used: Tensor
    errors: dict[str, Tensor]
    floor: dict[str, Tensor]
    sanity: dict[str, Tensor]
    examples: dict[str, Tensor]
    originals: dict[str, Tensor]

    @staticmethod
    def concatenate(parts: "list[Reconstructions]") -> "Reconstructions":
        """The images of several ranges behind each other; the first ``EXAMPLES`` of them stay as pictures."""
        one = parts[0]
        return Reconstructions(
            *(one.methods, one.levels, one.d),
            used=torch.cat([part.used for part in parts], dim=-1),
            errors={name: torch.cat([part.errors[name] for part in parts], dim=-1) for name in one.errors},
            floor={name: torch.cat([part.floor[name] for part in parts]) for name in one.floor},
            sanity={name: torch.cat([part.sanity[name] for part in parts], dim=-1) for name in one.sanity},
            examples={
                name: torch.cat([part.examples[name] for part in parts], dim=-4)[..., :EXAMPLES, :, :, :]
                for name in one.examples
            },
            originals={name: torch.cat([part.originals[name] for part in parts]) for name in one.originals},
        )

    def rows(self, ids: list[str]) -> "pd.DataFrame":
        """One row per image, dictionary and level: image, id, method, basis, atoms, fraction, atoms_used, and every
        metric.

        Method ``autoencoder`` is decode(encode(x)), those of ``SANITY`` have 0 atoms; ``basis`` counts the dictionaries
        of one method, from 0.
        """
        import pandas as pd

        n = len(ids)

        def frame(method: str, level: int, used: Tensor, errors: Mapping[str, Tensor]) -> "pd.DataFrame":
            name, _, basis = method.partition(BASIS)
            return pd.DataFrame(
                {
                    "image": range(n),
                    "id": ids,
                    "method": name,
                    "basis": int(basis or 0),
                    "atoms": level,
                    "fraction": level / self.d,
                    "atoms_used": used.numpy(),
                    **{name: values.numpy() for name, values in errors.items()},
                }
            )

        frames = [frame("autoencoder", self.d, torch.full((n,), self.d), self.floor)]
        for k, method in enumerate(SANITY):
            none = torch.zeros(n, dtype=torch.int64)
            frames.append(frame(method, 0, none, {name: values[k] for name, values in self.sanity.items()}))
        for m, method in enumerate(self.methods):
            for k, level in enumerate(self.levels):
                errors = {name: values[m, k] for name, values in self.errors.items()}
                frames.append(frame(method, level, self.used[m, k], errors))
        return pd.concat(frames, ignore_index=True)


def dictionaries(atoms: Tensor, first: Tensor, sparse: SparseConfig, seed: int) -> dict[str, Tensor]:
    """The end points and their controls, as far as these depend on no images: unit rows in float64, by name.

    Args:
        atoms: end points (m, d).
        first: f(z0) of every start (N, c, h, w).
        seed: of the random bases, see ``random_bases``.
    """
    d = atoms.shape[1]
    makers: dict[str, Callable[[], list[Tensor]]] = {
        "random_orthogonal": lambda: random_bases(d, sparse.random_bases, seed),
        "gaussian": lambda: [gaussian(len(first), d, seed + 1)],
        "one_step": lambda: [unit_rows(first)],
        "dct": lambda: [dct(first.shape[1:])],
    }
    made = {
        f"{name}{BASIS}{b}" if b else name: basis
        for name in sparse.controls
        if name in makers
        for b, basis in enumerate(makers[name]())
    }
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
    mean: Tensor,
    *,
    clip: Clip | None = None,
    on_method: Callable[[int], None] | None = None,
) -> Reconstructions:
    """Reconstruct every image in every dictionary at every level, by OMP on its latent; the result is on the CPU.

    Args:
        model: encodes and decodes.
        bases: dictionaries by name, unit rows (m, d); see ``dictionaries`` and ``with_oracle``. Those that ``prepare``
            has made ready keep what they have computed for further calls.
        images: uint8 (n, 3, H, W).
        mean: uint8 (3, H, W), see ``mean_image``.
        clip: if given, ``clip`` is one more metric: the cosine of an original's embedding and that of the decoded one.
        on_method: called with the number of dictionaries that are done.
    """
    latents = encode_images(model, images, sparse.batch_size)
    shape, d = latents.shape[1:], latents[0].numel()
    levels, signals = sparse.atoms(d), latents.flatten(1)
    dtype = getattr(torch, pursuit_dtype(sparse, d, [len(basis) for basis in bases.values()]))
    look = Look(clip, clip.images(images / 255)) if clip else None
    floor, shown = _decode(model, latents, images, sparse.batch_size, look)
    examples = {"original": picture(images[:EXAMPLES]), "autoencoder": shown}
    used: list[Tensor] = []
    errors: list[dict[str, Tensor]] = []
    for done, (method, basis) in enumerate(bases.items()):
        if not isinstance(basis, Dictionary):
            basis = Dictionary(basis.to(model.device), dtype)
        codes = omp(basis, signals, levels)
        used.append(torch.stack([codes.used(level) for level in levels]))
        decoded = [
            _decode(
                *(model, codes.reconstruct(basis.atoms, k).to(model.dtype).view(-1, *shape), images),
                *(sparse.batch_size, look),
            )
            for k in levels
        ]
        errors.append({"latent_mse": (codes.squared_error.T / d).double(), **_stack([found for found, _ in decoded])})
        if BASIS not in method:
            examples[method] = torch.stack([shown for _, shown in decoded])
        if on_method is not None:
            on_method(done + 1)
    return Reconstructions(
        *(tuple(bases), tuple(levels), d),
        used=torch.stack(used).cpu(),
        errors={name: values.cpu() for name, values in _stack(errors).items()},
        floor={"latent_mse": torch.zeros(len(images), dtype=torch.float64)} | {k: v.cpu() for k, v in floor.items()},
        sanity={
            name: values.cpu()
            for name, values in _sanity(model, latents, images, mean, sparse.batch_size, look).items()
        },
        examples={name: shown.cpu() for name, shown in examples.items()},
        originals=originals(images, look) if look else {},
    )


def originals(images: Tensor, look: Look) -> dict[str, Tensor]:
    """``Reconstructions.originals``: also as small as the decoded end points that they are compared with."""
    small = picture(images)
    embedding = look.originals if small is images else look.clip.images(small / 255)
    return {"embedding": embedding.cpu(), "picture": small.cpu().clone(), "whole": look.originals.cpu().clone()}


def mean_image(images: Tensor) -> Tensor:
    """Mean of uint8 images (n, 3, H, W), uint8 (3, H, W)."""
    return (images.sum(0).double() / len(images)).round().to(torch.uint8)


def _stack(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def picture(images: Tensor, longest: int = PICTURE) -> Tensor:
    """uint8 images (n, 3, H, W) made smaller by area, where a side is longer than ``longest``."""
    factor = longest / max(images.shape[-2:])
    if factor >= 1 or not len(images):
        return images
    size = [max(round(side * factor), 1) for side in images.shape[-2:]]
    return interpolate(images.float(), size, mode="area").round().to(torch.uint8)


@torch.no_grad()
def _decode(
    model: Autoencoder, latents: Tensor, images: Tensor, batch_size: int, look: Look | None
) -> tuple[dict[str, Tensor], Tensor]:
    """The metrics of the decoded latents against the images, each (n,), and pictures of the first of them."""
    errors: list[dict[str, Tensor]] = []
    shown: list[Tensor] = []
    for start, z in zip(range(0, len(images), batch_size), latents.split(batch_size), strict=True):
        decoded, rows = model.decode(z), slice(start, start + batch_size)
        errors.append(_compare(model, decoded, images[rows]))
        if look is not None:
            errors[-1]["clip"] = look.similarity(_unit(model, decoded), rows)
        if sum(len(part) for part in shown) < EXAMPLES:
            shown.append(picture(model.to_pixels(decoded[:EXAMPLES])))
    return {name: torch.cat([part[name] for part in errors]) for name in errors[0]}, torch.cat(shown)[:EXAMPLES]


def _compare(model: Autoencoder, decoded: Tensor, images: Tensor) -> dict[str, Tensor]:
    """The metrics, each (n,), of images (n, 3, H, W) in the model's range against uint8 ones; clamped to the range."""
    return image_metrics(*(_unit(model, x) for x in (decoded, model.from_pixels(images))))


def _unit(model: Autoencoder, x: Tensor) -> Tensor:
    """Images in the model's range, clamped to it, as numbers in [0, 1]."""
    low, high = model.image_range
    return (x.clamp(low, high) - low) / (high - low)


@torch.no_grad()
def _sanity(
    model: Autoencoder, latents: Tensor, images: Tensor, mean: Tensor, batch_size: int, look: Look | None
) -> dict[str, Tensor]:
    """``Reconstructions.sanity``: latents and pictures that are the same for every image."""
    flat = model.from_pixels(mean[None].to(images.device))
    zero = torch.zeros_like(latents[:1])
    found = []
    for z, picture in ((zero, model.decode(zero)), (model.encode(flat), flat)):
        parts = [
            _compare(model, picture.expand(len(part), *picture.shape[1:]), part) for part in images.split(batch_size)
        ]
        latent = (latents - z).flatten(1).double().square().mean(1)
        found.append({"latent_mse": latent, **{name: torch.cat([part[name] for part in parts]) for name in parts[0]}})
        if look is not None:
            found[-1]["clip"] = look.similarity(_unit(model, picture), slice(None))
    return _stack(found)
