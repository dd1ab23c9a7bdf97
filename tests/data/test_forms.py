"""Folders with metadata, files of further formats, and balanced draws, against Pillow and ``datasets``."""

import json
from collections import Counter

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from probe.data.balance import Balance
from probe.data.formats import suffixes
from probe.data.patterns import expanded
from probe.data.source import Candidate

from .test_tables import load, numbers, png, refused


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def classes(root, **count):
    """A folder with so many pictures in each subfolder; all pictures differ."""
    first = 0
    for name, many in count.items():
        (root / name).mkdir(parents=True)
        for index in range(many):
            (root / name / f"{index:02}.png").write_bytes(png(first + index))
        first += many
    return root


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".avif", ".pgm", ".jp2", ".tga", ".JPG", ".ppm", ".webp"])
def test_files_of_every_suffix_are_what_pillow_reads(suffix, tmp_path):
    image = Image.fromarray(np.arange(16 * 16, dtype=np.uint8).reshape(16, 16), "L")
    image = image if suffix == ".pgm" else image.convert("RGB")
    image.save(tmp_path / f"a{suffix}")
    got = load_at(tmp_path, 16)
    with Image.open(tmp_path / f"a{suffix}") as read:
        assert np.array_equal(got.images[0].permute(1, 2, 0), np.asarray(read.convert("RGB")))


def notes(got):
    """Without that on the pictures of these tests, which are dark."""
    return [note for note in got.notes if "brightest" not in note]


def load_at(folder, resolution):
    from probe.config import DatasetConfig
    from probe.data.load import load_images

    return load_images("mine", DatasetConfig(source=f"folder:{folder}", n=1, holdout=0), resolution=resolution)


def test_a_tga_file_that_is_none(tmp_path):
    (tmp_path / "a.tga").write_bytes(b"no picture at all")
    (tmp_path / "b.png").write_bytes(png(3))
    got = load(f"folder:{tmp_path}")
    assert (numbers(got), got.unreadable) == ([3], ["a.tga"])


def test_bytes_that_only_tga_would_take_are_no_image(tmp_path):
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "a.tga")
    (tmp_path / "a.tga").rename(tmp_path / "a.png")
    assert "not an image of a known format" in refused(f"folder:{tmp_path}")


@pytest.mark.skipif(".heic" in suffixes(), reason="pillow-heif is installed")
def test_heic_says_what_to_install(tmp_path, caplog):
    (tmp_path / "a.HEIC").write_bytes(b"")
    caplog.set_level("INFO", logger="probe")
    assert "and skipped 1 .heic; install pillow-heif to read" in refused(f"folder:{tmp_path}")
    (tmp_path / "b.png").write_bytes(png(3))
    (note,) = [one for one in load(f"folder:{tmp_path}").notes if "heif" in one]
    assert note.startswith("1 file was left out; install pillow-heif")
    assert not any("skipped" in line for line in caplog.messages)  # counted once


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_metadata_as_imagefolder_reads_it(kind, tmp_path):
    root = classes(tmp_path / "set", train=4, other=2)
    rows = [{"file_name": f"{i:02}.png", "label": "ab"[i % 2], "site": f"s{i // 2}"} for i in range(4)]
    oracle = root / "train" / f"metadata.{kind.replace('csv', 'jsonl')}"  # datasets leaves a .csv open
    write_metadata(oracle, rows)
    theirs = datasets.load_dataset("imagefolder", data_dir=str(root / "train"), split="train")
    expected = {row["image"].getpixel((0, 0))[0]: row["label"] for row in theirs}
    oracle.unlink()
    write_metadata(root / "train" / f"metadata.{kind}", rows)
    got = load(f"folder:{root}/train")
    assert dict(zip(numbers(got), got.labels, strict=True)) == expected
    got = load(f"folder:{root}", balance="site", n=2)
    assert sorted(got.labels) == ["s0", "s1"]  # those of other/ are in no row, so they have no class


def write_metadata(path, rows):
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]))


def test_metadata_that_names_what_is_not_there(tmp_path):
    root = classes(tmp_path, a=2)
    write_metadata(
        root / "metadata.csv", [{"file_name": "a/00.png", "label": "x"}, {"file_name": "b.png", "label": ""}]
    )
    got = load(f"folder:{root}")
    assert notes(got) == ["'metadata.csv' names 'b.png', and no such image is in the folder."]
    assert dict(zip(got.ids, got.labels, strict=True)) == {"a/00.png": "x", "a/01.png": None}


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "\x00\n", '"', "file_name\n../../x\n"])
def test_metadata_that_is_no_use(text, tmp_path):
    root = classes(tmp_path / "a", x=2)
    plain = load(f"folder:{root}")
    (root / "metadata.csv").write_text(text)
    got = load(f"folder:{root}")
    assert (got.sha256, got.labels) == (plain.sha256, plain.labels)
    assert len(notes(got)) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.jsonl", '{"file_name": "x/00.png", "label": "left"}\n{"label": "right"}\n'),
        ("metadata.csv", "file_name,label\nx/00.png,left\nx/01.png,right,more\n"),
    ],
)
def test_metadata_are_used_whole_or_not_at_all(name, text, tmp_path):
    root = classes(tmp_path, x=2)
    (root / name).write_text(text)
    got = load(f"folder:{root}")
    assert got.labels == ["x", "x"]
    assert len([note for note in notes(got) if f"{name!r} is not used" in note]) == 1


