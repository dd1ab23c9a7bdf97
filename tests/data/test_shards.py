"""Folders of save_to_disk and WebDataset shards, against ``datasets`` and tarfile."""

import io
import json
import tarfile

import datasets
import pytest

from .test_tables import PICTURES, STRUCTS, load, numbers, png, refused


def shard(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def shards(folder, count=3, each=4):
    """Shards s-000.tar, ... of pictures with their class in .cls and .json."""
    for number in range(count):
        files = {}
        for index in range(number * each, (number + 1) * each):
            files |= {f"{index:04}.png": png(index), f"{index:04}.cls": str(index % 2).encode()}
            files[f"{index:04}.json"] = json.dumps({"kind": "abc"[index % 3], "url": "x"}).encode()
        shard(folder / f"s-{number:03}.tar", files)
    return folder


@pytest.mark.parametrize("way", ["webdataset:{}/s-{{000..002}}.tar", "webdataset:{}", "{}", "{}/s-*.tar"])
def test_shards_are_what_datasets_reads(way, tmp_path):
    shards(tmp_path / "set")
    files = sorted(map(str, (tmp_path / "set").glob("*.tar")))
    theirs = datasets.load_dataset("webdataset", data_files=files, split="train", streaming=True)
    expected = {row["png"].getpixel((0, 0))[0]: row["cls"] for row in theirs}
    got = load(way.format(tmp_path / "set"))
    assert {n: int(label) for n, label in zip(numbers(got), got.labels, strict=True)} == expected
    assert got.ids[0] == f"s-{numbers(got)[0] // 4:03}.tar/{numbers(got)[0]:04}.png"
    assert (got.source["available"], got.source["shards"]) == (12, 3)


def test_some_shards_and_a_balanced_draw(tmp_path):
    shards(tmp_path)
    got = load(f"webdataset:{tmp_path}/s-{{000,002}}.tar")
    assert sorted(numbers(got)) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert load(f"webdataset:{tmp_path}", 6, balance="kind").labels == ["a", "b", "c"] * 2
    assert load(f"webdataset:{tmp_path}", 4, balance="cls").labels == ["0", "1"] * 2
    assert "no column 'sort'" in refused(f"webdataset:{tmp_path}", balance="sort")
    assert "s-003.tar'; give the path" in refused(f"webdataset:{tmp_path}/s-{{000..003}}.tar")


def test_shards_of_one_name_in_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, folder in enumerate("ab"):
        shard(tmp_path / folder / "0.tar", {"x.png": png(number)})
    assert sorted(load("webdataset:{a,b}/0.tar").ids) == ["a/0.tar/x.png", "b/0.tar/x.png"]
    assert sorted(load(f"webdataset:{{{tmp_path}/a,b}}/0.tar").ids) == ["a/0.tar/x.png", "b/0.tar/x.png"]
    assert load("a/0.tar").ids == ["0.tar/x.png"]


def test_samples_with_several_images(tmp_path):
    shard(tmp_path / "a.tar", {"x/1.left.png": png(1), "x/1.right.png": png(2), "x/2.left.png": png(3)})
    assert "set column to one of 'left.png', 'right.png'" in refused(f"webdataset:{tmp_path}")
    got = load(f"webdataset:{tmp_path}", column="left.png")
    assert sorted(numbers(got)) == [1, 3]
    assert sorted(got.ids) == ["a.tar/x/1.left.png", "a.tar/x/2.left.png"]
    assert "no column 'jpg'" in refused(f"webdataset:{tmp_path}", column="jpg")


def test_a_tar_of_a_plain_folder(tmp_path):
    files = {
        "./cats/1.png": png(1),
        "cats/2.bmp.png": png(2),
        "cats/._1.png": b"x",
        "README": b"x",
        "a/notes.txt": b"x",
    }
    shard(tmp_path / "a.tar", files)
    assert sorted(numbers(load(f"{tmp_path}/a.tar"))) == [1, 2]


def test_members_that_are_no_files(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind, name in [(tarfile.SYMTYPE, "a.png"), (tarfile.LNKTYPE, "b.png"), (tarfile.FIFOTYPE, "c.png")]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/hostname"
            tar.addfile(member)
        member = tarfile.TarInfo("../../d.png")
        member.size = len(png(5))
        tar.addfile(member, io.BytesIO(png(5)))
    got = load(f"webdataset:{tmp_path}/a.tar")
    assert numbers(got) == [5]  # nothing is unpacked, so its name leads nowhere
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_damaged_shards(tmp_path):
    shards(tmp_path, 1, 8)
    data = (tmp_path / "s-000.tar").read_bytes()
    (tmp_path / "s-000.tar").write_bytes(data[:5000])
    got = load(f"webdataset:{tmp_path}")
    assert any("is damaged" in note for note in got.notes)
    (tmp_path / "s-000.tar").write_bytes(b"no tar" * 200)
    assert "cannot be read as a tar file" in refused(f"webdataset:{tmp_path}")
    shard(tmp_path / "s-000.tar", {"a.txt": b"x"})
    assert "no shard holds image files (they hold .txt)" in refused(f"webdataset:{tmp_path}")


@pytest.mark.parametrize("order", [lambda name: name[::-1], lambda name: (name.endswith("png"), name)])
def test_members_of_a_sample_need_not_follow_each_other(order, tmp_path):
    """tar writes the files of a folder in the order in which the file system has them."""
    files = {f"{i:02}.png": png(i) for i in range(8)} | {f"{i:02}.cls": str(i % 3).encode() for i in range(8)}
    shard(tmp_path / "a.tar", {name: files[name] for name in sorted(files, key=order)})
    got = load(f"webdataset:{tmp_path}")
    assert got.labels == [str(number % 3) for number in numbers(got)]
    assert sorted(numbers(got)) == list(range(8))
    assert load(f"webdataset:{tmp_path}", 6, balance="cls").labels == ["0", "1", "2"] * 2


def test_a_name_that_occurs_twice_is_told(tmp_path):
    shard(tmp_path / "a.tar", {"x.png": png(1), "x.cls": b"old"})
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        for name, data in (("x.png", png(2)), ("x.cls", b"new")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    got = load(f"webdataset:{tmp_path}")
    assert dict(zip(numbers(got), got.labels, strict=True)) == {1: "old", 2: "new"}
    assert "1 sample has the key of another in shard 'a.tar'; all of them are taken." in got.notes


def test_names_with_further_dots(tmp_path):
    shard(tmp_path / "a.tar", {f"a/{name}": data for name, data in dotted("1.5", 1) + dotted("2.5", 2)})
    got = load(f"webdataset:{tmp_path}")
    assert dict(zip(numbers(got), got.labels, strict=True)) == {1: "k1", 2: "k2"}
    shard(tmp_path / "a.tar", {f"cat.{i}.png": png(i) for i in range(3)})
    assert "sample 'a.tar/cat' has several images (a key ends at the first dot: rename" in refused(str(tmp_path))


def dotted(key, number):
    return [(f"{key}.png", png(number)), (f"{key}.cls", f"k{number}".encode())]


def test_a_class_needs_no_readable_json(tmp_path):
    files = {"a.png": png(1), "a.json": b"{", "a.cls": b"k", "b.png": png(2), "b.json": b'{"label": NaN}'}
    got = load(str(shard(tmp_path / "a.tar", files)))
    assert dict(zip(numbers(got), got.labels, strict=True)) == {1: "k", 2: None}


def test_samples_without_the_column_are_counted(tmp_path):
    shard(tmp_path / "a.tar", {"a.jpg": png(1), "a.png": png(2), "b.png": png(3), "c.png": png(4), "d.txt": b""})
    got = load(f"webdataset:{tmp_path}")  # jpg is the more usual name
    assert numbers(got) == [1]
    assert "2 samples have images, but none named 'jpg', and are left out." in got.notes


@pytest.mark.parametrize("damage", ["header", "end", "half", "cat"])
def test_no_damage_ends_a_shard_unnoticed(damage, tmp_path):
    """tarfile takes any header that it cannot read for the end of the archive."""
    path = shard(tmp_path / "a.tar", {f"{i:02}.png": png(i) for i in range(9)})
    with tarfile.open(path) as tar:
        fifth = tar.getmembers()[5].offset
    data = path.read_bytes()
    broken = {
        "header": data[:fifth] + bytes([77]) * 100 + data[fifth + 100 :],
        "end": data[:fifth],
        "half": data[: fifth + 300],
        "cat": data + data,
    }
    assert not [note for note in load(str(path)).notes if "damaged" in note]
    path.write_bytes(broken[damage])
    got = load(str(path))
    assert sorted(numbers(got)) == list(range(9 if damage == "cat" else 5))
    assert len([note for note in got.notes if "is damaged" in note and note.endswith("write it again.")]) == 1


def test_folders_that_lead_round_in_circles_and_upper_case(tmp_path):
    shard(tmp_path / "in" / "A.TAR", {"a.png": png(1)})
    shard(tmp_path / "b.tar", {"b.png": png(2)})
    for name in "xyz":
        (tmp_path / "in" / name).symlink_to(tmp_path)
    (tmp_path / "c.tar").symlink_to(tmp_path / "b.tar")
    for source in (f"webdataset:{tmp_path}", str(tmp_path)):
        got = load(source)
        assert sorted(got.ids) == ["b.tar/b.png", "in/A.TAR/a.png"]
        assert (got.source["available"], got.repeated) == (2, 0)


def saved(folder, splits):
    parts, first = {}, 0
    for name, count in splits.items():
        rows = [{"bytes": png(first + i), "path": None} for i in range(count)]
        features = datasets.Features({"image": datasets.Image(decode=False), "label": datasets.Value("string")})
        cells = {"image": rows, "label": [f"{name} {i % 2}" for i in range(count)]}
        parts[name] = datasets.Dataset.from_dict(cells, features=features)
        first += count
    datasets.DatasetDict(parts).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("way", ["saved:{}", "{}"])
def test_splits_that_were_saved(way, tmp_path, caplog):
    source = way.format(saved(tmp_path / "set", {"train": 6, "test": 4}))
    caplog.set_level("INFO", logger="probe")
    assert sorted(numbers(load(source, split="train"))) == list(range(6))
    assert not [one for one in caplog.messages if "split" in one]
    assert sorted(numbers(load(source))) == [6, 7, 8, 9]  # test is the default
    (said,) = [one for one in caplog.messages if "split" in one]
    assert said.endswith("split test is taken, the default; there is also train")
    got = load(source, split="train+test")
    assert numbers(got) == [int(i) for i in got.ids]
    assert got.source["split"] == "train+test"
    assert load(source, split=["train", "test"]).sha256 == got.sha256
    assert "has no split 'valid'" in refused(source, split=["train", "valid"])
    assert sorted(got.ids) == list("0123456789")
    assert sorted(load(source, 4, split="train+test", balance="label").labels) == [
        "test 0",
        "test 1",
        "train 0",
        "train 1",
    ]
    assert "has no split 'valid'; set split to one of train, test" in refused(source, split="train+valid")


def test_splits_of_other_columns_and_where_a_set_lies(tmp_path):
    for name, kind in (("train", datasets.Value("string")), ("test", datasets.ClassLabel(names=["a", "b"]))):
        features = datasets.Features({"image": datasets.Image(decode=False), "label": kind})
        cells = {"image": STRUCTS[:2], "label": ["a", "b"]}
        datasets.Dataset.from_dict(cells, features=features).save_to_disk(tmp_path / "set" / name)
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert "splits train, test differ in the type of a column; take one" in refused(
        f"saved:{tmp_path}/set", split=["train", "test"]
    )
    for place in (tmp_path, tmp_path / "set" / "train" / "data-00000-of-00001.arrow"):
        assert f"write saved:{tmp_path}/set" in refused(place)


@pytest.mark.parametrize("kind", ["saved", "parquet"])
def test_a_column_of_images_is_not_its_own_class(kind, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(png(3))
    table = datasets.Dataset.from_dict({"label": ["a.png"], "class": ["x"]})
    table.save_to_disk(tmp_path / "set") if kind == "saved" else table.to_parquet(tmp_path / "set" / "0.parquet")
    got = load(f"{kind}:{tmp_path}/set", column="label")
    assert (numbers(got), got.labels) == ([3], ["x"])
    assert "'label' holds images" in refused(f"{kind}:{tmp_path}/set", column="label", balance="label")


def test_a_saved_table_and_what_is_none(tmp_path):
    table = datasets.Dataset.from_dict({"image": STRUCTS}).shuffle(seed=1).select(range(4))  # with indices
    table.save_to_disk(tmp_path / "set", num_shards=2)
    expected = [PICTURES.index(row["bytes"]) for row in table["image"]]
    got = load(f"saved:{tmp_path}/set")
    assert numbers(got) == [expected[int(i)] for i in got.ids]
    assert "has no splits; remove split" in refused(f"saved:{tmp_path}/set", split="train")
    assert "write saved:" in refused(f"folder:{tmp_path}/set")
    assert "write saved:" in refused(f"parquet:{tmp_path}/set")
    assert "no set that save_to_disk wrote" in refused(f"saved:{tmp_path}")


def test_a_saved_set_from_somebody_else(tmp_path):
    datasets.Dataset.from_dict({"image": STRUCTS}).save_to_disk(tmp_path / "a")
    datasets.Dataset.from_dict({"image": [{"bytes": None, "path": "/etc/hostname"}]}).save_to_disk(tmp_path / "b")
    state = json.loads((tmp_path / "b" / "state.json").read_text())
    assert "leads out of the table's folder" in refused(f"saved:{tmp_path}/b")
    state["_data_files"][0]["filename"] = "../a/data-00000-of-00001.arrow"
    (tmp_path / "b" / "state.json").write_text(json.dumps(state))
    assert "not the name of a file in it" in refused(f"saved:{tmp_path}/b")
    (tmp_path / "b" / "state.json").write_text("{")
    assert "cannot be read" in refused(f"saved:{tmp_path}/b")
    (tmp_path / "b" / "dataset_dict.json").write_text('{"splits": ["../a", ".."]}')
    for elsewhere in ("../a", ".."):
        assert "has no split" in refused(f"saved:{tmp_path}/b", split=elsewhere)
