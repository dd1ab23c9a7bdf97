"""Two tables, ``METHODS`` and ``METRICS``: everything that lists methods or metrics reads them.

A method is a dictionary that images are reconstructed in: the attractors, and the controls that they are compared
with. A metric is a number per image that compares the image with its reconstruction. To add one, add an entry to the
tuple (docs/developing/recipes.md), or publish it as a plug-in (``probe.plugins``). torch is imported inside the
functions only, since a configuration reads the names.

| symbol | meaning | shape |
|---|---|---|
| d, N | latent dimension, number of starts | |
| z, z' | latents of the images, and their reconstructions from a dictionary | (n, c, h, w) |
| x, x' | the images, and D(z') clamped to the valid range, both in [0, 1] | (n, 3, H, W) |
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from probe.metrics.images import pixel_mse, psnr, ssim
from probe.plugins import with_plugins

if TYPE_CHECKING:
    from torch import Tensor

OURS = "attractors"
FEWEST = 10
"""End points, at least, whose covariance is estimated."""
BASELINE = "random_orthogonal"
"""The paper's control: all differences are taken to it."""
OUTCOME_COLOURS = {"converged": "#009E73", "cycle": "#0072B2", "max_steps": "#E69F00", "diverged": "#4D4D4D"}


@dataclass(frozen=True)
class Material:
    """What a dictionary may be built from.

    With ``sparse.centre``, their own mean was subtracted from the points of each kind.

    Attributes:
        atoms: end points (m, d), of any norm.
        first: f(z0) of every start (N, c, h, w).
        heldout: for methods with ``sees_data``: latents (k, c, h, w) of held-out images of the data set; else empty.
        seed: of the run.
        bases: random bases to draw (``sparse.random_bases``).
    """

    atoms: "Tensor"
    first: "Tensor"
    heldout: "Tensor"
    seed: int
    bases: int

    @property
    def d(self) -> int:
        return self.atoms.shape[1]

    @cached_property
    def random(self) -> "list[Tensor]":
        """The random orthogonal bases (d, d), drawn once for all methods that begin with them."""
        from probe.dictionary.controls import random_bases

        return random_bases(self.d, self.bases, self.seed)


@dataclass(frozen=True)
class _Named:
    name: str

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"the name {self.name!r} becomes a column and a key: use letters, digits and '_'")


@dataclass(frozen=True)
class Method(_Named):
    """A dictionary that images are reconstructed in.

    Attributes:
        name: in configurations, tables and report.json; a Python identifier.
        label: in tables and legends.
        phrase: in sentences ("attractors beat ...").
        explanation: in the report's key.
        build: the dictionary from what there is: unit rows (N, d) in float64; a list of several, if ``random``.
        colour, mark: of its line in figures, as matplotlib names them.
        challenges: data-free and not the paper's baseline: the strongest of these enters the verdict.
        sees_data: built for each data set from held-out images: an oracle, drawn dashed, that does not compete.
        random: has several dictionaries (``sparse.random_bases``); its errors are means over them.
        rows: what its number of atoms follows.
        orthonormal: its atoms are; such codes need no pursuit.
        missing: why there is none, where ``build`` returns no rows.
    """

    label: str
    phrase: str
    explanation: str
    build: Callable[[Material], "Tensor | list[Tensor]"]
    colour: str = "#222222"
    mark: str = "X"
    challenges: bool = False
    sees_data: bool = False
    random: bool = False
    rows: Literal["end points", "starts", "dimension", "held-out images"] = "end points"
    orthonormal: bool = False
    missing: str = "it has no atoms"


@dataclass(frozen=True)
class Compared:
    """A batch of n images and their reconstructions.

    Attributes:
        x, x_hat: images and decoded images in [0, 1] (n, 3, H, W); of video (n, 3, T, H, W), of sound (n, 3, samples).
        z, z_hat: latents and reconstructed latents (n, c, h, w); z_hat may have one row, which stands for all.
        latent_mse: mean of (z - z')^2 over the d coordinates (n,), float64, in the arithmetic of the sparse code.
        embeddings: with CLIP, unit embeddings of x and x' (n, D); else None.
        lpips: LPIPS of two batches of images, (n,), where its weights are at hand; else None.
    """

    x: "Tensor"
    x_hat: "Tensor"
    z: "Tensor"
    z_hat: "Tensor"
    latent_mse: "Tensor"
    embeddings: "tuple[Tensor, Tensor] | None" = None
    lpips: "Callable[[Tensor, Tensor], Tensor] | None" = None


