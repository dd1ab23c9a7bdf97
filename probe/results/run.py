"""What a run directory holds, read and checked; one sentence that names the file where it is not as agreed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from probe.config import Config, load_config
from probe.errors import UserError
from probe.kinds import WHAT, kind_of
from probe.methods import AUTOENCODER, BASELINE, methods, metrics
from probe.reading import Unreadable, parse_json, read_object
from probe.report.run.schema import Report
from probe.results.manifest import read_manifest

Arrays = dict[str, NDArray[Any]]
COLUMNS = ("image", "id", "method", "basis", "atoms", "fraction", "atoms_used")
"""Beside the metrics; a metric that is ``optional`` and has no column is read as NaN."""
DICTIONARY = (
    *("leader", "basin", "settled", "outcome", "steps", "residual", "spectral_radius", "radius_error"),
    *("spectral_norm", "norm_error", "products", "certificate", "predicted_steps", "plain_steps"),
)
WANDERING = ("index", "exponent", "error", "spectral_radius", "radius_error")


@dataclass(frozen=True)
class Reconstructions:
    """rows: one per image, method and level (``COLUMNS`` and metrics, without ``basis``: of several bases their mean);
    bases: the rows of each random orthogonal basis; facts: the file's metadata; examples: uint8 pictures by name,
    (e, 3, H, W) for original and autoencoder, (L, e, 3, H, W) for methods."""

    rows: pd.DataFrame
    bases: pd.DataFrame
    facts: dict[str, Any]
    examples: Arrays

    def examples_at(self, atoms: int) -> Arrays:
        """The pictures at one level, each (e, 3, H, W)."""
        level = self.facts["levels"].index(atoms)
        return {name: shown if shown.ndim == 4 else shown[level] for name, shown in self.examples.items()}


@dataclass(frozen=True)
class Results:
    """Everything that a report is made of; starts: outcome, steps, evaluations, residual, period, each (n,), by index;
    wandering: ``WANDERING`` of starts that did not settle; semantics: what CLIP makes of the end points, nearest: their
    nearest test images, both None without it."""

    config: Config
    manifest: dict[str, Any]
    starts: Arrays
    dictionary: Arrays
    dictionary_summary: dict[str, Any]
    wandering: Arrays
    gallery: NDArray[np.uint8]
    thumbnails: NDArray[np.uint8]
    semantics: dict[str, Any] | None
    nearest: NDArray[np.uint8] | None
    datasets: dict[str, Reconstructions]


def read_results(run: Path) -> Results:
    """Read a run directory.

    Raises:
        UserError: a file is missing, truncated, or contradicts another.
    """
    _must_be_run(run)
    if not (run / "config.yaml").is_file():
        raise UserError(f"{run / 'config.yaml'} is missing: {run} is no run directory.")
    config = load_config(run / "config.yaml")
    with _reading(run / "manifest.json", "run") as path:
        manifest = read_manifest(path)
        missing = {"model", "data", "versions", "command"} - set(manifest)
        if missing:
            raise KeyError(f"no {', '.join(sorted(missing))}")
    dictionary, metadata = _tensors(
        run / "dictionary.safetensors",
        "dictionary",
        DICTIONARY,
    )
    wandering, _ = _tensors(run / "wandering.safetensors", "dictionary", WANDERING)
    gallery, _ = _tensors(run / "gallery.safetensors", "dictionary", ("images", "thumbnails"))
    with _reading(run / "dictionary.safetensors", "dictionary"):
        summary = parse_json(metadata["summary"], "its summary", nan=True)
    return Results(
        config=config,
        manifest=manifest,
        starts=_starts(run / "attractors", config.seeds.count),
        dictionary=dictionary,
        dictionary_summary=summary,
        wandering=wandering,
        gallery=gallery["images"],
        thumbnails=gallery["thumbnails"],
        **_semantics(run, config),
        datasets={name: _reconstructions(run, name, manifest) for name in config.datasets},
    )


def _semantics(run: Path, config: Config) -> dict[str, Any]:
    path = run / "semantics.safetensors"
    if config.clip is None or not path.exists():
        return {"semantics": None, "nearest": None}
    tensors, about = _tensors(path, "reconstruct", ())
    with _reading(path, "reconstruct"):
        told = {name: parse_json(about[name], f"its {name}", nan=True) for name in ("labels", "nearest", "summary")}
        found = told | {name: tensors[name] for name in ("label_similarity", "above_noise", "nearest_similarity")}
    return {"semantics": found, "nearest": tensors.get("nearest_images")}


def read_report(run: Path) -> Report:
    """The report that `probe report` wrote into a run directory.

    Raises:
        UserError: it is missing, truncated, or of another schema.
    """
    _must_be_run(run)
    with _reading(run / "report" / "report.json", "report") as path:
        content = read_object(path)
        ours, theirs = Report.model_fields["schema_version"].default, content.get("schema_version")
        if theirs != ours:
            raise ValueError(f"its schema_version is {theirs}, this probe reads {ours}")
        return Report.model_validate(content)


def _must_be_run(run: Path) -> None:
    if not run.is_dir():
        raise UserError(f"{run} is no run directory: give the folder that `probe run` wrote.")
    if (kind := kind_of(run)) != "run":
        raise UserError(f"{run} holds {WHAT[kind]}, not a run: give the folder that `probe run` wrote.")


def read_atoms(run: Path) -> NDArray[np.floating[Any]]:
    """The atoms (m, d) of a run directory.

    Raises:
        UserError: the file is missing or truncated.
    """
    return _tensors(run / "dictionary.safetensors", "dictionary", ("atoms",))[0]["atoms"]


def _starts(folder: Path, n: int) -> Arrays:
    """The shards as one, sorted by index; exactly the starts 0..n-1."""
    names = ("index", "outcome", "steps", "evaluations", "residual", "period")
    shards = [_tensors(path, "attractors", names)[0] for path in sorted(folder.glob("*.safetensors"))]
    if not shards:
        raise UserError(f"{folder} holds no *.safetensors: run `probe attractors {folder.parent}` first.")
    merged = {name: np.concatenate([shard[name] for shard in shards]) for name in names}
    index = merged.pop("index")
    order = np.argsort(index)
    if not np.array_equal(index[order], np.arange(n)):
        raise UserError(
            f"{folder} holds {len(np.unique(index))} of the {n} starts of config.yaml, in {len(index)} rows: "
            f"run `probe attractors {folder.parent}` again."
        )
    return {name: values[order] for name, values in merged.items()}


def _reconstructions(run: Path, name: str, manifest: dict[str, Any]) -> Reconstructions:
    path = run / "reconstructions" / f"{name}.parquet"
    with _reading(path, "reconstruct"):
        table = pq.read_table(path)
        facts = parse_json((table.schema.metadata or {})[b"probe"].decode(), "its entry probe", nan=True)
        optional = {name for name, one in metrics().items() if one.optional}
        columns = [*COLUMNS, *metrics()]
        there = [name for name in columns if name in table.column_names or name not in optional]
        rows = table.select(there).to_pandas().reindex(columns=columns)
    if name not in manifest["data"]:
        raise UserError(f"{run / 'manifest.json'} does not list the data set {name!r} under data: run the run again.")
    planned, found = manifest["data"][name]["n_used"], rows["image"].nunique()
    if found != planned:
        raise UserError(f"{path} holds {found} images where manifest.json says {planned}: delete it and run again.")
    sizes = rows.groupby(["method", "basis", "atoms"])["image"].agg(["size", "nunique"])
    uneven = sizes[(sizes != found).any(axis=1)]
    if len(uneven):
        method, _, atoms = uneven.index[0]
        raise UserError(f"{path} has not one row per image for {method} at {atoms} atoms: delete it and run again.")
    examples, _ = _tensors(path.with_suffix(".safetensors"), "reconstruct", ())
    bases = rows[rows["method"] == BASELINE]
    rows = pd.concat([rows[rows["method"] != BASELINE], _mean_basis(bases)], ignore_index=True).drop(columns="basis")
    names = ("original", AUTOENCODER.name, *methods())
    return Reconstructions(rows, bases, facts, {key: examples[key] for key in names if key in examples})


def _mean_basis(bases: pd.DataFrame) -> pd.DataFrame:
    """One row per image and level, its errors the means over bases: NaN where one of them is, unlike pandas' means."""
    ordered = bases.sort_values(["basis", "atoms", "image"])
    many = max(ordered["basis"].nunique(), 1)
    mean = ordered[: len(ordered) // many].copy()
    for metric in metrics():
        mean[metric] = ordered[metric].to_numpy(np.float64).reshape(many, -1).mean(axis=0)
    return mean


def _tensors(path: Path, stage: str, names: tuple[str, ...]) -> tuple[Arrays, dict[str, str]]:
    """The named tensors of a safetensors file (all, if none is named) and its metadata."""
    with _reading(path, stage), safe_open(path, framework="numpy") as file:
        present = set(file.keys())
        missing = set(names) - present
        if missing:
            raise KeyError(f"no tensor {', '.join(sorted(missing))}")
        return {name: file.get_tensor(name) for name in names or sorted(present)}, file.metadata() or {}


@contextmanager
def _reading(path: Path, stage: str) -> Iterator[Path]:
    """Whatever goes wrong inside becomes one sentence that names ``path``."""
    inside = path.parent.name in ("reconstructions", "report")
    again = f"`probe {stage} {path.parents[1] if inside else path.parent}`"
    if stage == "run":
        again = "`probe run`"
    try:
        if not path.is_file():
            raise UserError(f"{path} is missing: run {again} first.")
        yield path
    except (Unreadable, OSError, ValueError, KeyError, TypeError, SafetensorError, pa.ArrowException) as error:
        what = error.reason if isinstance(error, Unreadable) else " ".join(str(error).split()).rstrip(".")
        raise UserError(f"{path} cannot be read ({what[:160]}): delete it and run {again} again.") from None
