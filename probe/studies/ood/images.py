"""The images of an OOD experiment: all sets are decoded, cropped and resized in the same way."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.config import DatasetConfig
from probe.data.decode import Collecting, Encoding, reencoding
from probe.data.load import Prepare, load_images
from probe.data.saved import by_use
from probe.errors import UserError
from probe.files import tensors_sha256
from probe.metrics.memorization import noise_images
from probe.studies.inputs import image_facts
from probe.studies.ood.config import NOISE, OodConfig
from probe.training.images import is_grey


@dataclass(frozen=True)
class Drawn:
    """A set as drawn: uint8 images (n, 3, R, R), the id of each in its source, facts for the manifest (source, sizes,
    checksum, encodings), and the encodings of its files, none for noise."""

    images: Tensor
    ids: list[str]
    facts: dict[str, Any]
    encodings: list[Encoding]


def draw_set(config: OodConfig, name: str) -> Drawn:
    """Draw ``train``, ``test`` or an OOD set by its name; errors as ``load_images``."""
    for part, images in config.inside.parts().items():
        if name == part:
            return _loaded(f"inside/{name}", by_use(images.dataset(part), part), config, Collecting())
    outside = config.outside[name]
    if outside.source != NOISE:
        return _loaded(name, outside.dataset("test"), config, Collecting())
    pixels = noise_images(outside.n, (3, config.resolution, config.resolution), seed=config.seed)
    noise = (pixels * 256).to(torch.uint8)
    # Each channel is noise by itself, so a model of grey images can use it.
    facts = {
        "sha256": tensors_sha256([("images", noise)]),
        "n_used": len(noise),
        "grey": True,
        "source": {"source": NOISE},
    }
    return Drawn(noise, [str(row) for row in range(outside.n)], facts, [])


def draw_control(config: OodConfig, encodings: Sequence[Encoding]) -> Drawn:
    """The first in-distribution test images again, encoded like the files of an OOD set (``probe.data.decode``)."""
    spec = config.inside.test.dataset("test")
    few = spec.model_copy(update={"n": min(config.reencoded, spec.n)})
    return _loaded("inside/test", few, config, reencoding(encodings))


def _loaded(name: str, spec: DatasetConfig, config: OodConfig, prepare: Prepare) -> Drawn:
    drawn = load_images(name, spec, resolution=config.resolution, prepare=prepare)
    encodings = prepare.found[: len(drawn.ids)] if isinstance(prepare, Collecting) else []
    digest = tensors_sha256([("images", drawn.images)])
    facts = {**image_facts(drawn), "sha256": digest, "grey": is_grey(drawn.images)}
    if encodings:
        facts["encodings"] = _common(encodings)
    return Drawn(drawn.images, drawn.ids, facts, encodings)


def _common(encodings: Sequence[Encoding], shown: int = 4) -> dict[str, int]:
    """The most frequent encodings, with the number of files that have them."""
    counts = Counter(one.label for one in encodings).most_common()
    others = sum(n for _, n in counts[shown:])
    return dict(counts[:shown]) | ({"others": others} if others else {})


def must_fit(channels: int, facts: dict[str, dict[str, Any]]) -> None:
    """Refuse colour images for a model of grey images, with a UserError."""
    for name, one in facts.items():
        if channels == 1 and not one["grey"]:
            raise UserError(
                f"{name} is in colour, but the model takes grey images; leave the set out, or use grey images."
            )


def as_taken(model: Autoencoder, images: Tensor) -> Tensor:
    """Images (n, 3, R, R) with the channels that the model takes, (n, c, R, R)."""
    return images[:, :1] if model.channels == 1 else images
