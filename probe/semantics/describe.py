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

from probe.metrics.vendi import vendi_score

NOISE = 256
"""Decoded draws from N(0, I)."""
BEYOND = 0.95
"""An end point's label counts as seen if its similarity is above this quantile of decoded noise's."""


@dataclass(frozen=True)
class Description:
    """Of m end points.

    Attributes:
        label: index of the nearest word (m,).
        label_similarity: its cosine (m,).
        nearest: index of the nearest test image (m,); -1 without images.
        nearest_similarity: its cosine (m,); NaN without.
        summary: counts and null levels, as report.json has them under ``semantics``.
    """

    label: Tensor
    label_similarity: Tensor
    nearest: Tensor
    nearest_similarity: Tensor
    summary: dict[str, Any]


def describe(points: Tensor, noise: Tensor, images: Tensor, words: Tensor, names: list[str]) -> Description:
    """Label, nearest image and diversity; ``points``, ``noise``, ``images``, ``words`` are a, e, i and w."""
    similarity, label = (points @ words.T).max(1)
    if len(images):
        near, nearest = (points @ images.T).max(1)
    else:
        near, nearest = torch.full_like(similarity, torch.nan), torch.full_like(label, -1)
    of_noise, noise_label = (noise @ words.T).max(1)
    summary = {
        "words": len(names),
        "label_similarity": {
            "end_points": float(similarity.median()),
            "noise": float(of_noise.median()),
            "images": float((images @ words.T).amax(1).median()) if len(images) else None,
        },
        "above_noise": float((similarity > of_noise.quantile(BEYOND)).double().mean()),
        "common_label": {"end_points": _most_common(label, names), "noise": _most_common(noise_label, names)},
        "nearest_similarity": {
            "end_points": float(near.median()) if len(images) else None,
            "noise": float((noise @ images.T).amax(1).median()) if len(images) else None,
        },
        "vendi": _vendi({"end_points": points, "noise": noise, "images": images}),
    }
    return Description(label, similarity, nearest, near, summary)


def _most_common(label: Tensor, names: list[str]) -> dict[str, Any]:
    (index, count), *_ = Counter(label.tolist()).most_common(1)
    return {"label": names[index], "share": count / len(label)}


def _vendi(sets: dict[str, Tensor]) -> dict[str, Any]:
    """Of as many of each, the first ones of end points and noise, and images at equal distances; the score grows with
    their number."""
    n = min(len(rows) for rows in sets.values() if len(rows))
    taken = {
        name: rows[torch.arange(n, device=rows.device) * len(rows) // n] for name, rows in sets.items() if len(rows)
    }
    taken["end_points"] = sets["end_points"][:n]
    return {"n": n, **{name: vendi_score(taken[name]) if name in taken else None for name in sets}}
