"""A changed bit in any result file is named by whoever reads the folder."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from probe.errors import UserError
from probe.report.ood.page import write_ood_report
from probe.report.study.write import write_study_report
from probe.results import files, layout
from probe.results.files import Damaged, content_sha256, read_tensors, write_tensors
from probe.results.run import check_starts, read_atoms, read_results

FINISHED = Path(__file__).parents[1] / "jobs" / "finished"


def flip(file: Path) -> None:
    """Change the content, and neither length nor header: a value in the middle of a column, or the last tensor's."""
    data = bytearray(file.read_bytes())
    if file.suffix == ".parquet":
        place = data.index(b"PAR1") + 4 + 40  # in a page of the first column
        data[place] ^= 1
    else:
        data[-1] ^= 1
    file.write_bytes(data)


RESULTS = (
    "attractors/00000003-00000005.safetensors",
    "dictionary.safetensors",
    "gallery.safetensors",
    "reconstructions/digits.safetensors",
    "reconstructions/digits.parquet",
)


@pytest.mark.parametrize("name", RESULTS)
def test_a_flipped_bit_of_a_run(tmp_path: Path, name: str):
    run = tmp_path / "run"
    shutil.copytree(FINISHED / "run", run)
    assert len(read_results(run).starts["steps"]) == 6
    flip(run / name)
    with pytest.raises(UserError, match=rf"{name} cannot be read \(.*\); delete it and rerun `probe \w+ {run}`"):
        read_results(run)
    if name == layout.DICTIONARY.name:
        with pytest.raises(UserError, match="does not match its checksum"):
            read_atoms(run)


@pytest.mark.parametrize("name", ["scores.parquet", "references.safetensors"])
def test_a_flipped_bit_of_an_ood_experiment(tmp_path: Path, name: str):
    folder = tmp_path / "ood"
    shutil.copytree(FINISHED / "ood", folder)
    flip(folder / name)
    with pytest.raises(UserError, match=rf"{name} cannot be read \(.*\); delete it and rerun `probe ood"):
        write_ood_report(folder)


def test_a_flipped_bit_of_a_study(tmp_path: Path):
    folder, name = tmp_path / "study", "cells/ConvAutoencoder-k-2.safetensors"
    shutil.copytree(FINISHED / "study", folder)
    data = (folder / name).read_bytes()
    place = data.index(b"ConvAutoencoder, k = 2")  # this kind of study has numbers in the metadata, and no tensors
    (folder / name).write_bytes(data[: place + 21] + b"3" + data[place + 22 :])
    with pytest.raises(UserError, match="does not match its checksum"):
        write_study_report(folder, [name])


TENSORS = {
    "rows": torch.arange(60.0).view(10, 6),
    "turned": torch.arange(12).view(3, 4).T,
    "half": torch.arange(5).half(),
    "brain": torch.arange(7).bfloat16(),
    "flags": torch.tensor([True, False, True]),
    "none": torch.empty(0, 3),
    "one": torch.tensor(2.5, dtype=torch.float64),
}


def test_a_file_is_checked_in_parts_and_only_what_is_asked_for_is_given(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(files, "AT_ONCE", 7)
    file, about = tmp_path / "some.safetensors", {"z": 1, "a": [None, "ü"]}
    digest = write_tensors(file, TENSORS, about)
    assert digest == content_sha256(TENSORS, about)
    (tmp_path / "other").touch()
    assert file.stat().st_mode == (tmp_path / "other").stat().st_mode  # a colleague may read it
    found, there = read_tensors(file)
    assert there == {**about, "sha256": digest}
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in TENSORS.items())
    some, there = read_tensors(file, ("one", "absent"), check=True)
    assert list(some) == ["one"]
    assert there["sha256"] == digest
    content = file.read_bytes()
    place = content.index(TENSORS["rows"].numpy().tobytes())
    file.write_bytes(content[:place] + b"\1" + content[place + 1 :])
    assert read_tensors(file, ("one",))[0]["one"] == 2.5  # not checked
    with pytest.raises(Damaged, match="does not match its checksum"):
        read_tensors(file, ("one",), check=True)  # of which it is no part
    file.write_bytes(content[:-1])
    with pytest.raises(Damaged):
        read_tensors(file, ("one",))


def test_an_error_of_the_system_is_named_as_such(tmp_path: Path, monkeypatch):
    """safetensors says only that something went wrong."""

    def fail(*arguments):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    write_tensors(tmp_path / "some.safetensors", TENSORS, {})
    assert read_tensors(tmp_path / "some.safetensors")[0].keys() == TENSORS.keys()
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: os.stat("/nowhere/at/all"))
    with pytest.raises(OSError, match="No such file") as error:
        write_tensors(tmp_path / "other.safetensors", TENSORS, {})
    assert error.value.filename == str(tmp_path / "other.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["some.safetensors"]


@pytest.mark.parametrize("index", [[0, 1], [0, 1, 1], [0, 1, 2, 3], [1, 2, 3]])
def test_starts_must_be_exactly_0_to_n(index: list[int]):
    with pytest.raises(UserError, match=rf"{len(set(index))} of the 3 starts of config.yaml, in {len(index)} rows"):
        check_starts(index, 3, Path("run"))
    check_starts([0, 1, 2], 3, Path("run"))
