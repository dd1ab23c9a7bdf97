"""A changed bit in any result file is named by whoever reads the folder."""

import shutil
from pathlib import Path

import pytest

from probe.errors import UserError
from probe.report.ood.page import write_ood_report
from probe.report.study.write import write_study_report
from probe.results import layout
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


@pytest.mark.parametrize("index", [[0, 1], [0, 1, 1], [0, 1, 2, 3], [1, 2, 3]])
def test_starts_must_be_exactly_0_to_n(index: list[int]):
    with pytest.raises(UserError, match=rf"{len(set(index))} of the 3 starts of config.yaml, in {len(index)} rows"):
        check_starts(index, 3, Path("run"))
    check_starts([0, 1, 2], 3, Path("run"))
