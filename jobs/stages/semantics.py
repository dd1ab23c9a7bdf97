"""What CLIP makes of the decoded end points, on rank 0 at the end of stage ``reconstruct``."""

import torch
from torch import Tensor

from jobs.job import Job
from jobs.stages.dictionary import GALLERY_FILE
from jobs.stages.tables import table_files
from probe.dynamics.starts import gaussian_starts
from probe.semantics.clip import TEMPLATE, word_list
from probe.semantics.describe import NOISE, describe

FILE = "semantics.safetensors"


def look_at(job: Job, dictionary: str) -> None:
    """Label the decoded end points, and find their nearest test images; one file.

    Raises:
        UserError: the list of words cannot be read.
    """
    clip, asked = job.clip, job.config.clip
    assert clip is not None
    assert asked is not None
    tables = {name: job.run.load(table_files(name)[1], "original") for name in job.config.datasets}
    made_from = {
        "dictionary": dictionary,
        "clip": clip.sha256,
        "tables": [about["sha256"] for _, about in tables.values()],
    }
    if job.run.checked(FILE, **made_from):
        return
    words = word_list(asked.labels)
    points = clip.images(job.run.load(GALLERY_FILE)[0]["thumbnails"] / 255)
    sets = {name: job.run.load(table_files(name)[1])[0] for name in tables}
    embeddings = {name: tensors["originals/embedding"].to(points.device) for name, tensors in sets.items()}
    images = torch.cat([points[:0], *embeddings.values()])
    found = describe(points, _noise(job), images, clip.words(words), words)
    names = [(name, row) for name, embedding in embeddings.items() for row in range(len(embedding))]
    near = [names[i] for i in found.nearest.tolist()] if names else []
    pictures = [sets[name]["originals/picture"][row] for name, row in near]
    job.run.save(
        FILE,
        {
            "label_similarity": found.label_similarity.cpu(),
            "nearest_similarity": found.nearest_similarity.cpu(),
            **({"nearest_images": torch.stack(pictures)} if pictures else {}),
        },
        **made_from,
        labels=[words[i] for i in found.label.tolist()],
        nearest=[f"{name}/{tables[name][1]['ids'][row]}" for name, row in near],
        summary={
            **found.summary,
            "model": asked.model,
            "pretrained": asked.pretrained,
            "weights_sha256": clip.sha256,
            "template": TEMPLATE,
            "unrelated": {name: _unrelated(embedding) for name, embedding in embeddings.items()},
        },
    )


def _noise(job: Job) -> Tensor:
    """Embeddings of D(z0) for the first z0 of the run's seed."""
    assert job.clip is not None
    found = []
    with torch.no_grad():
        for first in range(0, NOISE, 16):
            z = gaussian_starts(job.config.seeds.seed, range(first, first + 16), job.latent_shape)
            decoded = job.model.to_pixels(job.model.decode(z.to(job.model.device, job.model.dtype)))
            found.append(job.clip.images(decoded / 255))
    return torch.cat(found)


def _unrelated(embedding: Tensor) -> float | None:
    """Mean cosine of every image and the next of its data set; None for one image."""
    return float((embedding * embedding.roll(1, 0)).sum(1).mean()) if len(embedding) > 1 else None
