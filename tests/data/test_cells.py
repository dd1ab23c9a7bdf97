"""What cells of a column of images may hold, against pictures known beforehand; tables in partitions."""

import base64
import io

import datasets
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import dataset, parquet

from probe.data.cells import content
from probe.data.source import UnreadableImage

from .test_tables import PICTURES, load, numbers, png, refused

GREY = np.arange(30, dtype=np.uint8).reshape(5, 6)
COLOUR = np.arange(90, dtype=np.uint8).reshape(5, 6, 3)
ARRAYS = [np.asarray(Image.open(io.BytesIO(one)).resize((8, 6))) for one in PICTURES]


def pixels(cell):
    found = content(cell)
    return np.asarray(found if isinstance(found, Image.Image) else Image.open(io.BytesIO(found)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("listed", [False, True])
def test_arrays_become_pictures(dtype, listed):
    alpha = np.arange(120).reshape(5, 6, 4)
    for given, expected in [
        (GREY, GREY),
        (GREY[..., None], GREY),
        (GREY[None], GREY),
        (COLOUR, COLOUR),
        (np.moveaxis(COLOUR, -1, 0), COLOUR),
        (alpha, alpha),
    ]:
        given = given.astype(dtype)
        assert np.array_equal(pixels(given.tolist() if listed else given), expected)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (np.zeros((4, 4)), "floats, which have no fixed range"),
        (np.full((4, 4), 256), "from 256 to 256; store 0..255"),
        (np.full((4, 4), -1), "from -1 to -1"),
        (np.zeros((3, 9, 3), int), "3 x 9 x 3 may have channels in front or last"),
        (np.zeros((5, 9, 7), int), "no axis of 1, 3 or 4 channels"),
        (np.zeros((1, 1, 9, 7), int), "not that of one picture"),
        ([[1, 2], [3]], "differ in length"),
        ([[1, None], [3, 4]], "no numbers"),
        ([1, 2, 3], "flat list of 3 numbers"),
        ([[], []], "."),
        ([], "empty"),
        ("", "empty"),
        (b"", "empty"),
        (None, "empty"),
        ({"bytes": None, "path": None}, "empty"),
        (3, "holds int, not bytes"),
        ({"bytes": 3}, "holds int, not bytes"),
        ("data:image/png,abc", "not in base64"),
        ("data:image/png;base64,a", "base64 is damaged"),
    ],
)
def test_cells_that_hold_no_picture(cell, reason):
    with pytest.raises(UnreadableImage, match=reason):
        content(cell)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_base64_and_data_urls(kind):
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, kind)
    data = buffer.getvalue()
    text = base64.b64encode(data).decode()
    lines = base64.encodebytes(data).decode()
    for given in (
        text,
        text.rstrip("="),
        lines,
        base64.urlsafe_b64encode(data).decode(),
        f"data:image/x;base64,{text}",
    ):
        assert content(given) == data


@pytest.mark.parametrize("path", ["a.png", "/9j/abcd", "images/" + "a" * 80, "Qk" + "a" * 60 + ".png", "iVBORw0KGgo"])
def test_paths_stay_paths(path):
    assert content(path) == path


def as_lists(values, dtype):
    kind = pa.list_(pa.list_(pa.list_(dtype)))
    return pa.array([one.tolist() for one in values], kind)


@pytest.mark.parametrize("dtype", [pa.uint8(), pa.int64(), pa.int32()])
def test_arrays_of_a_parquet_file(dtype, tmp_path):
    values = np.stack(ARRAYS)
    parquet.write_table(pa.table({"image": as_lists(values, dtype)}), tmp_path / "last.parquet")
    front = np.ascontiguousarray(np.moveaxis(values, -1, 1))
    fixed = pa.FixedShapeTensorArray.from_numpy_ndarray(front)
    parquet.write_table(pa.table({"image": fixed.storage, "label": [1] * 6}), tmp_path / "flat.parquet")
    got = load(f"parquet:{tmp_path}/last.parquet")
    assert numbers(got) == [int(i) for i in got.ids]
    assert "flat list" in refused(f"parquet:{tmp_path}/flat.parquet")


def test_features_of_datasets(tmp_path):
    for name, feature, cells in [
        ("array", datasets.Array3D((6, 8, 3), "uint8"), ARRAYS),
        ("bytes", datasets.List(datasets.Value("uint8")), [list(one) for one in PICTURES]),
        ("text", datasets.Value("string"), [base64.b64encode(one).decode() for one in PICTURES]),
        ("image", datasets.Image(), [Image.fromarray(one) for one in ARRAYS]),
    ]:
        features = datasets.Features({"image": feature, "label": datasets.ClassLabel(names=["x", "y"])})
        table = datasets.Dataset.from_dict({"image": cells, "label": [0, 1] * 3}, features=features)
        table.to_parquet(tmp_path / f"{name}.parquet")
        table.save_to_disk(tmp_path / name)
        for source in (f"parquet:{tmp_path}/{name}.parquet", f"saved:{tmp_path}/{name}"):
            got = load(source)
            assert numbers(got) == [int(i) for i in got.ids], source
            assert got.labels == ["xy"[int(i) % 2] for i in got.ids], source
            assert load(source, 4, balance="label").labels == ["x", "y"] * 2