def test_separators_in_metadata_end_no_line(tmp_path):
    root = classes(tmp_path, x=1)
    row = {"file_name": "x/00.png", "caption": "one\u2028two\u0085three", "label": "left"}
    (root / "metadata.jsonl").write_text(json.dumps(row, ensure_ascii=False), "utf-8")
    assert load(f"folder:{root}").labels == ["left"]


def test_metadata_does_not_change_the_draw(tmp_path):
    root = classes(tmp_path, a=5, b=5)
    before = load(f"folder:{root}", 4, 3)
    write_metadata(root / "metadata.csv", [{"file_name": "b/01.png", "kind": "x"}])
    after = load(f"folder:{root}", 4, 3)
    assert (after.sha256, after.labels) == (before.sha256, before.labels)


def test_a_balanced_draw_takes_the_same_of_each_class(tmp_path):
    root = classes(tmp_path, a=40, b=10, c=10)
    got = load(f"folder:{root}", 15, 6, balance="label")
    assert Counter(got.labels) == {"a": 5, "b": 5, "c": 5}
    assert Counter(
        "a" if n < 40 else "b" if n < 50 else "c" for n in got.heldout[:, 0, 0, 0].tolist()
    ) == dict.fromkeys("abc", 2)
    assert got.source["balance"] == "label"
    assert notes(got) == []
    assert load(f"folder:{root}", 6, balance="label").ids == got.ids[:6]
    assert load(f"folder:{root}", 15, balance="label", seed=1).ids != got.ids
    assert "balance" not in load(f"folder:{root}", 3).source


def test_within_a_class_the_seeded_order_stays(tmp_path):
    root = classes(tmp_path, a=20, b=20)
    whole, balanced = load(f"folder:{root}"), load(f"folder:{root}", balance="label")
    for label in "ab":
        of = [[i for i, one in zip(got.ids, got.labels, strict=True) if one == label] for got in (whole, balanced)]
        assert of[0] == of[1]


def test_damaged_and_repeated_images_cost_a_class_nothing(tmp_path):
    root = classes(tmp_path, a=12, b=12)
    for index in range(5):
        (root / "a" / f"{index:02}.png").write_bytes(b"no picture" if index % 2 else png(23))
    got = load(f"folder:{root}", 14, balance="label")
    assert Counter(got.labels) == {"a": 7, "b": 7}


def test_classes_with_too_few_images_are_told(tmp_path):
    root = classes(tmp_path, a=9, b=2, c=9)
    got = load(f"folder:{root}", 12, balance="label")
    assert Counter(got.labels) == {"a": 5, "b": 2, "c": 5}
    assert notes(got) == [
        "the classes are not balanced: of the 12 images drawn (12 and 0 held out), "
        "only 2 of 'b' could be found, and up to 5 of others."
    ]
    assert notes(load(f"folder:{root}", 7, balance="label")) == []


def test_a_class_without_images_leaves_its_share_to_the_others(tmp_path):
    root = classes(tmp_path, a=30, b=30)
    for one in (root / "a").iterdir():
        one.write_bytes(b"no picture")
    got = load(f"folder:{root}", 10, 10, balance="label")
    assert Counter(got.labels) == {"b": 10}
    assert len(got.heldout) == 10


@pytest.mark.parametrize("absent", ["first", "last"])
def test_a_declared_class_that_a_stream_lacks_leaves_its_share_to_the_others(absent, monkeypatch):
    """A search for it reads the stream to its end; what it passes is not lost."""
    stream = [Candidate(str(i), lambda: b"", "ab"[i % 2]) for i in range(60)]
    known = ["c", "a", "b"] if absent == "first" else ["a", "b", "c"]
    draw = Balance(iter(stream), dict.fromkeys(known), most=8)
    taken = []
    for candidate in draw:
        taken.append(candidate.id)
        draw.taken[candidate.label] += 1
    assert sorted(taken, key=int) == [str(i) for i in range(60)]
    assert [int(i) % 2 for i in taken[:40]] == [0, 1] * 20
    monkeypatch.setattr("probe.data.balance.SPARE", 10)  # memory has a limit
    assert len(list(Balance(iter(stream), dict.fromkeys(known), most=8))) < 60


