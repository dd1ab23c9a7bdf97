"""Local parquet: what is read of it, what its cells may lead to, and what it cannot be."""

import io
import json
import os

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from probe.config import DatasetConfig
from probe.data import hub
from probe.data import parquet as tables
from probe.data import source as limits
from probe.data.load import load_images
from probe.data.source import UnreadableImage
from probe.errors import UserError


def png(index: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (index % 256, index // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, images, labels=None, **how):
    columns = {"image": images} if labels is None else {"image": images, "label": labels}
    parquet.write_table(pa.table(columns), path, **how)
    return f"parquet:{path}"


def load(source, n=100, holdout=0, **more):
    return load_images("mine", DatasetConfig(source=str(source), n=n, holdout=holdout, **more), resolution=4)


def numbers(got):
    return [low + 256 * high for low, high in got.images[:, :2, 0, 0].tolist()]


def refused(source, **more):
    with pytest.raises(UserError) as caught:
        load(source, **more)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 500
    return str(caught.value)


PICTURES = [png(i) for i in range(6)]
STRUCTS = [{"bytes": one, "path": None} for one in PICTURES]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(PICTURES, pa.binary()),
        pa.array(PICTURES, pa.large_binary()),
        pa.array(PICTURES, pa.binary_view()),
        pa.array(PICTURES).dictionary_encode(),
        pa.array(STRUCTS),
        pa.StructArray.from_arrays([pa.array(PICTURES).dictionary_encode()], ["bytes"]),
    ],
    ids=["binary", "large_binary", "view", "dictionary", "struct", "struct of dictionary"],
)
def test_all_ways_to_hold_bytes(column, tmp_path):
    got = load(write(tmp_path / "a.parquet", column, list("abcdef"), row_group_size=2))
    assert numbers(got) == [int(i) for i in got.ids]
    assert sorted(got.ids) == list("012345")
    assert got.labels == ["abcdef"[int(i)] for i in got.ids]


def test_only_the_row_groups_of_the_rows_drawn_are_read(tmp_path, monkeypatch):
    source = write(tmp_path / "a.parquet", [png(i) for i in range(1000)], row_group_size=5)
    read = []
    real = parquet.ParquetFile.iter_batches
    monkeypatch.setattr(
        parquet.ParquetFile, "iter_batches", lambda *a, **k: read.extend(k["row_groups"]) or real(*a, **k)
    )
    monkeypatch.setattr(tables, "WINDOW", range(4, 100))
    got = load(source, 4)
    assert numbers(got) == [int(i) for i in got.ids]
    assert set(read) == {int(i) // 5 for i in got.ids}


def test_windows_and_their_memory_do_not_change_the_draw(tmp_path, monkeypatch):
    source = write(tmp_path / "a.parquet", [png(i) for i in range(300)], row_group_size=7)
    whole = load(source, 200, 50)
    assert whole.ids == [str(i) for i in np.random.default_rng(0).permutation(300)[:200]]
    monkeypatch.setattr(tables, "WINDOW", range(8, 9))
    assert load(source, 200, 50).sha256 == whole.sha256
    monkeypatch.setattr(tables, "WINDOW_BYTES", 300)
    assert load(source, 200, 50).sha256 == whole.sha256


def test_a_replaced_file_of_the_same_time_gives_the_new_pictures(tmp_path):
    path = tmp_path / "a.parquet"
    source = write(path, [png(1)] * 3)
    before, old = path.stat(), load(source, 1)
    write(path, [png(2)] * 3)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    new = load(source, 1)
    assert (numbers(old), numbers(new)) == ([1], [2])
    assert new.sha256 != old.sha256


def test_class_names_and_numbers_that_have_none(tmp_path):
    noted = {"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}}
    table = pa.table({"image": STRUCTS, "label": [1, 0, -1, None, 2, 10**12]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(noted)})
    parquet.write_table(table, tmp_path / "a.parquet")
    got = load(f"parquet:{tmp_path}/a.parquet")
    assert {int(i): label for i, label in zip(got.ids, got.labels, strict=True) if label} == {0: "b", 1: "a"}


def test_class_names_as_datasets_writes_them(tmp_path):
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["x", "y"])}
    )
    table = datasets.Dataset.from_dict({"image": STRUCTS, "label": [0, 1] * 3}, features=features)
    table.to_parquet(tmp_path / "a.parquet")
    got = load(f"parquet:{tmp_path}/a.parquet")
    assert got.labels == ["xy"[int(i) % 2] for i in got.ids]


