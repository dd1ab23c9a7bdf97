"""Folders and parquet files, and with them what all sources share: order, replacement, refusal."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from probe.config import DatasetConfig
from probe.data.load import load_images
from probe.errors import UserError


def png(index: int) -> bytes:
    """A 4x4 picture of one colour that tells its number."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (index, 255 - index, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(root: Path, count: int, broken: tuple[int, ...] = ()) -> str:
    for index in range(count):
        path = root / f"class {index % 2}" / f"{index:03}.PNG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no picture" if index in broken else png(index))
    (root / "notes.txt").write_text("not an image")
    return f"folder:{root}"


def write_parquet(
    path: Path, count: int, broken: tuple[int, ...] = (), columns: tuple[str, ...] = ("image",), first: int = 0
) -> str:
    import datasets

    rows = [{"bytes": b"no picture" if i in broken else png(first + i), "path": None} for i in range(count)]
    features = {name: datasets.Image(decode=False) for name in columns} | {"label": datasets.Value("int64")}
    data = dict.fromkeys(columns, rows) | {"label": list(range(count))}
    datasets.Dataset.from_dict(data, features=datasets.Features(features)).to_parquet(path)
    return f"parquet:{path}"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(params=["folder", "parquet"])
def source(request, tmp_path):
    """20 pictures, of which 3 and 11 are broken."""
    if request.param == "folder":
        return write_folder(tmp_path / "a folder [x]", 20, broken=(3, 11))
    return write_parquet(tmp_path / "a file [x].parquet", 20, broken=(3, 11))


def load(source: str, n: int, holdout: int, seed: int = 0, **more):
    spec = DatasetConfig(source=source, n=n, holdout=holdout, seed=seed, **more)
    return load_images("mine", spec, resolution=4)


def numbers(images: torch.Tensor) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def number(identity: str) -> int:
    return int(Path(identity).stem)


def test_ids_belong_to_their_images(source):
    got = load(source, 8, 4)
    assert got.images.shape == (8, 3, 4, 4)
    assert got.images.dtype == torch.uint8
    assert numbers(got.images) == [number(i) for i in got.ids]
    assert got.source["available"] == 20


def test_same_seed_same_sample_and_another_seed_another(source):
    one, two, other = load(source, 8, 4), load(source, 8, 4), load(source, 8, 4, seed=1)
    assert one.ids == two.ids
    assert one.sha256 == two.sha256
    assert other.ids != one.ids
    assert other.sha256 != one.sha256


def test_holdout_is_disjoint_and_leaves_the_test_images_alone(source):
    bare, full = load(source, 6, 0), load(source, 6, 12)
    assert bare.ids == full.ids
    assert torch.equal(bare.images, full.images)
    assert bare.heldout.shape == (0, 3, 4, 4)
    assert sorted(numbers(full.images) + numbers(full.heldout)) == [i for i in range(20) if i not in (3, 11)]


def test_fewer_test_images_are_the_first_of_more(source):
    assert load(source, 4, 0).ids == load(source, 9, 0).ids[:4]


def test_unreadable_images_are_counted_and_replaced(source):
    got = load(source, 18, 0)
    assert len(got.images) == got.n_planned == 18
    got = load(source, 19, 5)
    assert (len(got.images), len(got.heldout), got.n_planned) == (14, 4, 19)
    assert sorted(number(i) for i in got.unreadable) == [3, 11]


def test_a_small_source_serves_the_test_images_first(source):
    """A quarter is held out at least, and the source's order stays."""
    got, whole = load(source, 15, 15), load(source, 18, 0)
    assert (len(got.images), len(got.heldout)) == (14, 4)
    assert torch.equal(torch.cat([got.images, got.heldout]), whole.images)
    assert got.notes == ["4 of 18 images were held out, which leaves 14 of the 15 asked for."]
    got = load(source, 12, 15)
    assert (len(got.images), len(got.heldout), got.notes) == (12, 6, [])
    got = load(source, 100, 2)
    assert (len(got.images), len(got.heldout)) == (16, 2)


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_nothing_left(kind, tmp_path):
    write = write_folder if kind == "folder" else write_parquet
    source = write(tmp_path / "bad.parquet", 3, broken=(0, 1, 2))
    reason = "the reason for 3 of them: it is damaged or not an image of a known format"
    with pytest.raises(
        UserError, match=rf"'mine'.*none of the 3 images tried could be read, for example '.*'; {reason}"
    ):
        load(source, 2, 2)


