"""A run's errors of every image as a data set folder of the Hugging Face hub, for ``probe export --dataset``."""

import os
import tempfile
from pathlib import Path

import pandas as pd

from probe.errors import UserError
from probe.methods import BORROWED, OURS, label, methods
from probe.report.page.markdown import code, table, text
from probe.report.run.export import model_name
from probe.report.run.schema import Report
from probe.results import layout
from probe.results.files import read_table, reading

SPLIT = "train"  # what ``datasets`` calls the only split
DATASET = "dataset"
NAMES = {"image": "index", "id": "image_id"}
"""Columns that are called otherwise here, where people expect a picture in ``image``."""
MEANINGS = {
    "method": "what the image is written in, or a reference without atoms: see below",
    "basis": "which draw of a random method, from 0; 0 for all others",
    "atoms_used": "atoms in the code; fewer than `atoms` where the method has no more of them",
}
"""Columns of which more is said here."""


def write_dataset(run: Path, report: Report, folder: Path) -> Path:
    """Write the rows of ``reconstructions/NAME.parquet`` of all data sets, and a card that tells what they are.

    ``datasets.load_from_disk(folder)`` and ``datasets.load_dataset(folder)`` both read it, and so does the hub once it
    is uploaded. It appears whole or not at all.

    Raises:
        UserError: the run has no data sets, a table is damaged, or the folder holds something already.
    """
    import datasets

    if not report.datasets:
        raise UserError(f"{run} has no rows of images, since it reconstructed no data set.")
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UserError(f"--dataset {folder} exists already; give a new folder, or remove it.")
    rows = pd.concat([_rows(run, name) for name in report.datasets], ignore_index=True).dropna(axis=1, how="all")
    folder.parent.mkdir(parents=True, exist_ok=True)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix=".dataset.", dir=folder.parent) as place:
        made = Path(place) / folder.name
        datasets.DatasetDict({SPLIT: datasets.Dataset.from_pandas(rows, preserve_index=False)}).save_to_disk(made)
        (made / "README.md").write_text(_card(report, list(rows), list(rows["method"].unique())), encoding="utf-8")
        os.rename(made, folder)
    return folder


def _rows(run: Path, name: str) -> pd.DataFrame:
    with reading(run / layout.TABLE.at(dataset=name), f"probe reconstruct {run}") as path:
        rows, _ = read_table(path)
    rows.insert(0, DATASET, name)
    return rows.rename(columns=NAMES)


def _methods(report: Report, names: list[str]) -> list[list[str]]:
    """What each value of ``method`` stands for."""
    ours = BORROWED if report.borrowed else "end points, distinct ones, certified as attractors or not"
    known = {OURS: ours} | {name: one.phrase for name, one in methods().items() if name != OURS}
    return [[code(name), text(known.get(name) or label(name))] for name in names]


def _card(report: Report, columns: list[str], found: list[str]) -> str:
    """The card: where the rows lie, for ``load_dataset``, then what their columns mean and what was measured."""
    from huggingface_hub import DatasetCardData

    files = [{"config_name": "default", "data_files": [{"split": SPLIT, "path": f"{SPLIT}/*.arrow"}]}]
    about = DatasetCardData(
        configs=files, tags=["latent-probe"], pretty_name=f"Errors of {model_name(report)} by image"
    )
    columns_of_run = {NAMES.get(column.name, column.name): column.says for column in layout.TABLE.columns}
    known = {DATASET: "name of the data set in the run", **columns_of_run, **MEANINGS}
    meaning = [[code(name), text(known.get(name, "a metric of a plug-in"))] for name in columns]
    sets = [[text(name), str(data.n_used), code(str(data.sha256))] for name, data in report.datasets.items()]
    parts = [
        f"---\n{about.to_yaml()}\n---",
        f"# Errors of {text(model_name(report))} by image",
        f"A row per image, method and level of a run of `probe` on {text(model_name(report))} "
        f"(d = {report.model.d}, weights {code(report.model.weights_sha256 or 'none')}).",
        table(["column", "meaning"], meaning, escaped=True),
        table(["method", "images are written in"], _methods(report, found), escaped=True),
        table(["data set", "images", "SHA-256 of the images"], sets, escaped=True),
    ]
    return "\n\n".join(parts) + "\n"