@pytest.mark.parametrize("metadata", [b"junk", b"[]", b'{"info": {"features": {"label": {"names": 3}}}}', b"\xff"])
def test_metadata_that_says_nothing(metadata, tmp_path):
    table = pa.table({"image": PICTURES, "label": [3] * 6}).replace_schema_metadata({b"huggingface": metadata})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert load(f"parquet:{tmp_path}/a.parquet").labels == ["3"] * 6


def test_a_segmentation_mask_named_label_is_no_class(tmp_path):
    source = write(tmp_path / "a.parquet", STRUCTS, STRUCTS)
    assert load(source, column="image").labels == [None] * 6


def test_empty_parts(tmp_path):
    empty = pa.table({"image": pa.array([], pa.binary())})
    with parquet.ParquetWriter(tmp_path / "a.parquet", empty.schema) as writer:
        writer.write_table(empty, row_group_size=1)  # a row group without rows
        writer.write_table(pa.table({"image": PICTURES}))
    assert len(load(f"parquet:{tmp_path}/a.parquet").ids) == 6
    parquet.write_table(pa.table({}), tmp_path / "b.parquet")
    parquet.write_table(pa.table({"image": pa.nulls(2)}), tmp_path / "c.parquet")
    got = load(f"parquet:{tmp_path}/*.parquet")
    assert (len(got.ids), sorted(got.unreadable)) == (6, ["6", "7"])
    assert "holds no rows" in refused(f"parquet:{tmp_path}/b.parquet")


def test_files_that_differ_are_named(tmp_path):
    write(tmp_path / "a.parquet", PICTURES, [1] * 6)
    write(tmp_path / "b.parquet", PICTURES)
    said = refused(f"parquet:{tmp_path}/*.parquet")
    assert "a.parquet has a column 'label'" in said
    assert "b.parquet has none" in said
    write(tmp_path / "b.parquet", [[1]] * 6, [1] * 6)
    assert "b.parquet holds list" in refused(f"parquet:{tmp_path}/*.parquet")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/zero", "out of the table's folder"),
        ("../outside.png", "out of the table's folder"),
        ("link.png", "out of the table's folder"),
        ("loop.png", "."),
        ("pipe", "not a regular file"),
        ("folder", "directory"),
        ("sparse.png", "bytes"),
        ("a\0b", "."),
        ("http://127.0.0.1:9/a.png", "is an address"),
        ("ssh://host/a.png", "is an address"),
        ("file:///etc/passwd", "is an address"),
        ("hf://datasets/a/b/c.png", "is an address"),
        ("zip://a::/x.zip", "is an address"),
        ("simplecache::/etc/passwd", "No such file"),
        ("gone.png", "No such file"),
        ("", "empty"),
    ],
)
def test_paths_that_lead_elsewhere_are_not_read(path, reason, tmp_path):
    table = tmp_path / "table"
    (table / "folder").mkdir(parents=True)
    (tmp_path / "outside.png").write_bytes(png(9))
    (table / "in.png").write_bytes(png(5))
    (table / "other.png").write_bytes(png(6))
    (table / "link.png").symlink_to(tmp_path / "outside.png")
    (table / "loop.png").symlink_to(table / "loop.png")
    os.mkfifo(table / "pipe")
    with (table / "sparse.png").open("wb") as file:
        file.truncate(8 * 2**30)
    with pytest.raises(UnreadableImage, match=reason):
        tables.local_image({"bytes": None, "path": path}, table)
    links = [{"bytes": None, "path": one} for one in (path, "in.png", str(table / "other.png"))]
    got = load(write(table / "a.parquet", links))
    assert (sorted(numbers(got)), got.unreadable) == ([5, 6], ["0"])


def test_a_column_of_paths(tmp_path):
    (tmp_path / "in.png").write_bytes(png(5))
    source = write(tmp_path / "a.parquet", ["in.png", "/etc/hostname"])
    got = load(source)
    assert (numbers(got), got.unreadable) == ([5], ["1"])


def test_hub_cells_stay_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png(1))
    for path in (str(tmp_path / "a.png"), "http://127.0.0.1:9/a", "zip://a::http://b", "hf://a::file:///etc/passwd"):
        with pytest.raises(UnreadableImage, match="not on the hub"):
            hub.hub_image({"bytes": None, "path": path})
    monkeypatch.setattr("fsspec.open", lambda path, mode: (tmp_path / "a.png").open(mode))
    for path in ("hf://datasets/a/b@c/a.png", "zip://x/a.png::hf://datasets/a/b@c/d.zip"):
        assert hub.hub_image({"bytes": None, "path": path}) == png(1)