def test_relative_paths_and_wildcards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_parquet(Path("part-0.parquet"), 3)
    write_parquet(Path("part-1.parquet"), 4, first=3)
    got = load("parquet:part-*.parquet", 100, 0)
    assert sorted(got.ids) == [str(i) for i in range(7)]
    assert got.source["column"] == "image"
    write_folder(Path("pictures"), 2)
    assert sorted(load("folder:pictures", 9, 0).ids) == ["class 0/000.PNG", "class 1/001.PNG"]


def test_the_column_is_found_or_asked_for(tmp_path):
    assert load(write_parquet(tmp_path / "1.parquet", 2, columns=("pic",)), 1, 0).source["column"] == "pic"
    two = write_parquet(tmp_path / "2.parquet", 2, columns=("left", "right"))
    with pytest.raises(UserError, match=r"'left', 'right'\."):
        load(two, 1, 0)
    assert load(two, 1, 0, column="right").source["column"] == "right"
    with pytest.raises(UserError, match="did you mean 'right'"):
        load(two, 1, 0, column="rihgt")
    with pytest.raises(UserError, match="holds int64, not images"):
        load(two, 1, 0, column="label")
    usual = write_parquet(tmp_path / "3.parquet", 2, columns=("other", "img"))
    assert load(usual, 1, 0).source["column"] == "img"


def test_plain_bytes_files_by_path_and_empty_cells(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"JPG": [png(1), None, png(2)]}), tmp_path / "bytes.parquet")
    got = load(f"parquet:{tmp_path}/bytes.parquet", 3, 0)
    assert sorted(numbers(got.images)) == [1, 2]
    assert got.unreadable == ["1"]

    (tmp_path / "5.png").write_bytes(png(5))
    cells = [{"bytes": None, "path": str(tmp_path / name)} for name in ("5.png", "gone.png")]
    parquet.write_table(pa.table({"image": cells}), tmp_path / "paths.parquet")
    got = load(f"parquet:{tmp_path}/paths.parquet", 2, 0)
    assert numbers(got.images) == [5]
    assert got.unreadable == ["1"]


