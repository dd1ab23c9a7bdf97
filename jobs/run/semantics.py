"""What CLIP makes of the decoded end points, on rank 0 at the end of stage ``reconstruct``."""

import hashlib

import torch
from torch import Tensor

from jobs.run.directory import RunDirectory, table_files
from probe.autoencoders import Autoencoder
from probe.dynamics import gaussian_starts
from probe.results.layout import GALLERY, SEMANTICS
from probe.semantics.clip import TEMPLATE, Clip, word_list
from probe.semantics.describe import NOISE, describe, unrelated
from probe.studies.probing.reconstruction import picture


def look_at(run: RunDirectory, model: Autoencoder, clip: Clip, dictionary: str) -> None:
    """Label the decoded end points, and find their nearest test images; one file."""
    asked = run.config.clip
    assert asked is not None
    words = word_list(asked.labels)
    tables = {name: run.load(table_files(name)[1], "original") for name in run.reconstructed}
    made_from = {
        "dictionary": dictionary,
        "clip": clip.sha256,
        "words": hashlib.sha256("\n".join(words).encode()).hexdigest(),
        "tables": [about["sha256"] for _, about in tables.values()],
    }
    if run.claimed(SEMANTICS.name, **made_from):
        return
    points = clip.images(run.load(GALLERY.name)[0]["thumbnails"] / 255)
    sets = {name: run.load(table_files(name)[1])[0] for name in tables}
    embeddings = {name: tensors["originals/embedding"].to(points.device) for name, tensors in sets.items()}
    images = torch.cat([points[:0], *embeddings.values()])
    found = describe(points, _noise(run, model, clip), images, clip.words(words), words)
    names = [(name, row) for name, embedding in embeddings.items() for row in range(len(embedding))]
    near = [names[i] for i in found.nearest.tolist()] if names else []
    pictures = [sets[name]["originals/picture"][row] for name, row in near]
    run.save(
        SEMANTICS.name,
        {
            "label_similarity": found.label_similarity.cpu(),
            "above_noise": found.above_noise.cpu(),
            "nearest_similarity": found.nearest_similarity.cpu(),
            **({"nearest_images": torch.stack(pictures)} if pictures else {}),
        },
        **made_from,
        labels=[words[i] for i in found.label.tolist()],
        nearest=[f"{name}/{tables[name][1]['ids'][row]}" for name, row in near],
        summary={
            **found.summary,
            "model": asked.model,
            "pretrained": None if ":" in asked.model else asked.pretrained,  # an address holds its weights
            "weights_sha256": clip.sha256,
            "words_sha256": made_from["words"],
            "template": TEMPLATE,
            "unrelated": {name: unrelated(tensors["originals/whole"]) for name, tensors in sets.items()},
        },
    )


def _noise(run: RunDirectory, model: Autoencoder, clip: Clip) -> Tensor:
    """Embeddings of D(z0) for the first z0 of the run's seed, as small pictures, like those of the end points."""
    found = []
    with torch.no_grad():
        for first in range(0, NOISE, 16):
            z = gaussian_starts(run.config.seeds.seed, range(first, first + 16), run.latent_shape)
            decoded = model.to_pixels(model.decode(z.to(model.device, model.dtype)))
            found.append(clip.images(picture(decoded) / 255))
    return torch.cat(found)
