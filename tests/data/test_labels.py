"""The classes of images, from every kind of source that has them."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from probe.config import DatasetConfig
from probe.data.columns import label_column, label_of
from probe.data.load import load_images
from probe.errors import UserError

from .test_files import write_folder, write_parquet


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def load(source, n=6, classes=None):
    spec = DatasetConfig(source=source, n=n, holdout=0)
    return load_images("mine", spec, resolution=4, classes=classes)


def test_labels_belong_to_their_images(tmp_path):
    folder = load(write_folder(tmp_path / "a folder", 9))
    assert folder.labels == [identity.split("/")[0] for identity in folder.ids]
    table = load(write_parquet(tmp_path / "rows.parquet", 9))
    assert table.labels == table.ids  # the file's labels are the rows' numbers
    target = load_digits().target
    digits = load("bundled:digits", 50)
    assert digits.labels == [str(target[int(identity)]) for identity in digits.ids]


def test_a_class_label_gives_its_name():
    import datasets

    feature = datasets.ClassLabel(names=["cat", "dog"])
    assert [label_of(feature, value) for value in (0, 1, -1, None)] == ["cat", "dog", None, None]
    assert label_column({"img": None, "Fine_Label": feature}) == "Fine_Label"
    assert label_column({"img": None}) is None


@pytest.mark.parametrize("value", [None, -1, -1.0, "", float("nan"), np.float32("nan")])
def test_no_value_is_no_class(value):
    assert label_of(None, value) is None


def test_images_of_some_classes_only(tmp_path):
    source = write_folder(tmp_path / "a folder", 9)
    some = load(source, classes=["class 1"])
    assert some.labels == ["class 1"] * 4
    everything = load(source, n=9)
    assert some.ids == [one for one, label in zip(everything.ids, everything.labels, strict=True) if label == "class 1"]


def test_an_empty_class_is_named(tmp_path):
    source = write_folder(tmp_path / "a folder", 9)
    with pytest.raises(UserError, match="no image drawn is of class 'class 7'; the classes are 'class 0', 'cla"):
        load(source, classes=["class 1", "class 7"])
    with pytest.raises(UserError, match="no image drawn is of class 'cat'; the source has no classes"):
        load("bundled:textures", classes=["cat"])
