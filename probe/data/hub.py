"""Data sets of the Hugging Face hub, streamed."""

import hashlib
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from probe.caches import cache_sentence
from probe.config import DatasetConfig
from probe.data.columns import image_column, label_column, label_of
from probe.data.source import MAX_FILE_BYTES, Candidate, Opened, UnreadableImage, bytes_or_path, check_size, first_line
from probe.errors import UserError
from probe.names import shortened

# Rows held while shuffling a stream. The order is uniform for a split that fits. For a larger one the sample favours
# the first rows of the first shards, and the report's "sample" says so.
BUFFER = 5000
_ON_THE_HUB = re.compile(r"(zip://[^:]*::)?hf://[^:]+")


def open_hub(where: str, spec: DatasetConfig, repo: str) -> Opened:
    """A seeded sample of a streamed data set; an id is the file name in the data set, else a hash of the image.

    UserError if the repository, configuration, split or revision is absent, gated or unreachable, also while candidates
    are read; or if the column of images is not clear.
    """
    import datasets

    with explained(where, repo):
        stream, facts = open_stream(spec, repo)
        features = columns_of(stream)
        column, classes = image_column(where, features, spec.column), label_column(features)
        columns = [column, classes] if classes else [column]
        images = stream.select_columns(columns).cast_column(column, datasets.Image(decode=False))
        images = images.shuffle(seed=spec.seed, buffer_size=BUFFER)

    def candidates() -> Generator[Candidate, None, None]:
        with explained(where, repo):
            for row in images:
                label = label_of(features[classes], row[classes]) if classes else None
                yield Candidate(_stable_id(row[column]), partial(hub_image, row[column]), label)

    facts |= {"column": column, "sample": f"stream shuffled in a buffer of {BUFFER} rows"}
    return Opened(candidates(), facts, tries=4)


def open_stream(spec: DatasetConfig, repo: str) -> tuple[Any, dict[str, Any]]:
    """The streamed ``datasets.IterableDataset`` of a split, pinned to a commit, and the facts for the report."""
    import datasets
    import huggingface_hub

    # Without the commit a report would say "whatever was there on that day".
    commit = huggingface_hub.HfApi().dataset_info(repo, revision=spec.revision).sha
    stream = datasets.load_dataset(repo, spec.config, split=spec.split, revision=commit, streaming=True)
    split = (stream.info.splits or {}).get(spec.split)
    return stream, {"revision": commit, "available": split.num_examples if split else None}


def columns_of(stream: Any) -> dict[str, Any]:
    """Column name -> feature; without declared features, the names in the first row."""
    return dict(stream.features or dict.fromkeys(next(iter(stream), {})))


@contextmanager
def explained(where: str, repo: str) -> Iterator[None]:
    """Turn errors of the hub's libraries into one sentence; errors with another cause pass."""
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except Exception as error:
        what, said = f"hub data set {repo!r}", str(error)
        not_found = isinstance(error, DatasetNotFoundError | RepositoryNotFoundError)
        if isinstance(error, GatedRepoError) or (not_found and "gated" in said):
            what += f" is gated; accept its terms at https://huggingface.co/datasets/{repo}, then log in with "
            what += "`hf auth login` (once `huggingface-cli login`) or set HF_TOKEN."
        elif isinstance(error, HFValidationError):
            what = f"{repo!r} is not the id of a hub data set; write hub:OWNER/NAME."
        elif isinstance(error, RevisionNotFoundError):
            what += " has no such revision; set revision to a branch, tag or commit that it has."
        elif isinstance(error, DataFilesNotFoundError):
            what += " holds no readable tables or images; choose another."
        elif not_found:
            what += " does not exist or is private; check the id, or log in with HF_TOKEN."
        elif cached := cache_sentence(error):
            what += f": {cached}"
        elif isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "aiohttp")):
            what += f" could not be reached ({first_line(error)}); check the network and try again."
        elif isinstance(error, ValueError):  # datasets lists the existing splits or configurations, on several lines
            what += f": {' '.join(said.split()).rstrip('.')}; set split or config accordingly."
        else:
            raise
        raise UserError(f"{where}: {what}") from error


def _stable_id(cell: dict[str, Any] | None) -> str:
    """The file name or a hash of the content, since a shuffled stream does not give the row's number."""
    if cell is None:
        return "an empty row"
    return cell["path"] or "sha256:" + hashlib.sha256(cell["bytes"] or b"").hexdigest()[:16]


def hub_image(cell: Any) -> bytes:
    """The encoded image of a cell: its bytes, or the file on the hub that its path names; else UnreadableImage."""
    path = bytes_or_path(cell)
    if isinstance(path, bytes):
        return path
    if not _ON_THE_HUB.fullmatch(path):
        raise UnreadableImage(f"its path {shortened(path, 60)!r} is not on the hub")
    import fsspec  # type: ignore[import-untyped]

    try:
        with fsspec.open(path, "rb") as file:
            data: bytes = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError, KeyError) as error:  # KeyError: no such member of an archive
        raise UnreadableImage(str(error)) from error
    check_size(len(data))
    return data
