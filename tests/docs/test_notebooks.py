"""The notebooks of docs/notebooks: they run, and what they are shown with is what they give."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .conftest import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NAMES = sorted(file.stem for file in FOLDER.glob("*.ipynb"))
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?|\bNaN\b")


def cells(file: Path) -> list[dict[str, Any]]:
    """The cells of code of a notebook."""
    return [cell for cell in json.loads(file.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def told(cell: dict[str, Any]) -> str:
    """What a cell says in words and numbers."""
    outputs = [one for one in cell["outputs"] if one.get("name") != "stderr" and one["output_type"] != "display_data"]
    return "".join("".join(one["text"] if "text" in one else one["data"]["text/plain"]) for one in outputs)


def test_every_notebook_is_a_page(script: Callable[[str], ModuleType]):
    assert sorted(script("notebooks").NAMES) == NAMES
    found = script("notebooks").pages()
    index = (FOLDER / "index.md").read_text()
    for name in NAMES:
        page = found[f"notebooks/{name}.md"]
        pictures = re.findall(r"\]\((\S+\.png)\)", page)
        assert pictures
        assert all(found[f"notebooks/{picture}"].startswith(b"\x89PNG") for picture in pictures)
        assert all("".join(cell["source"]) in page for cell in cells(FOLDER / f"{name}.ipynb"))
        assert f"({name}.md)" in index


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_one_run_from_top_to_bottom_and_of_no_machine(name: str):
    file = FOLDER / f"{name}.ipynb"
    text = file.read_text("utf-8")
    assert len(text) < 300_000
    assert not re.search(r"/tmp/|/home/|/root/|site-packages|\"stderr\"|Warning|\d starts/s", text)
    found = cells(file)
    assert [cell["execution_count"] for cell in found] == list(range(1, len(found) + 1))
    assert all(cell["metadata"] == {} for cell in found)


def again(name: str, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The cells as they are kept, and executed again in a kernel of their own: the same words, and near numbers."""
    command = [sys.executable, str(ROOT / "docs" / "scripts" / "notebooks.py"), name, "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept, found = cells(FOLDER / f"{name}.ipynb"), cells(folder / f"{name}.ipynb")
    for one, other in zip(kept, found, strict=True):
        assert "Warning" not in "".join("".join(out["text"]) for out in other["outputs"] if "text" in out)
        assert NUMBER.sub("#", told(one)).split() == NUMBER.sub("#", told(other)).split()
    return kept, found


@pytest.mark.slow
def test_the_first_probe(tmp_path: Path):
    _, found = again("first_probe", tmp_path)
    assert "165,043 weights" in told(found[0])


def test_the_own_autoencoder(tmp_path: Path):
    kept, found = again("own_autoencoder", tmp_path)
    assert "13 of 20" in told(kept[-1])  # as the text says
    digits, atoms = (int(re.findall(r"\d+", told(cell))[0]) for cell in (found[-1], found[4]))
    assert 10 <= digits <= atoms <= 20  # of twenty digits, each reached by an attractor of its own
    # Errors that a mean of the unseen digits, which has learned nothing, does not come near to.
    training, unseen = (float(one) for one in re.findall(r"0\.\d+", told(found[1])))
    assert training < unseen < 0.07


@pytest.mark.slow
def test_reading_a_dictionary(tmp_path: Path):
    _, found = again("reading_a_dictionary", tmp_path)
    by_hand, in_the_table = re.findall(r"0\.\d{4}", told(found[-1]))
    assert float(by_hand) == pytest.approx(float(in_the_table), abs=2e-4)
    sizes = [int(size) for size in re.findall(r"\d+", told(found[1]).splitlines()[0])]
    assert sum(sizes) == 48  # every start is in one basin
    assert "kick 0.1: 8 of 8 come back" in told(found[6])


@pytest.mark.slow
def test_comparing_checkpoints(tmp_path: Path):
    _, found = again("comparing_checkpoints", tmp_path)
    assert told(found[3]).count("higher") == 3  # as the verdict says, of all sets
    assert "a higher one on 3 of 3 data sets" in told(found[1])
