"""What decoded end points look like to CLIP, beside what decoded noise and real images do.

A word list always has a nearest word, and a data set a nearest image, so every number stands beside that of decoded
Gaussian noise, which is nothing in particular.

| symbol | meaning | shape |
|---|---|---|
| a, e, i | embeddings of decoded end points, decoded noise, and test images; unit rows | (m, D), (k, D), (n, D) |
| w | embeddings of the words | (v, D) |
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.metrics.interval import student
from probe.metrics.sets import vendi_score

NOISE = 256
"""Decoded draws from N(0, I)."""
MIN_IMAGES = 10
"""Fewest images for an interval."""
BEYOND = 0.95
"""A label counts as seen if its similarity is above this quantile of that of decoded noise."""


@dataclass(frozen=True)
class Description:
    """Of m end points.

    Attributes:
        label: index of the nearest word (m,).
        label_similarity: its cosine (m,).
        above_noise: whether that is above the quantile ``BEYOND`` of decoded noise's similarity to its own label (m,).
        nearest: index of the nearest test image (m,); -1 without images.
        nearest_similarity: its cosine (m,); NaN without.
        summary: counts and null levels, as report.json has them under ``semantics``.
    """

    label: Tensor
    label_similarity: Tensor
    above_noise: Tensor
    nearest: Tensor
    nearest_similarity: Tensor
    summary: dict[str, Any]


def describe(points: Tensor, noise: Tensor, images: Tensor, words: Tensor, names: list[str]) -> Description:
    """Label, nearest image and diversity; ``points``, ``noise``, ``images``, ``words`` are a, e, i and w."""
    similarity, label = (points @ words.T).max(1)
    near, nearest = torch.full_like(similarity, torch.nan), torch.full_like(label, -1)
    if len(images):
        near, nearest = (points @ images.T).max(1)
    of_noise, noise_label = (noise @ words.T).max(1)
    above = similarity > of_noise.quantile(BEYOND)
    summary = {
        "words": len(names),
        "label_similarity": {
            "end_points": float(similarity.median()),
            "noise": float(of_noise.median()),
            "images": float((images @ words.T).amax(1).median()) if len(images) else None,
        },
        "above_noise": float(above.double().mean()),
        "common_label": {"end_points": _most_common(label, names), "noise": _most_common(noise_label, names)},
        "nearest_similarity": {
            "end_points": float(near.median()) if len(images) else None,
            "noise": float((noise @ images.T).amax(1).median()) if len(images) else None,
        },
        "vendi": _vendi({"end_points": points, "noise": noise, "images": images}),
    }
    return Description(label, similarity, above, nearest, near, summary)


def unrelated(embeddings: Tensor) -> dict[str, Any]:
    """Cosine of two different rows of (n, D), unit rows: ``mean`` over all pairs, and ``ci95``, Student's interval by
    the jackknife over rows, at most 1; None where there are too few rows (2 and 10 at least).

    It is a function of n and the sum s of the rows: sum over i != j of e_i . e_j = |s|^2 - n.
    """
    n, e = len(embeddings), embeddings.double()
    if n < 2:
        return {"mean": None, "ci95": None}
    s = e.sum(0)
    mean = float((s.square().sum() - n) / (n * (n - 1)))
    if n < MIN_IMAGES:  # of three rows, nine tenths of such intervals hold the truth
        return {"mean": mean, "ci95": None}
    without = ((s - e).square().sum(1) - (n - 1)) / ((n - 1) * (n - 2))
    half = student(n, 0.95) * float(((n - 1) * without.var(correction=0)).sqrt())
    return {"mean": mean, "ci95": [mean - half, min(mean + half, 1.0)]}


def _most_common(label: Tensor, names: list[str]) -> dict[str, Any]:
    (index, count), *_ = Counter(label.tolist()).most_common(1)
    return {"label": names[index], "share": count / len(label)}


def _vendi(sets: dict[str, Tensor]) -> dict[str, Any]:
    """Of as many of each, at equal distances but for the first end points; the score grows with their number."""
    there = {name: rows for name, rows in sets.items() if len(rows)}
    n = min(map(len, there.values()))
    taken = {name: rows[torch.arange(n, device=rows.device) * len(rows) // n] for name, rows in there.items()}
    taken["end_points"] = sets["end_points"][:n]
    return {"n": n, **{name: vendi_score(taken[name]) if name in taken else None for name in sets}}
