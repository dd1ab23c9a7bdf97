"""Short forms of a source, and what is said where none can be made of what lies there."""

import os

import pytest

from probe.config import DatasetConfig, parse_config
from probe.data.sources import recognised
from probe.errors import UserError

from .test_files import write_folder
from .test_tables import PICTURES, load, numbers, png, refused, write


@pytest.fixture(autouse=True)
def _there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def pictures(path, count=3):
    path.mkdir(parents=True)
    for index in range(count):
        (path / f"{index}.png").write_bytes(png(index))


def test_text_is_the_source_of_a_data_set():
    config = parse_config({"model": {"source": "x"}, "datasets": {"cats": "folder:imgs/cats", "imagenet": None}})
    assert config.datasets["cats"].source == "folder:imgs/cats"
    assert config.datasets["imagenet"].source is None


@pytest.mark.parametrize(
    "way", ["imgs/cats", "./imgs/cats/", "~/imgs/cats", "{}/imgs/cats", "imgs", "folder:imgs/cats"]
)
def test_a_plain_folder_of_images(way, tmp_path):
    pictures(tmp_path / "imgs" / "cats")
    got = load(way.format(tmp_path))
    assert sorted(numbers(got)) == [0, 1, 2]
    assert got.source["source"].startswith("folder:")


@pytest.mark.parametrize(
    "way", ["rows/0.parquet", "rows", "~/rows/", "rows/*.parquet", "parquet:rows", "parquet:~/rows"]
)
def test_plain_parquet(way, tmp_path):
    (tmp_path / "rows" / "deep").mkdir(parents=True)
    write(tmp_path / "rows" / "0.parquet", PICTURES)
    if "0" not in way and "*" not in way:
        write(tmp_path / "rows" / "deep" / "1.parquet", [png(9)])
    got = load(way)
    assert got.source["source"].startswith("parquet:")
    assert len(got.ids) == (6 if "0" in way or "*" in way else 7)


def test_what_cannot_be_read_says_what_to_do(tmp_path):
    pictures(tmp_path / "imgs")
    write(tmp_path / "a.parquet", PICTURES)
    for folder, name in [
        ("tars", "0.tar"),
        ("videos", "a.mp4"),
        ("zips", "a.zip"),
        ("rows", "a.parquet"),
        ("none", ""),
    ]:
        (tmp_path / folder).mkdir()
        if name:
            (tmp_path / folder / name).write_bytes(b"x")
    for name in ("a.csv", "a.tar", "a.tar.gz", "a.zip", "a.npz", "one.png"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    for source, words in [
        ("a.csv", "write urls:a.csv"),
        ("folder:a.parquet", "write parquet:a.parquet"),
        ("folder:rows", "write parquet:rows"),
        ("parquet:imgs", "write folder:imgs"),
        ("a.tar.gz", "tar -xf a.tar.gz -C DIR"),
        ("folder:a.zip", "unzip a.zip -d DIR"),
        ("parquet:a.zip", "unzip a.zip -d DIR"),
        ("one.png", "give the folder it is in"),
        ("a.npz", "is a file; give a folder"),
        ("tars", "cannot be read as a tar file"),
        ("folder:tars", "write webdataset:tars"),
        ("parquet:tars", "write webdataset:tars"),
        ("webdataset:imgs", "write folder:imgs"),
        ("webdataset:rows", "write parquet:rows"),
        ("folder:a.tar", "write webdataset:a.tar"),
        ("gone-{0..3}.tar", "no file matches 'gone-0.tar'"),
        ("folder:zips", "unzip FILE.zip"),
        ("videos", "holds no image files; looked for"),
        ("none", "holds no image files; looked for"),
        ("parquet:none", "it is empty"),
        ("pipe", "not a regular file"),
        ("folder:pipe", "not a regular file"),
        ("parquet:pipe", "not a regular file"),
        ("gone", "there is no file or folder 'gone' here; check the path, or write one of hub:ID"),
        ("~/gone", "check the path"),
        ("./gone/*", "check the path"),
        ("owner/name", "hub:owner/name"),
        ("gone.parquet", "no file matches"),
        ("~nobody-here/x", "no such home folder"),
        ("parquet:~nobody-here/x", "no such home folder"),
        ("a\0b", r"there is no file or folder 'a\x00b' here"),
        ("x" * 5000, "there is no file or folder 'xxx"),
        ("xyz:place", "unknown kind of source; write one of hub:ID"),
        ("parquet:" + "x" * 5000, "no file matches"),
    ]:
        assert words in refused(source), source


def test_linked_folders_that_lead_back(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    kind, place = recognised("it", DatasetConfig(source="a"))
    assert (kind.prefix, place) == ("folder", "a")
    (tmp_path / "a" / "x.zip").write_bytes(b"x")
    with pytest.raises(UserError, match=r"holds no image files \(it holds 1 \.zip\); unpack"):
        recognised("it", DatasetConfig(source="a"))


def test_images_of_a_command_are_a_preset_a_source_or_a_path(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from probe.studies.inputs import drawn

    monkeypatch.chdir(tmp_path)
    model = SimpleNamespace(channels=3, source="it")
    for folder in ("mine", "digits"):  # a preset's name is the preset
        write_folder(tmp_path / folder, 3)
    for given, source in [
        ("mine", "folder:mine"),
        ("./digits", "folder:./digits"),
        ("folder:mine", "folder:mine"),
        ("digits", "bundled:digits"),
    ]:
        assert drawn(model, given, 2, 4).source["source"] == source
    with pytest.raises(UserError, match="is not a preset: did you mean 'digits'"):
        drawn(model, "digitz", 2, 4)