def test_cells_larger_than_an_image_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 1000)
    got = load(write(tmp_path / "a.parquet", [PICTURES[0], bytes(1001), PICTURES[1]]))
    assert (sorted(got.ids), got.unreadable) == (["0", "2"], ["1"])
    with pytest.raises(UnreadableImage, match="holds 1,001 bytes"):
        hub.hub_image(bytes(1001))


def test_a_row_group_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr("probe.data.parquet.MAX_GROUP_BYTES", 10_000)
    source = write(tmp_path / "a.parquet", [*PICTURES[:4], os.urandom(20_000)], row_group_size=4)
    got = load(source)
    assert (len(got.ids), got.unreadable) == (4, ["4"])


def test_one_large_value_in_every_row_stays_one(tmp_path):
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array([bytes(4 * 2**20)]))
    write(tmp_path / "a.parquet", column, write_statistics=False, dictionary_pagesize_limit=2**26)
    file = tables.open_file("it", tmp_path / "a.parquet", 0)
    before = pa.total_allocated_bytes()
    taken = [pa.total_allocated_bytes() - before for _ in tables.read_rows([file], list(range(64)), ["image"])]
    assert max(taken) < 40 * 2**20


def test_files_that_are_no_parquet(tmp_path):
    os.mkfifo(tmp_path / "pipe.parquet")
    with (tmp_path / "sparse.parquet").open("wb") as file:
        file.truncate(8 * 2**30)
    write(tmp_path / "whole.parquet", PICTURES)
    whole = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "nothing.parquet").write_bytes(b"")
    (tmp_path / "footer.parquet").write_bytes(whole[:-8] + b"\xff\xff\xff\x7fPAR1")
    (tmp_path / "noise.parquet").write_bytes(whole[:-60] + bytes(52) + whole[-8:])
    for name, words in [
        ("pipe", "not a regular file"),
        ("sparse", "does not end as parquet"),
        ("cut", "does not end as parquet"),
        ("nothing", "holds 0 bytes"),
        ("footer", "footer is too large"),
        ("noise", "cannot be read as parquet"),
    ]:
        assert words in refused(f"parquet:{tmp_path}/{name}.parquet")


def test_damage_to_one_row_group_costs_its_rows_only(tmp_path):
    source = write(tmp_path / "a.parquet", PICTURES, row_group_size=3, compression="zstd", use_dictionary=False)
    path = tmp_path / "a.parquet"
    data = bytearray(path.read_bytes())
    data[4:60] = bytes(56)
    path.write_bytes(data)
    got = load(source)
    assert (sorted(got.ids), sorted(got.unreadable)) == (["3", "4", "5"], ["0", "1", "2"])


def test_messages_about_columns_name_what_is_wrong(tmp_path):
    numbers_only = write(tmp_path / "a.parquet", [[1, 2]] * 2, [1, 2])
    flat = "column 'image' holds list<element: int64>, not images; a flat list of numbers has no rows: nest the pixels"
    assert flat in refused(numbers_only)
    assert flat in refused(numbers_only, column="image")
    for depth, column in enumerate(([1.0], [[1.0]], [[[1.0]]])):
        floats = refused(write(tmp_path / "floats.parquet", [column] * 2, [1, 2]))
        kind = "list<element: " * (depth + 1) + "double" + ">" * (depth + 1)
        assert f"column 'image' holds {kind}, not images; floats have no fixed range" in floats
    parquet.write_table(
        pa.table({"data": [[1, 2]] * 2, "more": [[{"a" * 30: [1], "b" * 30: 2}]] * 2}), tmp_path / "c.parquet"
    )
    none = "no column holds images: 'data' (list<element: int64>), 'more' (list<...>)"
    assert none in refused(f"parquet:{tmp_path}/c.parquet")
    said = refused(numbers_only, column="image")
    assert "holds list<element: int64>, not images" in said
    assert "set column to one of 'image'" not in said
    parquet.write_table(pa.table({"data": PICTURES}), tmp_path / "b.parquet")
    assert load(f"parquet:{tmp_path}/b.parquet").source["column"] == "data"
    parquet.write_table(pa.table({f"{i:030}": [1] for i in range(3000)}), tmp_path / "c.parquet")
    assert "more" in refused(f"parquet:{tmp_path}/c.parquet")
    refused(f"parquet:{tmp_path}/c.parquet", column="x" * 5000)