def test_bad_places(tmp_path):
    (tmp_path / "text.parquet").write_text("no parquet")
    (tmp_path / "empty").mkdir()
    for source, message in [
        (f"parquet:{tmp_path}/none-*.parquet", "no file matches"),
        (f"parquet:{tmp_path}/text.parquet", "cannot be read as parquet"),
        (f"folder:{tmp_path}/gone", "there is no folder"),
        (f"folder:{tmp_path}/empty", "holds no image files"),
        ("ILSVRC/imagenet-1k", "unknown kind of source; write one of hub:ID, parquet:PATH"),
        ("folder:", "unknown kind of source"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            load(source, 1, 0)
        assert "\n" not in str(caught.value)


def test_fields_that_mean_nothing_are_refused(tmp_path):
    with pytest.raises(UserError, match="a folder:PATH source has no revision"):
        load(write_folder(tmp_path, 1), 1, 0, revision="main")


def write_pictures(root: Path, *numbers: int) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for index in numbers:
        (root / f"{index:03}.png").write_bytes(png(index))
    return root


@pytest.mark.parametrize("write", [write_folder, write_parquet])
def test_each_picture_is_taken_once(write, tmp_path, monkeypatch):
    """Of 24 files with 2 pictures, 2 are taken, and none of them is both tested and held out."""
    alike = png
    monkeypatch.setitem(globals(), "png", lambda index: alike(index % 2))
    got = load(write(tmp_path / "many.parquet", 24), 12, 12)
    assert (len(got.ids), len(got.heldout), got.repeated) == (2, 0, 22)
    assert got.notes == ["22 images were left out because they repeat others of this set pixel by pixel."]


def test_repeats_are_those_of_the_pixels(tmp_path):
    """One picture in two formats and with metadata is one; what is prepared is the pictures taken, in their order."""
    write_pictures(tmp_path, 1, 2, 3)
    for index in (1, 2):
        with Image.open(tmp_path / f"{index:03}.png") as image:
            image.save(tmp_path / f"again-{index}.bmp")
            exif = Image.Exif()
            exif[0x010E] = "the same"
            image.save(tmp_path / f"noted-{index}.png", exif=exif)
    (tmp_path / "cut.png").write_bytes(png(9)[:50])
    prepared = []

    def prepare(data):
        prepared.append(data)
        return data

    spec = DatasetConfig(source=f"folder:{tmp_path}", n=9, holdout=0)
    got = load_images("mine", spec, resolution=4, prepare=prepare)
    assert sorted(numbers(got.images)) == [1, 2, 3]
    assert (got.repeated, got.unreadable) == (4, ["cut.png"])
    assert prepared == [(tmp_path / name).read_bytes() for name in got.ids]


def test_hidden_and_system_entries_are_skipped(tmp_path):
    write_pictures(tmp_path / "a", 1, 2)
    hidden = (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git/b", "a/.thumbs")
    for index, name in enumerate(hidden):
        write_pictures(tmp_path / name, 10 + index)
    (tmp_path / "a" / "._001.png").write_bytes(png(20))
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "a" / "b.HEIC").write_bytes(b"")
    (tmp_path / "a" / "README").write_bytes(b"")
    got = load(f"folder:{tmp_path}", 9, 0)
    assert sorted(got.ids) == ["a/001.png", "a/002.png"]
    assert set(got.labels) == {"a"}
    assert got.source["skipped"] == {"hidden": 7, ".heic": 1, "without suffix": 1}


def test_linked_folders_are_entered_once(tmp_path):
    there = write_pictures(tmp_path / "there" / "b", 1, 2)
    root = write_pictures(tmp_path / "root" / "c", 3).parent
    (root / "b").symlink_to(there)
    (root / "a").symlink_to(root / "c")  # real folders come first: its files keep the names under c
    (root / "c" / "up").symlink_to(root)
    (root / "c" / "far").symlink_to("/")
    (there / "round").symlink_to(there)
    (root / "gone").symlink_to(root / "nowhere")
    (root / "x.png").symlink_to(there / "001.png")
    got = load(f"folder:{root}", 9, 0)
    assert sorted(got.ids) == ["b/001.png", "b/002.png", "c/003.png"]
    assert got.source["skipped"] == {"linked twice": 5, "broken link": 1}


def test_what_is_no_file_and_closed_folders(tmp_path, monkeypatch):
    write_pictures(tmp_path / "open", 1)
    write_pictures(tmp_path / "closed", 2)
    os.mkfifo(tmp_path / "pipe.png")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr("os.scandir", refuse)
    got = load(f"folder:{tmp_path}", 9, 0)
    assert got.ids == ["open/001.png"]
    assert got.source["skipped"] == {"no file": 1}
    assert got.notes == ["folder 'closed' could not be read; its images are missing."]


@pytest.mark.parametrize("place", ["~nobody-here/x", "a\0b", "x" * 300])
def test_impossible_folders(place):
    with pytest.raises(UserError):
        load(f"folder:{place}", 1, 0)


def test_the_commonest_reason_is_told(tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(png(index)[: 46 + index])
    (tmp_path / "3.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"none of the 4 images tried .* the reason for 3 of them: ") as caught:
        load(f"folder:{tmp_path}", 2, 2)
    assert "0x" not in str(caught.value)


def test_dark_sets_are_noted(tmp_path):
    for index in range(2):
        image = Image.fromarray(np.full((4, 4), 4095 - index, dtype=np.uint16))
        image.save(tmp_path / f"{index}.png")
        Image.fromarray(np.full((4, 4), 9 + index, dtype=np.uint8)).save(tmp_path / f"{index}-8.png")
    notes = load(f"folder:{tmp_path}", 9, 0).notes
    assert notes[-2].startswith("1 16-bit picture uses fewer than 12 bits")  # the two are one in 8 bits
    assert notes[-1].startswith("the brightest value of all images is 16 of 255")
