"""Hub data sets without a hub: real streams over local files, and the real classes of error."""

import io
from types import SimpleNamespace

import pytest
from PIL import Image

from probe.config import DatasetConfig
from probe.data import load_images
from probe.errors import UserError

COMMIT = "0123456789abcdef"


def png(index: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (index, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that answers every id with 20 rows, of which row 3 is broken; row 5 has a file name."""
    import datasets
    import huggingface_hub

    # A pause that datasets makes after every stream, for the sake of remote files.
    monkeypatch.setattr("datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.05, raising=False)
    cells = [{"bytes": b"no picture" if i == 3 else png(i), "path": "five.png" if i == 5 else None} for i in range(20)]
    features = datasets.Features({"img": datasets.Image(decode=False), "label": datasets.Value("int64")})
    table = datasets.Dataset.from_dict({"img": cells, "label": list(range(20))}, features=features)
    table.to_parquet(tmp_path / "rows.parquet")
    real, calls = datasets.load_dataset, []

    def load_dataset(*args, **kwargs):
        calls.append((args, kwargs))
        return real("parquet", data_files=str(tmp_path / "rows.parquet"), split="train", streaming=True)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(
        huggingface_hub.HfApi, "dataset_info", lambda self, repo, revision=None: SimpleNamespace(sha=COMMIT)
    )
    return calls


def load(n: int, holdout: int, **more):
    return load_images("mine", DatasetConfig(source="hub:some/set", n=n, holdout=holdout, **more), resolution=4)


def numbers(images):
    return images[:, 0, 0, 0].tolist()


def test_a_stream_is_sampled_by_seed(hub):
    bare, full, other = load(6, 0), load(6, 20), load(6, 0, seed=1)
    assert bare.ids == full.ids != other.ids
    assert sorted(numbers(full.images) + numbers(full.heldout)) == [i for i in range(20) if i != 3]
    assert len(full.unreadable) == 1
    everything = load(20, 0)
    assert everything.ids[numbers(everything.images).index(5)] == "five.png"
    assert len(set(everything.ids)) == 19


def test_the_source_is_pinned_and_told(hub):
    got = load(2, 0, config="plain", split="train")
    args, kwargs = hub[0]
    assert args == ("some/set", "plain")
    assert kwargs == {"split": "train", "revision": COMMIT, "streaming": True}
    assert got.source["revision"] == COMMIT
    assert got.source["column"] == "img"
    assert "buffer" in got.source["sample"]


def test_a_wrong_column(hub):
    with pytest.raises(UserError, match="has no column 'image'"):
        load(2, 0, column="image")


def http_error(kind, status):
    import huggingface_hub.errors as errors

    response = SimpleNamespace(status_code=status, headers={}, request=None, url="https://huggingface.co")
    return getattr(errors, kind)("no", response=response)


def errors():
    import datasets.exceptions as theirs
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    return [
        (http_error("GatedRepoError", 403), "is gated; accept its terms.*huggingface-cli login.*HF_TOKEN"),
        (theirs.DatasetNotFoundError("Dataset 'x' is a gated dataset on the Hub.\nVisit ..."), "is gated; accept"),
        (http_error("RepositoryNotFoundError", 404), "does not exist or is private"),
        (theirs.DatasetNotFoundError("Dataset 'x' doesn't exist on the Hub"), "does not exist or is private"),
        (http_error("RevisionNotFoundError", 404), "no such revision"),
        (theirs.DataFilesNotFoundError("No (supported) data files found in x"), "holds no readable tables"),
        (HFValidationError("Repo id must be ..."), "write hub:OWNER/NAME"),
        (ConnectionError("Couldn't reach 'x' on the Hub (LocalEntryNotFoundError)"), "could not be reached"),
        (OfflineModeIsEnabled("offline mode is on"), "could not be reached"),
        (ValueError("Bad split: test. Available splits: ['train']"), r"Available splits: \['train'\]; set split"),
    ]


@pytest.mark.parametrize("scheme", ["hub", "urls"])
@pytest.mark.parametrize("case", range(10))
def test_what_the_hub_refuses_is_one_sentence(hub, monkeypatch, scheme, case):
    error, message = errors()[case]

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(UserError, match=message) as caught:
        load_images("mine", DatasetConfig(source=f"{scheme}:some/set"), resolution=4)
    assert "some/set" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_client_without_a_network(hub, monkeypatch):
    """The hub's own client raises the class of its HTTP library, which is not an OSError."""
    from huggingface_hub import HfApi

    class ConnectError(Exception):
        __module__ = "httpx"

    def fail(*args, **kwargs):
        raise ConnectError("Name or service not known")

    monkeypatch.setattr(HfApi, "dataset_info", fail)
    with pytest.raises(UserError, match=r"could not be reached .Name or service not known"):
        load(2, 0)


def test_a_network_that_fails_while_rows_are_read(hub, monkeypatch):
    import datasets

    def rows(self):
        raise ConnectionError("gone")
        yield

    monkeypatch.setattr(datasets.IterableDataset, "__iter__", rows)
    with pytest.raises(UserError, match=r"could not be reached .gone"):
        load(2, 0)


def test_a_bug_is_not_blamed_on_the_user(hub, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyError("a bug")

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(KeyError):
        load(2, 0)
