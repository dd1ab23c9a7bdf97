"""Errors of hub data sets without a hub; tests/hub/test_datasets.py has one."""

import base64
import tarfile
import zipfile
import zlib

import datasets
import pytest

from probe.data import hub
from probe.data.hub import explained
from probe.errors import UserError

from .test_tables import load, numbers, png, refused


def test_a_bug_is_not_blamed_on_the_user():
    with pytest.raises(KeyError), explained("data set 'mine'", "some/set", None):
        raise KeyError("a bug")


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with (
        pytest.raises(UserError, match=r"some/set': .* it belongs to a cache: .*set HF_HOME"),
        explained("", "some/set", None),
    ):
        raise PermissionError(13, "Permission denied", str(tmp_path / "hub" / "file"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (tarfile.ReadError("unexpected end of data"), "holds a damaged file (unexpected end of data)"),
        (zipfile.BadZipFile("File is not a zip file"), "holds a damaged file (File is not a zip file)"),
        (zlib.error("Error -3"), "holds a damaged file (Error -3)"),
        (EOFError("ended before"), "holds a damaged file (ended before)"),
        (UnicodeDecodeError("utf-8", b"a", 0, 1, "bad"), "holds a damaged file ('utf-8' codec"),
        (ValueError("Bad split: x. Available splits: ['a']"), "set split or config accordingly"),
        (
            ValueError("invalid literal for int()"),
            "(invalid literal for int()); download its files and give their path",
        ),
    ],
)
def test_what_is_wrong_with_files_is_one_sentence(error, words):
    with pytest.raises(UserError) as caught, explained("it", "some/set", None):
        raise error
    assert words in str(caught.value)


def test_tables_of_text_declare_no_columns(monkeypatch):
    """``datasets`` streams CSV without features, and cannot cast a column of it."""
    rows = [{"picture": base64.b64encode(png(i)).decode(), "word": "x"} for i in (3, 5)]
    stream = datasets.IterableDataset.from_generator(lambda: iter(rows))
    assert stream.features is None
    monkeypatch.setattr(hub, "open_streams", lambda *_: ([stream], {"rows": [None], "available": None}))
    assert sorted(numbers(load("hub:owner/name", column="picture"))) == [3, 5]
    assert "is not on the hub" in refused("hub:owner/name", column="word")
