"""Data-free weight probing, second half: sparse reconstructions of images in each dictionary (paper, Section 4.1)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from probe.autoencoders import Autoencoder
from probe.config import SparseConfig
from probe.dictionary import unit_row_of
from probe.dynamics.pace import Paced
from probe.errors import Failure, UserError
from probe.methods import AUTOENCODER, OURS, SANITY, Compared, Material, methods, metrics
from probe.metrics.frechet import Inception
from probe.metrics.perceptual import Lpips
from probe.plugins import call
from probe.semantics.clip import Clip
from probe.sparse import Dictionary, omp, working_dtype
from probe.studies.inputs import encode
from probe.studies.perceptual import Perceptual

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 8
"""Images whose reconstructions are kept as pictures, at most."""
PICTURE = 128
"""Longest side of these pictures, in pixels."""
BASIS = "/"
"""Before the number of a method's further dictionaries: ``random_orthogonal`` is the first of its bases, and
``random_orthogonal/1`` the second."""


@dataclass(frozen=True)
class Look:
    """CLIP, and its embeddings (n, D) of the n originals."""

    clip: Clip
    originals: Tensor


@dataclass(frozen=True)
class Reconstructed:
    """Errors of n images (all of a data set, or a range) in M dictionaries at L levels. On the CPU.

    Attributes:
        methods, levels: names of the dictionaries, and numbers of atoms.
        d: latent dimension.
        used: atoms in the code (M, L, n).
        errors: by metric (``probe.methods.METRICS``) (M, L, n).
        floor: by metric (n,), of the autoencoder alone, D(E(x)).
        sanity: by metric (2, n), of ``probe.methods.SANITY``; the latent of the mean image is its own encoding.
        examples: uint8 pictures of at most ``PICTURE`` pixels a side, by name: (e, 3, h, w) for ``original`` and
            ``autoencoder``, (L, e, 3, h, w) for methods; of a method with several dictionaries the first.
        originals: with CLIP: ``picture`` (n, 3, h, w), the images themselves at that size, the ``embedding`` (n, D) of
            these, and that of the ``whole`` images; else empty.
        features: with Inception: of the ``images``, and of what the ``autoencoder`` alone makes of them (n, D), both
            in 8 bits; else empty.
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
    features: dict[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def concatenate(parts: "list[Reconstructed]") -> "Reconstructed":
        """Join ranges of images; the first ``EXAMPLES`` images stay as pictures.

        A metric that some parts lack (a plug-in was installed in between) is NaN there.
        """
        one = parts[0]
        return Reconstructed(
            methods=one.methods,
            levels=one.levels,
            d=one.d,
            used=torch.cat([part.used for part in parts], dim=-1),
            errors=_joined([part.errors for part in parts]),
            floor=_joined([part.floor for part in parts]),
            sanity=_joined([part.sanity for part in parts]),
            examples={
                name: torch.cat([part.examples[name] for part in parts], dim=-4)[..., :EXAMPLES, :, :, :]
                for name in one.examples
            },
            originals={name: torch.cat([part.originals[name] for part in parts]) for name in one.originals},
            features={
                name: torch.cat([part.features[name] for part in parts])
                for name in one.features
                if all(name in part.features for part in parts)
            },
        )

    def rows(self, ids: list[str]) -> "pd.DataFrame":
        """One row per image, dictionary and level: image, id, method, basis, atoms, fraction, atoms_used, metrics.

        Method ``autoencoder`` is decode(encode(x)); those of ``SANITY`` have 0 atoms. ``basis`` numbers the
        dictionaries of one method, from 0.
        """
        import pandas as pd

        n = len(ids)

        def frame(method: str, level: int, used: Tensor, errors: Mapping[str, Tensor]) -> "pd.DataFrame":
            name, _, basis = method.partition(BASIS)
            facts = {"image": range(n), "id": ids, "method": name, "basis": int(basis or 0)}
            facts |= {"atoms": level, "fraction": level / self.d, "atoms_used": used.numpy()}
            return pd.DataFrame({**facts, **{name: values.numpy() for name, values in errors.items()}})

        frames = [frame(AUTOENCODER.name, self.d, torch.full((n,), self.d), self.floor)]
        for k, reference in enumerate(SANITY):
            none = torch.zeros(n, dtype=torch.int64)
            frames.append(frame(reference.name, 0, none, {name: values[k] for name, values in self.sanity.items()}))
        for m, method in enumerate(self.methods):
            for k, level in enumerate(self.levels):
                errors = {name: values[m, k] for name, values in self.errors.items()}
                frames.append(frame(method, level, self.used[m, k], errors))
        return pd.concat(frames, ignore_index=True)


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors (..., n) joined along n; NaN for a part that lacks one."""
    found = {}
    for name, like in {name: value for part in parts for name, value in part.items()}.items():
        shapes = [(*like.shape[:-1], next(iter(part.values())).shape[-1]) for part in parts]
        columns = [part.get(name, like.new_full(shape, torch.nan)) for part, shape in zip(parts, shapes, strict=True)]
        found[name] = torch.cat(columns, dim=-1)
    return found


def centre(sparse: SparseConfig, ends: Tensor, heldout: Tensor, dataset: str) -> Tensor | None:
    """What ``sparse.centre`` asks to subtract from the latents of a data set, (d,) in float64; None for nothing.

    Args:
        ends: end points of the dictionary (m, c, h, w), as they are; each counts once, whatever its basin.
        heldout: latents of held-out images of the data set (k, c, h, w).

    Raises:
        UserError: there is nothing to take the mean of.
    """
    if sparse.centre == "none":
        return None
    points = ends if sparse.centre == "end_points" else heldout
    if not len(points):
        there = "the dictionary is empty" if sparse.centre == "end_points" else f"no image of {dataset} was held out"
        raise UserError(
            f"sparse.centre is {sparse.centre}, but {there}: set sparse.centre=none in the configuration and begin the "
            "run in another folder."
        )
    return points.flatten(1).double().mean(0)


def uncoded(points: Tensor, sparse: SparseConfig, what: str = "end point") -> str:
    """Why no image can be written in a dictionary of these points (m, d): a sentence; empty where one can be.

    Args:
        points: of the atoms, of unit norm or as they are; 0 for one at the origin.
        what: what to call one of them.
    """
    if bool((unit_row_of(centred(points, sparse)) >= 0).any()):
        return ""
    if sparse.centre == "none" or not bool(points.any()):
        return (
            f"No image was reconstructed, because every {what} is at the origin, which has no direction: there are no "
            "atoms to write images with."
        )
    return (
        f"No image was reconstructed, because the dictionary has one {what}, and sparse.centre={sparse.centre} "
        f"subtracts the mean of the {what}s: there are no atoms left to write images with."
    )


def dictionaries(atoms: Tensor, first: Tensor, sparse: SparseConfig, seed: int) -> dict[str, Tensor]:
    """The end points (m, d) and the controls that do not depend on images: unit rows in float64, by name.

    Args:
        atoms: end points (m, d); of any norm, unless ``sparse.centre`` asks for more than their directions.
        first: f(z0) of every start (N, c, h, w).
        seed: of ``random_bases``.

    Raises:
        UserError: no image can be written in the dictionary; see ``uncoded``.
    """
    if reason := uncoded(atoms, sparse):
        raise UserError(reason)
    material = Material(centred(atoms, sparse), centred(first, sparse), first[:0], seed, sparse.random_bases)
    return _built(material, [OURS, *sparse.controls], sees_data=False)


def with_oracle(bases: Mapping[str, Tensor], heldout: Tensor, sparse: SparseConfig, seed: int = 0) -> dict[str, Tensor]:
    """The dictionaries, and those controls that are built from held-out latents (k, c, h, w) of a data set, if any;
    ``seed`` as for ``dictionaries``."""
    if not len(heldout):
        return dict(bases)
    nothing = heldout[:0]
    material = Material(nothing.flatten(1), nothing, centred(heldout, sparse), seed, sparse.random_bases)
    return {**bases, **_built(material, sparse.controls, sees_data=True)}


def centred(points: Tensor, sparse: SparseConfig) -> Tensor:
    """Points (n, ...) minus their own mean in float64, if ``sparse.centre`` asks for it: the directions in which they
    vary. Points that are not finite stay out of the mean."""
    if sparse.centre == "none" or not len(points):
        return points
    points = points.double()
    return points - points[points.flatten(1).isfinite().all(dim=1)].mean(0)


def _built(material: Material, names: Iterable[str], *, sees_data: bool) -> dict[str, Tensor]:
    """The dictionaries with at least one row."""
    found, known = {}, methods()
    for method in (known[name] for name in names if known[name].sees_data == sees_data):
        made = call(method, method.build, material)
        for b, basis in enumerate([made] if isinstance(made, Tensor) else made):
            if len(basis) and basis.shape[1:] != (material.d,):
                raise Failure(f"method {method.name!r} built a dictionary {tuple(basis.shape)}, not (N, {material.d}).")
            found[f"{method.name}{BASIS}{b}" if b else method.name] = basis
    return {name: basis for name, basis in found.items() if len(basis)}


def absent_controls(bases: Iterable[str], sparse: SparseConfig) -> dict[str, str]:
    """The configured controls that could not be built, each with the reason."""
    made, known = set(bases), methods()
    return {name: known[name].missing for name in sparse.controls if name not in made}


def pursuit_dtype(sparse: SparseConfig, d: int, sizes: Iterable[int]) -> str:
    """The type in which dictionaries of these sizes are compared: the configured one; for ``auto``, float64 if one of
    them needs it, else float32."""
    if sparse.dtype != "auto":
        return sparse.dtype
    needed = {working_dtype(size, d, sparse.atoms(d)) for size in sizes}
    return "float64" if torch.float64 in needed else "float32"


def prepare(bases: Mapping[str, Tensor], sparse: SparseConfig, device: torch.device) -> dict[str, Dictionary]:
    """The dictionaries prepared for ``reconstruct``, to be reused for many batches of images."""
    d = next(iter(bases.values())).shape[1]
    dtype = getattr(torch, pursuit_dtype(sparse, d, [len(basis) for basis in bases.values()]))
    return {name: Dictionary(basis.to(device), dtype) for name, basis in bases.items()}


@torch.no_grad()
def reconstruct(
    model: Autoencoder,
    bases: Mapping[str, Dictionary],
    images: Tensor,
    sparse: SparseConfig,
    mean: Tensor,
    *,
    latents: Tensor | None = None,
    centre: Tensor | None = None,
    clip: Clip | None = None,
    perceptual: Perceptual | None = None,
    on_method: Callable[[int], None] | None = None,
) -> Reconstructed:
    """Reconstruct every image in every dictionary at every level, by OMP on its latent.

    Args:
        bases: dictionaries by name, from ``prepare``; they keep their Gram matrices for further calls.
        images: uint8 (n, 3, H, W).
        mean: uint8 (3, H, W), see ``mean_image``.
        latents: of the images (n, c, h, w), if they are encoded already.
        centre: (d,), subtracted from the latents before they are coded and added to decode them; see ``centre``.
        clip: for the metric ``clip``.
        perceptual: for the metric ``lpips``, and ``Reconstructed.features``.
        on_method: called with the number of dictionaries that are done.

    Raises:
        Failure: a metric or control of a plug-in fails or has the wrong shape.
    """
    if latents is None:
        latents = encode(model, images, together=sparse.batch_size)
    shape, d = latents.shape[1:], latents[0].numel()
    levels, signals = sparse.atoms(d), signals_of(latents, centre)
    offset = latents.new_zeros(()) if centre is None else centre.to(latents.device)
    look = Look(clip, clip.images(images / 255)) if clip else None
    lpips = perceptual.lpips if perceptual else None
    judge = _Judge(model, Paced(model.decode), images, latents, sparse.batch_size, look, lpips)
    floor, shown = judge.errors(latents, torch.zeros(len(images), dtype=torch.float64))
    examples = {"original": picture(images[:EXAMPLES]), AUTOENCODER.name: shown}
    used: list[Tensor] = []
    errors: list[dict[str, Tensor]] = []
    for done, (method, basis) in enumerate(bases.items(), 1):
        codes = omp(basis, signals, levels)
        atoms, squared = torch.stack([codes.used(level) for level in levels]), codes.squared_error.T
        used.append(atoms)
        judged: list[tuple[dict[str, Tensor], Tensor]] = []
        for k, (level, error) in enumerate(zip(levels, squared, strict=True)):
            if k and torch.equal(atoms[k], atoms[k - 1]) and torch.equal(error, squared[k - 1]):
                judged.append(judged[-1])  # no atom came to any code: the pictures are the same
                continue
            z_hat = (basis.reconstruct(codes, level) + offset).to(model.dtype).view(-1, *shape)
            judged.append(judge.errors(z_hat, error / d))
        errors.append(_stack([found for found, _ in judged]))
        if BASIS not in method:
            examples[method] = torch.stack([shown for _, shown in judged])
        if on_method is not None:
            on_method(done)
    return Reconstructed(
        methods=tuple(bases),
        levels=tuple(levels),
        d=d,
        used=torch.stack(used).cpu(),
        errors=_on_cpu(_stack(errors)),
        floor=_on_cpu(floor),
        sanity=_on_cpu(judge.sanity(mean)),
        examples=_on_cpu(examples),
        originals=originals(images, look) if look else {},
        features=judge.features(perceptual.inception) if perceptual and perceptual.inception else {},
    )


def decoded_levels(levels: Iterable[int], atoms: int) -> int:
    """At how many of these levels ``reconstruct`` decodes pictures in a dictionary of so many atoms."""
    return len({min(level, atoms) for level in levels})


def signals_of(latents: Tensor, centre: Tensor | None) -> Tensor:
    """What is coded of latents (n, c, h, w): (n, d), less the centre (d,) in float64 if there is one."""
    signals = latents.flatten(1)
    return signals if centre is None else signals.double() - centre.to(signals.device)


def originals(images: Tensor, look: Look) -> dict[str, Tensor]:
    """``Reconstructed.originals``: also at the size of the decoded end points, which they are compared with."""
    small = picture(images)
    embedding = look.originals if small is images else look.clip.images(small / 255)
    return {"embedding": embedding.cpu(), "picture": small.cpu().clone(), "whole": look.originals.cpu().clone()}


def mean_image(images: Tensor) -> Tensor:
    """Mean of uint8 images (n, 3, H, W), uint8 (3, H, W)."""
    return (images.sum(0).double() / len(images)).round().to(torch.uint8)


def picture(images: Tensor) -> Tensor:
    """uint8 images (n, 3, H, W), reduced by area averaging if a side is longer than ``PICTURE``."""
    factor = PICTURE / max(images.shape[-2:])
    if factor >= 1 or not len(images):
        return images
    size = [max(round(side * factor), 1) for side in images.shape[-2:]]
    return interpolate(images.float(), size, mode="area").round().to(torch.uint8)


@dataclass(frozen=True)
class _Judge:
    """What the reconstructions of n uint8 images are compared with, in batches; ``floor`` is what their latents were
    decoded to, by the batch's first row."""

    model: Autoencoder
    decode: Callable[[Tensor], Tensor]
    images: Tensor
    latents: Tensor
    batch_size: int
    look: Look | None
    lpips: Lpips | None
    floor: dict[int, Tensor] = field(default_factory=dict)

    def errors(
        self, z_hat: Tensor, latent_mse: Tensor, decoded: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Every metric, (n,), and pictures of the first decoded images, for reconstructed latents with their mean
        squared errors (n,); ``decoded`` is one image (1, ...) that stands for all of them, where z_hat is one row."""
        found: list[dict[str, Tensor]] = []
        shown: list[Tensor] = []
        for start in range(0, len(self.images), self.batch_size):
            rows = slice(start, start + self.batch_size)
            x = self._unit(self.model.from_pixels(self.images[rows]))
            pixels = self._decoded(z_hat[rows], rows) if decoded is None else decoded
            x_hat = self._unit(pixels)
            pair = Compared(
                x=x,
                x_hat=x_hat.expand_as(x),
                z=self.latents[rows],
                z_hat=z_hat[rows] if decoded is None else z_hat,
                latent_mse=latent_mse[rows].double(),
                embeddings=(self.look.originals[rows], self.look.clip.images(x_hat)) if self.look else None,
                lpips=self.lpips,
            )
            found.append(measured(pair))
            if sum(map(len, shown)) < EXAMPLES:
                shown.append(picture(self.model.to_pixels(pixels[:EXAMPLES])))
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}, torch.cat(shown)[:EXAMPLES]

    def _decoded(self, z_hat: Tensor, rows: slice) -> Tensor:
        """The images of a batch's latents. A whole basis gives the encoded latents again, to the last bit."""
        if not torch.equal(z_hat, self.latents[rows]):
            return self.decode(z_hat)
        if rows.start not in self.floor:
            self.floor[rows.start] = self.decode(z_hat)
        return self.floor[rows.start]

    def features(self, inception: Inception) -> dict[str, Tensor]:
        """``Reconstructed.features``, of the images that ``floor`` holds: all, once their latents were decoded."""
        rows = [(self.images[start : start + self.batch_size], decoded) for start, decoded in self.floor.items()]
        return {
            "images": torch.cat([inception(images) for images, _ in rows]),
            AUTOENCODER.name: torch.cat([inception(self.model.to_pixels(decoded)) for _, decoded in rows]),
        }

    def sanity(self, mean: Tensor) -> dict[str, Tensor]:
        """``Reconstructed.sanity``: a latent and a picture that are the same for every image."""
        flat, zero = self.model.from_pixels(mean[None].to(self.images.device)), torch.zeros_like(self.latents[:1])
        found = []
        for z, decoded in ((zero, self.model.decode(zero)), (self.model.encode(flat), flat)):
            error = (self.latents - z).flatten(1).double().square().mean(1)
            found.append(self.errors(z, error, decoded)[0])
        return _stack(found)

    def _unit(self, x: Tensor) -> Tensor:
        """Images in the model's range, clamped to it, as numbers in [0, 1]."""
        low, high = self.model.image_range
        return (x.clamp(low, high) - low) / (high - low)


def measured(pair: Compared) -> dict[str, Tensor]:
    """Every metric that applies to a batch, (n,) in float64, by name.

    Raises:
        Failure: a metric of a plug-in fails or has the wrong shape.
    """
    found = {}
    for name, metric in metrics().items():
        value = call(metric, metric.function, pair)
        if value is None:
            continue
        if value.shape != (len(pair.x),):
            raise Failure(f"metric {name!r} returned shape {tuple(value.shape)}, not one number per image.")
        found[name] = value.double()
    return found


def _stack(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in tensors.items()}
