"""Names that nobody would choose, through everything that writes or shows them."""

import csv
import io
import json
import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from probe.config import DatasetConfig, parse_config
from probe.data.load import load_images
from probe.errors import UserError
from probe.files import write_atomically
from probe.names import csv_text, printable, shortened, shown

names = st.binary(min_size=1, max_size=12).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (os.fsdecode(b"caf\xe9.png"), r"caf\xe9.png"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("two\nlines\ttab", r"two\x0alines\x09tab"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\x85\u2028\x7f", r"\u0085\u2028\x7f"),
        ("\ud800", r"\ud800"),
        (r"literal\xe9", r"literal\\xe9"),
        (r"C:\images\a.png", r"C:\images\a.png"),
        ("naïve 猫 👨‍👩‍👧 [red] $x_{$ _a.png", "naïve 猫 👨‍👩‍👧 [red] $x_{$ _a.png"),
    ],
)
def test_what_a_name_looks_like(name, text):
    assert shown(name) == text


@given(st.lists(names | st.text(max_size=6) | st.from_regex(r"\\+(x[0-9a-f]{2}|u202e)?", fullmatch=True)))
@example(["\\xff", "\udcff", "\\\\xff", "\\\udcff", "\\\\", "\\"])
def test_different_names_stay_different_and_every_file_takes_them(found):
    found = list(dict.fromkeys(found))
    texts = [shown(name) for name in found]
    assert len(set(texts)) == len(found)
    for text in texts:
        assert text.encode().decode() == text
        assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)
        assert "\u202e" not in text


def test_texts_keep_their_lines():
    assert printable("a\n\tb\x1b]0;title\x07 \\xff\udcff") == "a\n\tb\\u001b]0;title\\u0007 \\xff\\udcff"
    assert shortened("abcdefghij", 7) == "ab...ij"
    assert shortened("abc", 7) == "abc"


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "-", "-x", '=HYPERLINK("http://x","y")']


def test_a_csv_computes_nothing_and_numbers_stay_numbers():
    kept = ["a=1", "x", 'say "so", then', "two\nlines", "-1.5", "+3", "-1e-05", "", -1.5, -2, 1e-300, None]
    (row,) = csv.reader(io.StringIO(csv_text([[*FORMULAS, *kept]])))
    assert all(cell.startswith("'") for cell in row[: len(FORMULAS)])
    assert row[0] == "'=1+1"
    assert row[len(FORMULAS) :] == ["" if cell is None else str(cell) for cell in kept]


def test_any_text_can_be_written(tmp_path):
    write_atomically(tmp_path / "x.json", json.dumps({"a": "ä\udcff"}, ensure_ascii=False))
    assert json.loads((tmp_path / "x.json").read_bytes()) == {"a": "ä\udcff"}


def test_a_folder_of_odd_names(tmp_path):
    odd = [
        b"caf\xe9.png",
        b"=1+1.png",
        b"\x1b[31m.png",
        b"[red].png",
        b"a\nb.png",
        b"A.png",
        b"a.png",
        b"n" * 251 + b".png",
    ]
    odd += ["é.png".encode(), "e\u0301.png".encode()]
    for place, name in enumerate(odd):
        folder = os.path.join(os.fsencode(tmp_path), b"c\xff" if place % 2 else b"_d")
        os.makedirs(folder, exist_ok=True)
        Image.new("RGB", (4, 4), (place, 0, 0)).save(io_ := io.BytesIO(), "PNG")
        with open(os.path.join(folder, name), "wb") as file:
            file.write(io_.getvalue())
    (tmp_path / os.fsdecode(b"bad\xfe.png")).write_bytes(b"no image")
    got = load_images("odd", DatasetConfig(source=f"folder:{tmp_path}", n=20, holdout=0), resolution=4)
    assert len(set(got.ids)) == len(odd)
    assert r"c\xff/=1+1.png" in got.ids
    assert r"_d/caf\xe9.png" in got.ids
    assert set(got.labels) == {"_d", r"c\xff"}
    assert got.unreadable == [r"bad\xfe.png"]
    json.dumps([got.ids, got.labels]).encode("ascii")
    "".join(got.ids).encode()


@pytest.mark.parametrize(
    "names", [("A", "a"), ("\u00e9", "e\u0301"), ("Straße", "STRASSE"), ("n" * 121,), ("猫" * 41,)]
)
def test_names_of_data_sets_that_files_cannot_bear(names):
    with pytest.raises(UserError, match=r"one file name on some systems|at most 120 bytes") as error:
        parse_config({"datasets": {name: {} for name in names}})
    assert len(str(error.value)) < 500
    assert parse_config({"datasets": {"n" * 120: {}, "猫" * 40: {}, "b": {}}})
