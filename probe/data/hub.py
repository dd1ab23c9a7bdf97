"""Data sets of the Hugging Face hub, streamed."""

import hashlib
import re
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from PIL import Image

from probe.caches import cache_sentence
from probe.config import DatasetConfig
from probe.data.cells import content
from probe.data.columns import image_column, label_column, label_of
from probe.data.formats import named
from probe.data.patience import BUSY, SILENCE, GaveUp, patience
from probe.data.source import MAX_FILE_BYTES, Candidate, Opened, UnreadableImage, check_size, first_line
from probe.errors import UserError, reason_of, without_secrets
from probe.hub import refused
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

    with explained(where, repo, spec.revision):
        stream, facts = open_stream(spec, repo)
        features = columns_of(stream)
        column, classes = image_column(where, features, spec.column), label_column(features)
        columns = [column, classes] if classes else [column]
        if stream.features and hasattr(stream, "decode"):  # else datasets decodes files in threads, before any cast
            stream = stream.decode(False)
        images = stream.select_columns(columns).cast_column(column, datasets.Image(decode=False))
        images = images.shuffle(seed=spec.seed, buffer_size=BUFFER)

    def read(cell: Any) -> bytes | Image.Image:
        with explained(where, repo, spec.revision):
            return hub_image(cell)

    def candidates() -> Generator[Candidate, None, None]:
        with explained(where, repo, spec.revision):
            for row in images:
                label = label_of(features[classes], row[classes]) if classes else None
                yield Candidate(_stable_id(row[column]), partial(read, row[column]), label)

    facts |= {"column": column, "sample": f"stream shuffled in a buffer of {BUFFER} rows"}
    return Opened(candidates(), facts, tries=4)


def open_stream(spec: DatasetConfig, repo: str) -> tuple[Any, dict[str, Any]]:
    """The streamed ``datasets.IterableDataset`` of a split, pinned to a commit, and the facts for the report."""
    import datasets

    commit = _commit(repo, spec.revision)
    stream = datasets.load_dataset(repo, spec.config, split=spec.split, revision=commit, streaming=True)
    split = (stream.info.splits or {}).get(spec.split)
    return stream, {"revision": commit, "available": split.num_examples if split else None}


def _commit(repo: str, revision: str | None) -> str | None:
    """The commit of a revision. Without it a report would say "whatever was there on that day"."""
    import huggingface_hub

    for pause in (1, 2, 4, 8, None):  # as the client does for files only
        try:
            return huggingface_hub.HfApi().dataset_info(repo, revision=revision, timeout=SILENCE).sha
        except huggingface_hub.errors.HfHubHTTPError as error:
            if error.response.status_code not in BUSY or pause is None:
                raise
            asked = error.response.headers.get("retry-after", "")
            time.sleep(int(asked) if asked.isdecimal() else pause)
    return None


def columns_of(stream: Any) -> dict[str, Any]:
    """Column name -> feature; without declared features, the names in the first row."""
    return dict(stream.features or dict.fromkeys(next(iter(stream), {})))


@contextmanager
def explained(where: str, repo: str, revision: str | None) -> Iterator[None]:
    """Turn errors of the hub and its libraries into one sentence, within half a minute; errors of others pass."""
    try:
        with patience():
            yield
    except UnreadableImage:
        raise
    except Exception as error:
        sentence = _sentence(error, repo, revision)
        if sentence is None:
            raise
        raise UserError(f"{where}: {sentence}") from error


def _sentence(error: Exception, repo: str, revision: str | None) -> str | None:
    """What is wrong with a data set of the hub, and what to do; None for an error with another cause."""
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
    from huggingface_hub import constants, errors

    what, said = f"hub data set {repo!r}", " ".join(str(error).split())
    refusal = next((e for e in _chain(error) if isinstance(e, errors.HfHubHTTPError)), error)
    if gave_up := next((e for e in _chain(error) if isinstance(e, GaveUp)), None):
        return f"{what} cannot be read: the hub {gave_up}; try again later (images drawn so far are kept)."
    if isinstance(error, errors.HFValidationError):
        return f"{repo!r} is not the id of a hub data set; write hub:OWNER/NAME."
    if "is a gated dataset" in said:  # of datasets, which keeps its reason to itself
        terms = f"accept its terms at {without_secrets(constants.ENDPOINT)}/datasets/{repo}"
        if "Visit the dataset page" in said:
            return f"{what} is gated, and your token has no access: {terms} with the token's account."
        return f"{what} is gated: {terms}, then log in with `hf auth login` or set HF_TOKEN."
    if isinstance(error, DatasetNotFoundError) or type(refusal) is errors.RepositoryNotFoundError:
        return f"{what} does not exist or is private; check the id, or log in with a token that may read it."
    if isinstance(refusal, errors.DisabledRepoError):
        return f"{what} has been disabled by the hub; choose another."
    if isinstance(error, DataFilesNotFoundError | EmptyDatasetError):
        return f"{what} holds no readable tables or images; choose another."
    if cached := cache_sentence(error):
        return f"{what}: {cached}"
    if constants.HF_HUB_OFFLINE and isinstance(error, OSError):
        return f"{what} cannot be read offline; run `probe images` with the network, or unset HF_HUB_OFFLINE."
    if type(error).__module__.startswith("pyarrow"):
        return f"{what} holds a damaged file ({first_line(error)}); set revision to another commit, or tell its owner."
    if refusal_said := refused(refusal, repo, revision, "dataset"):
        return f"{what} {refusal_said}"
    if isinstance(error, ValueError):  # datasets lists the existing splits or configurations, on several lines
        return f"{what}: {said.rstrip('.')}; set split or config accordingly."
    return None


def _chain(error: BaseException | None) -> Iterator[Any]:
    """An exception and what led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _stable_id(cell: dict[str, Any] | None) -> str:
    """The file name or a hash of the content, since a shuffled stream does not give the row's number."""
    if cell is None:
        return "an empty row"
    return cell["path"] or "sha256:" + hashlib.sha256(cell["bytes"] or b"").hexdigest()[:16]


def hub_image(cell: Any) -> bytes | Image.Image:
    """The image of a cell: its bytes or pixels, or the file on the hub that its path names; else UnreadableImage.
    Errors of the hub pass, but for a file that it does not have."""
    path = content(cell)
    if not isinstance(path, str):
        return path
    if not _ON_THE_HUB.fullmatch(path):
        raise UnreadableImage(f"its path {shortened(path, 60)!r} is not on the hub")
    import fsspec  # type: ignore[import-untyped]
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with fsspec.open(path, "rb") as file:
            data: bytes = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError, KeyError) as error:  # KeyError: no such member of an archive
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, HfHubHTTPError | ConnectionError) and status != 404:
            raise
        raise UnreadableImage(reason_of(error)) from error
    check_size(len(data))
    return named(data, path)