@dataclass(frozen=True)
class Metric(_Named):
    """A number for each image, by which its reconstruction is judged.

    Attributes:
        name: of the column in reconstructions/NAME.parquet and of the key in report.json; a Python identifier.
        label: in tables; ``unit`` stands in brackets behind it.
        explanation: the formula, in words.
        function: of a batch: (n,), NaN where an image has no such number; None where the metric does not apply.
        better: which way is better.
        optional: results may lack the column (made before there was the metric, or where it does not apply).
    """

    label: str
    explanation: str
    function: Callable[[Compared], "Tensor | None"]
    unit: str = ""
    better: Literal["low", "high"] = "low"
    optional: bool = True

    @property
    def heading(self) -> str:
        """The label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


@dataclass(frozen=True)
class Reference:
    """A reconstruction without a sparse code: the autoencoder alone, or the same picture for every image."""

    name: str
    label: str
    explanation: str


def _attractors(material: Material) -> "Tensor":
    from probe.dictionary.controls import unit_rows

    return unit_rows(material.atoms)


def _random_bases(material: Material) -> "list[Tensor]":
    return material.random


def _random_mean(material: Material) -> "list[Tensor]":
    # The mean of unit rows: OMP does not see the norms of end points, and one far point must not choose the direction.
    # As many bases as of the baseline, and the same ones: what differs is the mean alone.
    from probe.dictionary.controls import mean_first, unit_rows

    atoms = unit_rows(material.atoms)
    return [mean_first(basis, atoms) for basis in material.random]


def _random_mean_oracle(material: Material) -> "Tensor":
    # The mean as it is: OMP sees latents with their norms.
    from probe.dictionary.controls import mean_first, random_orthogonal

    basis = random_orthogonal(material.d, material.seed)
    made = mean_first(basis, material.heldout)
    return basis[:0] if made is basis else made


def _matched_gaussian(material: Material) -> "list[Tensor]":
    # One draw may be off by as much as what it is compared for: several, like the baseline's bases.
    from probe.dictionary.controls import matched_gaussian, unit_rows

    atoms = unit_rows(material.atoms)
    if len(atoms) < FEWEST:  # so few draws from so few points are the points again
        return [atoms[:0]]
    return [matched_gaussian(atoms, material.seed + 2 + 2 * draw) for draw in range(material.bases)]


def _weights_transform(material: Material) -> "Tensor":
    from probe.dictionary.controls import weights_transform

    return weights_transform(material.first)


def _gaussian(material: Material) -> "Tensor":
    from probe.dictionary.controls import gaussian

    return gaussian(len(material.first), material.d, material.seed + 1)


def _one_step(material: Material) -> "Tensor":
    from probe.dictionary.controls import unit_rows

    return unit_rows(material.first)


def _dct(material: Material) -> "Tensor":
    from probe.dictionary.controls import dct

    return dct(material.first.shape[1:])


def _pca_oracle(material: Material) -> "Tensor":
    from probe.dictionary.controls import pca_oracle

    return pca_oracle(material.heldout)


def _clip(pair: Compared) -> "Tensor | None":
    return None if pair.embeddings is None else (pair.embeddings[1] * pair.embeddings[0]).sum(1).double()


# Okabe and Ito's palette: apart for the colour-blind too; marks tell the lines apart in grey print.
METHODS: tuple[Method, ...] = (
    Method(
        OURS,
        label="attractors",
        phrase="the dictionary's end points",
        explanation="the dictionary of this run: distinct end points of z ← f(z) from Gaussian noise",
        build=_attractors,
        colour="#D55E00",
        mark="o",
    ),
    Method(
        BASELINE,
        label="random orthogonal",
        phrase="the random orthogonal basis",
        explanation="QR of a Gaussian matrix; the paper's baseline",
        build=_random_bases,
        rows="dimension",
        orthonormal=True,
        colour="#7A7A7A",
        mark="s",
        random=True,
    ),
    Method(
        "random_mean",
        label="random + mean",
        phrase="the random basis with the end points' mean",
        explanation="the first random orthogonal basis, turned so that its first atom is the mean of the dictionary's"
        " end points (each scaled to norm 1)",
        build=_random_mean,
        rows="dimension",
        orthonormal=True,
        colour="#4D4D4D",
        mark="p",
        challenges=True,
        random=True,
        missing="there are no end points",
    ),
    Method(
        "matched_gaussian",
        label="matched Gaussian",
        phrase="Gaussian vectors with the end points' mean and covariance",
        explanation="as many random vectors as end points, with the mean and covariance (Ledoit and Wolf's estimate) of"
        " the end points, each scaled to norm 1",
        build=_matched_gaussian,
        colour="#332288",
        mark="<",
        challenges=True,
        random=True,
        missing=f"fewer than {FEWEST} end points have no covariance to match",
    ),
    Method(
        "gaussian",
        label="Gaussian",
        phrase="Gaussian vectors",
        explanation="random unit vectors, not orthogonalized",
        build=_gaussian,
        rows="starts",
        colour="#56B4E9",
        mark="v",
        challenges=True,
    ),
    Method(
        "one_step",
        label="one step",
        phrase="one step from noise",
        explanation="f applied once to the same noise, no iteration",
        build=_one_step,
        rows="starts",
        colour="#0072B2",
        mark="^",
        challenges=True,
        missing="f(z0) is not finite for any start",
    ),
    Method(
        "dct",
        label="DCT",
        phrase="the 2-D DCT",
        explanation="2-D discrete cosine transform in each latent channel; uses neither weights nor data",
        build=_dct,
        rows="dimension",
        orthonormal=True,
        colour="#009E73",
        mark="D",
        challenges=True,
    ),
    Method(
        "weights_transform",
        label="weights transform",
        phrase="the transform from the weights",
        explanation="principal components over the channels of f(z0), times the 2-D DCT over space; orthonormal, from"
        " the weights alone",
        build=_weights_transform,
        rows="dimension",
        orthonormal=True,
        colour="#E69F00",
        mark=">",
        challenges=True,
        missing="f(z0) is not finite for any start",
    ),
    Method(
        "random_mean_oracle",
        label="random + mean (oracle)",
        phrase="the random basis with the mean of held-out images",
        explanation="the first random orthogonal basis, turned so that its first atom is the mean latent of held-out"
        " images of the same set: an oracle, because it sees the data",
        build=_random_mean_oracle,
        rows="dimension",
        orthonormal=True,
        colour="#8C564B",
        mark="h",
        sees_data=True,
        missing="no image was left to hold out, or their mean was subtracted",
    ),
    Method(
        "pca_oracle",
        label="PCA (oracle)",
        phrase="the PCA of held-out images",
        explanation="principal components of held-out images of the same set: an oracle, because it sees the data",
        build=_pca_oracle,
        rows="held-out images",
        orthonormal=True,
        colour="#CC79A7",
        mark="P",
        sees_data=True,
        missing="no image was left to hold out",
    ),
)
"""In the order of tables, figures and legends; the attractors first, then the controls."""

METRICS: tuple[Metric, ...] = (
    Metric(
        "latent_mse",
        label="latent MSE",
        explanation="mean over the d coordinates of (z - z')^2",
        function=lambda pair: pair.latent_mse,
        optional=False,
    ),
    Metric(
        "pixel_mse",
        label="pixel MSE",
        explanation="mean over pixels and channels of (x - x')^2, for images in [0, 1]",
        function=lambda pair: pixel_mse(pair.x_hat, pair.x),
        optional=False,
    ),
    Metric(
        "psnr",
        label="PSNR",
        explanation="-10 log10 of the image's pixel MSE",
        function=lambda pair: psnr(pair.x_hat, pair.x),
        unit="dB",
        better="high",
        optional=False,
    ),
    Metric(
        "ssim",
        label="SSIM",
        explanation="structural similarity (Wang et al., 2004), at most 1; none for images smaller than 11 pixels",
        function=lambda pair: ssim(pair.x_hat, pair.x),
        better="high",
        optional=False,
    ),
    Metric(
        "clip",
        label="CLIP",
        explanation="cosine similarity of the CLIP embeddings of x and x'; only if the configuration asks for CLIP",
        function=_clip,
        better="high",
    ),
    Metric(
        "lpips",
        label="LPIPS",
        explanation="learned perceptual distance (Zhang et al., 2018, version 0.1), 0 for equal images; only if the"
        " configuration asks for perceptual metrics and the weights are at hand",
        function=lambda pair: None if pair.lpips is None else pair.lpips(pair.x_hat, pair.x),
    ),
)
"""In the order of the columns of reconstructions/NAME.parquet and of tables."""

AUTOENCODER = Reference("autoencoder", "autoencoder", "D(E(x)): the autoencoder alone, without a dictionary")
SANITY = (
    Reference("zero_code", "zero code", "z' = 0 and x' = D(0) for every image"),
    Reference("mean_image", "mean image", "x' is the mean of the {of} for every image, z' = E(x')"),
)
"""Rows without a sparse code: a reconstruction that is no better has reconstructed nothing."""


def methods() -> dict[str, Method]:
    """All methods by name: ``METHODS`` and plug-ins."""
    return with_plugins(METHODS, Method)


def controls() -> dict[str, Method]:
    """All methods but the attractors, by name."""
    return {name: one for name, one in methods().items() if name != OURS}


def default_controls() -> tuple[str, ...]:
    """The controls of ``METHODS``: a plug-in's takes part only where ``sparse.controls`` names it."""
    return tuple(one.name for one in METHODS if one.name != OURS)


def metrics() -> dict[str, Metric]:
    """All metrics by name: ``METRICS`` and plug-ins."""
    return with_plugins(METRICS, Metric)


def subject(certified: int, atoms: int) -> str:
    """What to call the method ``attractors``: "attractors" if every atom is certified, else "end points"."""
    return "attractors" if atoms and certified == atoms else "end points"


BORROWED = "borrowed atoms"
"""What to call the method ``attractors`` where the atoms are those of another run."""


def label(name: str, subject: str = OURS) -> str:
    """The short name of a method or reference in tables and legends; ``subject`` is that of the attractors."""
    if name == OURS:
        return subject
    references = {one.name: one.label for one in (AUTOENCODER, *SANITY)}
    return references.get(name) or methods()[name].label
