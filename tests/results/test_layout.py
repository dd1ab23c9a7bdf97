"""The layout against folders that other versions of the tool finished: each file and column is described, no other."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from safetensors import safe_open

from probe.kinds import kind_of
from probe.methods import methods, metrics
from probe.results import layout
from probe.results.layout import Column, File

FINISHED = Path(__file__).parents[1] / "jobs" / "finished"
FOLDERS = ("run", "older", "study", "ood", "roundtrip")


def contents(file: Path) -> tuple[list[str], dict]:
    """Columns or tensors of a result file, and its metadata, read by the libraries themselves."""
    if file.suffix == ".parquet":
        schema = pq.read_schema(file)
        return schema.names, json.loads(schema.metadata[b"probe"])
    with safe_open(file, "pt") as opened:
        return list(opened.keys()), {key: json.loads(value) for key, value in opened.metadata().items()}


def matches(pattern: str, name: str) -> bool:
    """Whether a name, or a path, is one of those of a pattern with ``{fields}``; a field holds no slash."""
    return re.fullmatch("[^/]+".join(map(re.escape, re.split(r"\{.*?\}", pattern))), name) is not None


def described(names: list[str], columns: tuple[Column, ...]) -> None:
    """Exactly these columns."""
    assert [name for name in names if not any(matches(column.name, name) for column in columns)] == []
    assert [c.name for c in columns if not c.optional and not any(matches(c.name, name) for name in names)] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_every_file_and_column_of_a_finished_folder_is_described(name: str):
    folder, kind = FINISHED / name, kind_of(FINISHED / name)
    study = yaml.safe_load((folder / "config.yaml").read_text()).get("study")
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    for file in files:
        (one,) = (one for one in layout.FILES[kind] if matches(one.pattern, str(file.relative_to(folder))))
        if file.suffix not in (".safetensors", ".parquet"):
            continue
        names, about = contents(file)
        described(names, layout.CELL_COLUMNS[study] if one is layout.CELL else one.columns)
        stamp = tuple(layout.Column(kind, c.form, c.says) if c.name == "{kind}" else c for c in layout.STAMP)
        described(list(about), (*stamp, *one.about))
    assert len(files) >= 4


def test_forms_are_those_of_the_files():
    """dtype and number of dimensions, where the layout states them."""
    dtypes = {
        "float32": "F32",
        "float64": "F64",
        "int64": "I64",
        "uint8": "U8",
        "int8": "I8",
        "bool": "BOOL",
        "float": "F32",
    }
    for file in (layout.SHARD, layout.DICTIONARY, layout.GALLERY, layout.WANDERING):
        for path in (FINISHED / "run").glob(file.glob):
            with safe_open(path, "pt") as opened:
                for column in (one for one in file.columns if not one.optional):
                    found, (dtype, shape) = opened.get_slice(column.name), column.form.split(" ", 1)
                    assert found.get_dtype() == dtypes[dtype]
                    assert len(found.get_shape()) == len(shape.strip("()").rstrip(",").split(","))


def test_methods_and_metrics_are_among_the_columns():
    assert {*metrics()} <= {column.name for column in layout.TABLE.columns}
    assert all(any(matches(column.name, name) for column in layout.PICTURES.columns) for name in methods())


def test_names_and_patterns():
    assert layout.SHARD.at(range(32, 64)) == "attractors/00000032-00000063.safetensors"
    assert layout.TABLE.at(dataset="a") == "reconstructions/a.parquet"
    part = layout.RECONSTRUCTION.at(range(3), dataset="a")
    assert part == "work/reconstructions/a/00000000-00000002.safetensors"
    assert matches(layout.RECONSTRUCTION.pattern, part)
    assert not matches(layout.TABLE.pattern, "reconstructions/a/b.parquet")
    assert layout.SHARD.glob == "attractors/*-*.safetensors"
    assert Path("run") / layout.DICTIONARY == Path("run/dictionary.safetensors")
    with pytest.raises(KeyError):
        _ = layout.SHARD.name


@pytest.mark.parametrize("kind", layout.FILES)
def test_no_path_is_described_twice(kind: str):
    files: tuple[File, ...] = layout.FILES[kind]
    paths = [one.pattern.replace("{first:08d}", "00000000").replace("{last:08d}", "00000001") for one in files]
    for path in paths:
        assert sum(matches(one.pattern, path) for one in files) == 1