def test_columns_of_floats_are_refused_by_name(tmp_path):
    parquet.write_table(pa.table({"pixels": as_lists(np.zeros((2, 4, 4, 3)), pa.float64())}), tmp_path / "a.parquet")
    said = refused(f"parquet:{tmp_path}/a.parquet", column="pixels")
    assert "column 'pixels' holds list<" in said
    assert "floats have no fixed range" in said


def test_arrays_of_another_range_are_not_taken_in_part(tmp_path):
    """Of a set of 12 bits, the dark images fit into 0..255, and would be taken for dark ones of 8 bits."""
    values = np.stack([np.full((6, 8, 3), value) for value in (10, 20, 30, 4095)])
    parquet.write_table(pa.table({"image": as_lists(values, pa.uint16())}), tmp_path / "a.parquet")
    assert "its numbers go from 4095 to 4095" in refused(f"parquet:{tmp_path}/a.parquet")


def test_partitions_give_columns(tmp_path):
    table = pa.table({"image": PICTURES, "label": ["a", "b b", None] * 2, "year": [1, 1, 1, 2, 2, 2]})
    dataset.write_dataset(
        table, tmp_path / "set", format="parquet", partitioning=["year", "label"], partitioning_flavor="hive"
    )
    theirs = dataset.dataset(tmp_path / "set", partitioning="hive").to_table()
    expected = {
        first_byte(one): label for one, label in zip(*(theirs[n].to_pylist() for n in ("image", "label")), strict=True)
    }
    for source in (f"parquet:{tmp_path}/set", f"parquet:{tmp_path}/set/*/*/*.parquet", f"{tmp_path}/set"):
        got = load(source)
        assert dict(zip(numbers(got), got.labels, strict=True)) == expected
    assert sorted(load(source, 2, balance="year").labels) == ["1", "2"]
    assert load(f"parquet:{tmp_path}/set/year=1").labels != [None] * 3
    assert "no column 'month'" in refused(source, balance="month")
    assert "holds images" in refused(source, balance="image")


def test_braces_name_tables_and_their_folders(tmp_path):
    for number, kind in enumerate("abc"):
        (tmp_path / f"kind={kind}").mkdir()
        parquet.write_table(pa.table({"image": [png(number)]}), tmp_path / f"kind={kind}" / f"{number}.parquet")
    assert "a/2*.parquet'; give" in refused(f"parquet:{tmp_path}/kind={{a,c}}/{{0,2}}*.parquet")
    for pattern in ("{kind=a,kind=c}/*.parquet", "kind={a,c}"):
        got = load(f"parquet:{tmp_path}/{pattern}", balance="kind")
        assert dict(zip(numbers(got), got.labels, strict=True)) == {0: "a", 2: "c"}
    apart = load(f"parquet:{{{tmp_path}/kind=a,{tmp_path}/kind=b}}/*.parquet")
    assert sorted(numbers(apart)) == [0, 1]
    assert "name fewer files" in refused(f"parquet:{tmp_path}/{{0..200000}}.parquet")


def test_tables_of_a_folder_that_leads_round_in_circles(tmp_path):
    (tmp_path / "in").mkdir()
    parquet.write_table(pa.table({"image": PICTURES}), tmp_path / "in" / "A.PARQUET")
    for name in "xyz":
        (tmp_path / "in" / name).symlink_to(tmp_path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.parquet").write_text("no table")
    for source in (f"parquet:{tmp_path}", str(tmp_path)):
        got = load(source)
        assert (got.source["available"], got.repeated) == (6, 0)
        assert numbers(got) == [int(i) for i in got.ids]


def first_byte(data):
    return Image.open(io.BytesIO(data)).getpixel((0, 0))[0]


def test_a_balanced_draw_of_a_parquet_file(tmp_path):
    labels = ["a"] * 90 + ["b"] * 10
    table = pa.table({"image": [png(i) for i in range(100)], "kind": labels})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    got = load(f"parquet:{tmp_path}/a.parquet", 12, 6, balance="kind")
    assert [labels[int(i)] for i in got.ids] == got.labels == ["a", "b"] * 6
    assert numbers(got) == [int(i) for i in got.ids]
