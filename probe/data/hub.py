"""Data sets of the Hugging Face hub, streamed."""

import hashlib
import re
import tarfile
import time
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from probe.caches import cache_sentence
from probe.config import DatasetConfig
from probe.data.cells import content, is_base64
from probe.data.columns import class_column, holds, image_column, kind, label_of
from probe.data.formats import named
from probe.data.patience import BUSY, SILENCE, GaveUp, patience
from probe.data.patterns import are_files, expanded, hub_parts, split_names
from probe.data.source import MAX_FILE_BYTES, Candidate, Opened, UnreadableImage, check_size, first_line
from probe.errors import UserError, reason_of, without_secrets
from probe.hub import refused
from probe.names import shortened, shown

# Rows held while shuffling a stream. The order is uniform for a split that fits. For a larger one the sample favours
# the first rows of the first shards, and the report's "sample" says so.
BUFFER = 5000
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, UnicodeError)
_ON_THE_HUB = re.compile(r"(zip://[^:]*::)?hf://[^:]+")


def open_hub(where: str, spec: DatasetConfig, place: str) -> Opened:
    """A seeded sample of a streamed data set; an id is the file name in the data set, else a hash of the image.

    Of several splits (``train+test``) each row is drawn from one of them, in proportion to their rows. Several files
    (``OWNER/NAME/FILES``, with ``*`` and braces) are read as one split.
    UserError if the repository, configuration, split, file or revision is absent, gated or unreachable, also while
    candidates are read; or if the column of images is not clear, or a column to balance does not declare its classes.
    """
    repo, _ = hub_parts(place)
    with explained(where, repo, spec.revision):
        streams, facts = open_streams(where, spec, place)
        features = columns_of(streams[0])
        if spec.column in features and _is_text(features[spec.column]) and _holds_base64(streams[0], spec.column):
            features[spec.column] = None  # text that holds images
        column = image_column(where, features, spec.column)
        label = class_column(where, features, spec.balance, column)
        columns = [column, label] if label else [column]
        encoded = holds(features[column]) not in ("list", "array")
        drawn = [shuffled(stream, spec.seed, columns, column if encoded else None) for stream in streams]
        names = _class_names(where, label, features) if spec.balance and label else None

    def read(cell: Any) -> bytes | Image.Image:
        with explained(where, repo, spec.revision):
            return hub_image(cell)

    def candidates() -> Generator[Candidate, None, None]:
        with explained(where, repo, spec.revision):
            for row in merged(drawn, facts["rows"], spec.seed):
                name = label_of(features[label], row[label]) if label else None
                yield Candidate(_stable_id(row[column]), partial(read, row[column]), name)

    said = {name: value for name, value in facts.items() if name != "rows"}
    said |= {"column": column, "sample": f"stream shuffled in a buffer of {BUFFER} rows"}
    return Opened(candidates(), said, tries=4, classes=names)


def open_streams(where: str, spec: DatasetConfig, place: str) -> tuple[list[Any], dict[str, Any]]:
    """The streamed ``datasets.IterableDataset`` of each split or of the files, pinned to a commit, and facts on them.

    The facts are the report's, and ``rows``, the number of rows of each stream where that is known.
    """
    import datasets

    repo, files = hub_parts(place)
    if files and not are_files(files):
        raise UserError(
            f"{where}: FILES of hub:OWNER/NAME/FILES are files of that data set, such as data/*-{{0..9}}.tar."
        )
    for field in ("config", "split"):
        if files and getattr(spec, field) != DatasetConfig.model_fields[field].default:
            raise UserError(f"{where} names files, which have no {field}; remove it.")
    commit = _commit(repo, spec.revision)
    how: dict[str, Any] = {"revision": commit, "streaming": True}
    if files:
        streams = [datasets.load_dataset(repo, split="train", data_files=expanded(files), **how)]
        return streams, {"revision": commit, "available": None, "rows": [None]}
    names = split_names(spec.split)
    streams = [datasets.load_dataset(repo, spec.config, split=name, **how) for name in names]
    splits = [(stream.info.splits or {}).get(name) for stream, name in zip(streams, names, strict=True)]
    rows = [split.num_examples if split else None for split in splits]
    available = None if None in rows else sum(filter(None, rows))
    return streams, {"revision": commit, "available": available, "rows": rows}


