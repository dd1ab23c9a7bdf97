"""The methods by name, in the order, words, colours and marks that every table and figure uses."""

from dataclasses import dataclass
from typing import Literal

from probe.config import CONTROLS

METHODS = ("attractors", *CONTROLS)
CHALLENGERS = ("gaussian", "one_step", "dct")
"""Controls that neither see data nor are the paper's baseline; the strongest of them enters the verdict."""

_LABELS = {
    "random_orthogonal": "random orthogonal",
    "gaussian": "Gaussian",
    "one_step": "one step",
    "dct": "DCT",
    "pca_oracle": "PCA (oracle)",
    "autoencoder": "autoencoder",
    "zero_code": "zero code",
    "mean_image": "mean image",
}
PHRASES = {
    "random_orthogonal": "the random orthogonal basis",
    "gaussian": "Gaussian vectors",
    "one_step": "one step from noise",
    "dct": "the 2-D DCT",
    "pca_oracle": "the PCA of held-out images",
}
EXPLANATIONS = {
    "attractors": "the dictionary of this run: distinct end points of z ← f(z) from Gaussian noise",
    "random_orthogonal": "QR of a Gaussian matrix; the paper's baseline",
    "gaussian": "unit vectors drawn at random, not made orthogonal",
    "one_step": "f applied once to the same noise, no iteration",
    "dct": "2-D discrete cosine transform in each latent channel; knows neither weights nor data",
    "pca_oracle": "principal components of held-out images of the same set: an oracle, since it sees the data",
}
SANITY = {
    "zero_code": "z' = 0 and x' = D(0) for every image",
    "mean_image": "x' is the mean of the {of} for every image, z' = E(x')",
}
"""Attractor-free rows, with what they are."""
# Okabe and Ito's palette: apart for the colour-blind too; marks tell the lines apart in grey print.
COLOURS = {
    "attractors": "#D55E00",
    "random_orthogonal": "#7A7A7A",
    "gaussian": "#56B4E9",
    "one_step": "#0072B2",
    "dct": "#009E73",
    "pca_oracle": "#CC79A7",
}
MARKS = {
    "attractors": "o",
    "random_orthogonal": "s",
    "gaussian": "v",
    "one_step": "^",
    "dct": "D",
    "pca_oracle": "P",
}
OUTCOME_COLOURS = {"converged": "#009E73", "cycle": "#0072B2", "max_steps": "#E69F00", "diverged": "#4D4D4D"}


@dataclass(frozen=True)
class Metric:
    """How a metric is written: ``unit`` in brackets behind ``label``, and which way is better."""

    label: str
    explanation: str
    unit: str = ""
    better: Literal["low", "high"] = "low"


METRICS = {
    "latent_mse": Metric("latent MSE", "mean over the latent coordinates of the squared error"),
    "pixel_mse": Metric("pixel MSE", "mean over pixels and channels of the squared error of images in [0, 1]"),
    "psnr": Metric("PSNR", "-10 log10 of the pixel MSE of an image", "dB", "high"),
    "ssim": Metric("SSIM", "structural similarity (Wang et al., 2004), at most 1", better="high"),
    "clip": Metric("CLIP", "cosine of the CLIP embeddings of original and reconstruction", better="high"),
}
"""The columns of errors in reconstructions/NAME.parquet, in the order of tables; ``clip`` only if asked for."""


def subject(certified: int, atoms: int) -> str:
    """The method ``attractors`` in words: only a dictionary certified throughout earns that name."""
    return "attractors" if atoms and certified == atoms else "end points"


def label(method: str, subject: str) -> str:
    """A method's short name in tables and legends."""
    return subject if method == "attractors" else _LABELS[method]