def test_more_classes_than_images_are_told(tmp_path):
    root = classes(tmp_path, a=3, b=3, c=3)
    few = "3 classes are more than 2 test images, so some classes have none among these; set n to 3 or more"
    assert any(note.startswith(few) for note in load(f"folder:{root}", 2, 2, balance="label").notes)
    assert notes(load(f"folder:{root}", 3, 2, balance="label")) == []


def test_folders_that_are_splits_are_told(tmp_path):
    root = classes(tmp_path / "set", train=2, Val=2)
    (note,) = notes(load(f"folder:{root}"))
    assert note == f"images of its folders 'Val' and 'train' are drawn together; give '{root}/Val' for one of them."
    assert notes(load(f"folder:{root}/train")) == []
    (root / "other").mkdir()
    (root / "other" / "a.png").write_bytes(png(99))
    assert notes(load(f"folder:{root}")) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("file_name,label\na/00.png,x\n".encode("utf-16"), "it is no text in UTF-8; save it as UTF-8."),
        (b"file_name,label\na/00.png,\xe9\n", "it is no text in UTF-8; save it as UTF-8."),
        (b"file_name;label\na/00.png;x\n", "it has no column file_name, only 'file_name;label'; give it"),
        (b"", "it has no column file_name, only nothing; give it"),
    ],
)
def test_metadata_of_other_programs_say_what_is_wrong(data, words, tmp_path):
    root = classes(tmp_path, a=1)
    (root / "metadata.csv").write_bytes(data)
    got = load(f"folder:{root}")
    assert len([note for note in notes(got) if f"'metadata.csv' is not used: {words}" in note]) == 1
    assert got.labels == ["a"]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_metadata_of_every_system_are_read(start, end, tmp_path):
    root = classes(tmp_path, a=2)
    (root / "metadata.csv").write_bytes(
        start + end.join([b"file_name,label", b"a/00.png,x", b"./a/../a/01.png,y", b""])
    )
    assert sorted(load(f"folder:{root}").labels) == ["x", "y"]


def test_empty_cells_are_no_class(tmp_path):
    root = classes(tmp_path, a=4)
    (root / "metadata.csv").write_text("file_name, kind\na/00.png, x\na/01.png,\na/02.png\na/03.png, y\n")
    got = load(f"folder:{root}", balance="kind")
    assert dict(zip(got.ids, got.labels, strict=True)) == {"a/00.png": "x", "a/03.png": "y"}


def test_several_rows_for_one_picture_are_told(tmp_path):
    root = classes(tmp_path, a=2)
    rows = [{"file_name": f"a/{i:02}.png", "label": label} for i, label in ((0, "x"), (1, "y"), (0, "z"))]
    write_metadata(root / "metadata.csv", rows)
    got = load(f"folder:{root}")
    assert sorted(got.labels) == ["y", "z"]
    assert notes(got) == ["'metadata.csv' has several rows for 'a/00.png'; the last one is used."]


@pytest.mark.parametrize("other", ["parquet", "webdataset"])
def test_a_picture_beside_tables_does_not_hide_them_unnoticed(other, tmp_path, caplog):
    root = classes(tmp_path / "set", a=2)
    write_metadata(root / "metadata.parquet", [{"file_name": "a/00.png", "label": "x"}])
    caplog.set_level("WARNING", logger="probe")
    assert len(load(root).ids) == 2
    assert not [one for one in caplog.messages if "are not" in one]
    (root / "data").mkdir()
    (root / "data" / f"0.{'tar' if other == 'webdataset' else other}").write_bytes(b"")
    load(root)
    assert len([one for one in caplog.messages if f"are not; write {other}:{root}" in one]) == 1
    load(f"folder:{root}")
    assert len([one for one in caplog.messages if "are not; write" in one]) == 1  # it was asked for


def test_a_balance_that_cannot_be(tmp_path):
    root = classes(tmp_path, a=3)
    assert "no column 'kind'" in refused(f"folder:{root}", balance="kind")
    assert "no image has a class to balance" in refused(f"folder:{root}/a", balance="label")
    assert "has no balance" in refused("urls:owner/name", balance="label")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("s-{008..011}.tar", ["s-008.tar", "s-009.tar", "s-010.tar", "s-011.tar"]),
        ("{a,b}-{1..2}", ["a-1", "a-2", "b-1", "b-2"]),
        ("{3..1}", ["3", "2", "1"]),
        ("{a,{1..2}}x", ["ax", "1x", "2x"]),
        ("{a}{}", ["{a}{}"]),
        ("x{,y}", ["x", "xy"]),
    ],
)
def test_braces(pattern, names):
    assert expanded(pattern) == names


@pytest.mark.parametrize("pattern", ["{0..9999999}", "{0..999}{0..999}"])
def test_braces_that_stand_for_too_much(pattern):
    with pytest.raises(ValueError, match="more than 100,000 names"):
        expanded(pattern)
