"""The images of an OOD experiment: every set goes through the same decoding, crop and resize."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.data import ImageSet, load_images
from probe.data.encoding import Collecting, Encoding, Reencoding
from probe.errors import UserError
from probe.files import tensors_sha256
from probe.metrics.memorization import noise_images
from probe.studies.ood.config import NOISE, OodConfig
from probe.training.images import is_grey

CONTROL = "reencoded"


@dataclass(frozen=True)
class Drawn:
    """A set as drawn.

    images: uint8 (n, 3, R, R). ids: of each in its source.
    facts: source, sizes, checksum, and how the files were encoded; for the manifest.
    encodings: of its files; empty for noise.
    """

    images: Tensor
    ids: list[str]
    facts: dict[str, Any]
    encodings: list[Encoding]


def control_name(outside: str) -> str:
    """The set of in-distribution images that are encoded like those of an OOD set."""
    return f"{CONTROL}-{outside}"


def draw_set(config: OodConfig, name: str) -> Drawn:
    """Draw ``train``, ``test`` or an OOD set by its name.

    Raises:
        UserError: as ``load_images``.
    """
    if name in ("train", "test"):
        part: Literal["train", "test"] = "train" if name == "train" else "test"
        return _loaded(f"inside/{name}", config.inside.parts()[part].dataset(part), config, Collecting())
    outside = config.outside[name]
    if outside.source != NOISE:
        return _loaded(name, outside.dataset("test"), config, Collecting())
    grain = noise_images(outside.n, (3, config.resolution, config.resolution), seed=config.seed)
    images = (grain * 256).to(torch.uint8)
    # Each channel of it is noise by itself, so that a model of grey images can take it.
    facts = _facts(images, {"source": {"source": NOISE}, "grey": True})
    return Drawn(images, [str(row) for row in range(outside.n)], facts, [])


def draw_control(config: OodConfig, encodings: Sequence[Encoding]) -> Drawn:
    """The first in-distribution test images again, encoded like those of an OOD set (``probe.data.encoding``)."""
    spec = config.inside.test.dataset("test")
    few = spec.model_copy(update={"n": min(config.reencoded, spec.n)})
    return _loaded("inside/test", few, config, Reencoding(encodings))


def _loaded(name: str, spec: Any, config: OodConfig, prepare: Collecting | Reencoding) -> Drawn:
    drawn: ImageSet = load_images(name, spec, resolution=config.resolution, prepare=prepare)
    encodings = prepare.found[: len(drawn.ids)] if isinstance(prepare, Collecting) else []
    more = {"n_planned": drawn.n_planned, "unreadable": drawn.unreadable, "source": drawn.source}
    more |= {"repeated": drawn.repeated, "notes": list(drawn.notes)}
    if encodings:
        more["encodings"] = _common(encodings)
    return Drawn(drawn.images, drawn.ids, _facts(drawn.images, more), encodings)


def _facts(images: Tensor, more: dict[str, Any]) -> dict[str, Any]:
    sha256 = tensors_sha256([("images", images)])
    return {"n_used": len(images), "sha256": sha256, "grey": is_grey(images), **more}


def _common(encodings: Sequence[Encoding], shown: int = 4) -> dict[str, int]:
    """The most frequent encodings, with how many files have them."""
    counts: dict[str, int] = {}
    for one in encodings:
        counts[one.label] = counts.get(one.label, 0) + 1
    first = sorted(counts.items(), key=lambda item: -item[1])
    return dict(first[:shown]) | ({"others": sum(n for _, n in first[shown:])} if len(first) > shown else {})


def must_fit(channels: int, facts: dict[str, dict[str, Any]]) -> None:
    """Refuse colour images for a model of grey ones.

    Raises:
        UserError: a set is in colour.
    """
    for name, one in facts.items():
        if channels == 1 and not one["grey"]:
            raise UserError(f"{name} is in colour, and the model takes grey images; leave it out, or take grey images.")


def as_taken(model: Autoencoder, images: Tensor) -> Tensor:
    """Images (n, 3, R, R) with the channels that the model takes, (n, c, R, R)."""
    return images[:, :1] if model.channels == 1 else images