def shuffled(stream: Any, seed: int, columns: list[str], encoded: str | None) -> Any:
    """A stream of some columns in a seeded order, its images not decoded."""
    import datasets

    if stream.features and hasattr(stream, "decode"):  # else datasets decodes files in threads, before any cast
        stream = stream.decode(False)
    stream = stream.select_columns(columns)
    if encoded and stream.features:  # a table of text declares none, and its cells are text as they are
        stream = stream.cast_column(encoded, datasets.Image(decode=False))
    return stream.shuffle(seed=seed, buffer_size=BUFFER)


def merged(streams: list[Any], rows: list[int | None], seed: int) -> Iterator[Any]:
    """The rows of all streams; each comes from one drawn in proportion to the rows left, or evenly if not known."""
    if len(streams) == 1:
        yield from streams[0]
        return
    generator = np.random.default_rng(seed)
    left = [(1.0 if None in rows else float(count or 0)) for count in rows]
    iterators = list(map(iter, streams))
    while sum(left) > 0:
        chosen = int(generator.choice(len(left), p=np.array(left) / sum(left)))
        row = next(iterators[chosen], None)
        if row is not None:
            yield row
        left[chosen] = 0.0 if row is None else left[chosen] - (None not in rows)


def _class_names(where: str, column: str, features: dict[str, Any]) -> dict[str, int | None]:
    """The classes that a column declares; UserError if it declares none, since a stream is not read to its end."""
    feature = features[column]
    names = getattr(feature, "names", None) or (["False", "True"] if getattr(feature, "dtype", "") == "bool" else None)
    if not names:
        said = f"column {column!r} does not declare its classes ({kind(feature)}), and a stream is not read to its end"
        raise UserError(f"{where}: {said}; balance one of ClassLabel, or download the files and use parquet:PATH.")
    return dict.fromkeys(shown(str(name)) for name in names)


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _holds_base64(stream: Any, column: str) -> bool:
    cell = dict(next(iter(stream.select_columns([column])), {column: None}))[column]
    return isinstance(cell, str) and is_base64(cell)


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
    if isinstance(error, FileNotFoundError) and "Unable to find" in said:
        file = re.search(r"@[^/]*/([^'\" ]+)", said)
        return f"{what} has no {shortened(file[1] if file else said, 80)!r}; correct FILES."
    if cached := cache_sentence(error):
        return f"{what}: {cached}"
    if constants.HF_HUB_OFFLINE and isinstance(error, OSError):
        return f"{what} cannot be read offline; run `probe images` with the network, or unset HF_HUB_OFFLINE."
    if isinstance(error, DAMAGED) or type(error).__module__.startswith("pyarrow"):
        return f"{what} holds a damaged file ({first_line(error)}); set revision to another commit, or tell its owner."
    if refusal_said := refused(refusal, repo, revision, "dataset"):
        return f"{what} {refusal_said}"
    if isinstance(error, ValueError):
        if re.search("split|config", said, re.IGNORECASE):  # datasets lists those that there are, on several lines
            return f"{what}: {said.rstrip('.')}; set split or config accordingly."
        return f"{what} cannot be read as a stream ({first_line(error)}); download its files and give their path."
    return None


def _chain(error: BaseException | None) -> Iterator[Any]:
    """An exception and what led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _stable_id(cell: Any) -> str:
    """The file name or a hash of the content, since a shuffled stream does not give the row's number."""
    if cell is None:
        return "an empty row"
    if isinstance(cell, dict):
        path, data = cell["path"] or "", cell["bytes"] or b""
        if path and not is_base64(path):
            return path
        data = data or path.encode()
    else:  # numbers
        data = repr(cell.tolist() if isinstance(cell, np.ndarray) else cell).encode()
    return "sha256:" + hashlib.sha256(data).hexdigest()[:16]


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
