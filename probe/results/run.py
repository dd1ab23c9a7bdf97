"""Read and check the results of a run; an error is one sentence that names the file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from probe.config import Config, load_config
from probe.errors import UserError
from probe.kinds import check_is_run
from probe.methods import AUTOENCODER, BASELINE, methods, metrics
from probe.results import layout
from probe.results.files import read_table, read_tensors, reading
from probe.results.manifest import read_manifest

Arrays = dict[str, NDArray[Any]]
STARTS = ("index", "outcome", "steps", "evaluations", "residual", "period")
DICTIONARY = tuple(name for name in layout.DICTIONARY.names if name != "atoms")


@dataclass(frozen=True)
class Subsets:
    """Latent MSE at 5 % of d in parts of the dictionaries, images in the order of ``Reconstructions``.

    Attributes:
        blocks: B of the starts.
        left_out: by method (B, k), without the starts of a block, of the first k images.
        sizes: by method (sizes, n), with the first starts only.
        starts, atoms: by method, the number of first starts of each size, and of their atoms.
    """

    blocks: int
    left_out: Arrays
    sizes: Arrays
    starts: dict[str, list[int]]
    atoms: dict[str, list[int]]

    def shares(self, method: str) -> NDArray[np.float64] | None:
        """Mean error (B,) without each block, as a share of that with all starts; None if there is none."""
        left = self.left_out.get(method)
        if left is None or not (whole := self.sizes[method][-1, : left.shape[1]].mean()) > 0:
            return None
        shares: NDArray[np.float64] = left.mean(axis=1) / whole
        return shares if np.isfinite(shares).all() else None


@dataclass(frozen=True)
class Reconstructions:
    """Reconstructions of one data set.

    Attributes:
        rows: one per image, method and level, with the columns of ``layout.TABLE`` but ``basis``; where a method has
            several random bases, the mean over them.
        bases: the rows of each random orthogonal basis.
        facts: the table's metadata.
        examples: uint8 images by name, (e, 3, H, W) for original and autoencoder, (L, e, 3, H, W) for methods.
        subsets: errors in parts of the dictionaries; None in runs of older versions.
    """

    rows: pd.DataFrame
    bases: pd.DataFrame
    facts: dict[str, Any]
    examples: Arrays
    subsets: Subsets | None = None

    def examples_at(self, atoms: int) -> Arrays:
        """The images at one level, each (e, 3, H, W)."""
        level = self.facts["levels"].index(atoms)
        return {name: shown if shown.ndim == 4 else shown[level] for name, shown in self.examples.items()}


@dataclass(frozen=True)
class Results:
    """Everything that a report is made of; see ``probe.results.layout`` for the columns.

    Attributes:
        starts: ``STARTS`` without the index, each (N,), ordered by index.
        dictionary: ``DICTIONARY``, each (m,).
        wandering: the columns of ``layout.WANDERING``, for starts that did not converge within the step limit.
        basins: the columns of ``layout.BASINS``, empty in older runs; ``basins_missing`` says why nothing was measured.
        gallery, thumbnails: decoded end points, uint8 (k, 3, H, W).
        borrowed: what the dictionary is that images were coded in; None where it is the run's own.
        uncoded: why no data set of the configuration was reconstructed; empty if they were.
        semantics, nearest: what CLIP makes of the end points, and their nearest test images; None without CLIP.
    """

    config: Config
    manifest: dict[str, Any]
    starts: Arrays
    dictionary: Arrays
    dictionary_summary: dict[str, Any]
    wandering: Arrays
    basins: Arrays
    basins_missing: str
    gallery: NDArray[np.uint8]
    thumbnails: NDArray[np.uint8]
    semantics: dict[str, Any] | None
    nearest: NDArray[np.uint8] | None
    datasets: dict[str, Reconstructions]
    borrowed: dict[str, Any] | None = None
    uncoded: str = ""


def read_results(run: Path) -> Results:
    """Read a run directory.

    Raises:
        UserError: a file is missing, damaged, or contradicts another.
    """
    check_is_run(run)
    if not (run / layout.CONFIG).is_file():
        raise UserError(f"{run / layout.CONFIG} is missing: {run} is not the directory of a run.")
    config = load_config(run / layout.CONFIG)
    with reading(run / layout.MANIFEST, "probe run") as path:
        manifest = read_manifest(path)
        if missing := {"model", "data", "versions", "command"} - set(manifest):
            raise KeyError(f"no {', '.join(sorted(missing))}")
    dictionary, about = _arrays(run, layout.DICTIONARY.name, "dictionary", DICTIONARY, ("distance",), ("summary",))
    gallery, _ = _arrays(run, layout.GALLERY.name, "dictionary", layout.GALLERY.names)
    wandering, _ = _arrays(run, layout.WANDERING.name, "dictionary", layout.WANDERING.names)
    basins, basins_missing = _basins(run)
    semantics, nearest = _semantics(run, config)
    uncoded = about.get("uncoded", "") if config.datasets else ""
    return Results(
        config=config,
        manifest=manifest,
        starts=_starts(run, config.seeds.count),
        dictionary=dictionary,
        dictionary_summary=about["summary"],
        wandering=wandering,
        basins=basins,
        basins_missing=basins_missing,
        gallery=gallery["images"],
        thumbnails=gallery["thumbnails"],
        semantics=semantics,
        nearest=nearest,
        datasets={name: _reconstructions(run, name, manifest) for name in config.datasets if not uncoded},
        borrowed=_borrowed(run) if config.dictionary.source else None,
        uncoded=uncoded,
    )


def read_atoms(run: Path, file: layout.File = layout.DICTIONARY) -> NDArray[np.floating[Any]]:
    """The atoms (m, d) of a run directory, or those that it borrowed (``layout.BORROWED``).

    Raises:
        UserError: the dictionary is missing or damaged.
    """
    return _arrays(run, file.name, "dictionary", ("atoms",))[0]["atoms"]


def check_starts(index: ArrayLike, n: int, run: Path) -> None:
    """Check that shards hold every start of a run once; ``index`` is which start each row is, in ascending order.

    Raises:
        UserError: the indices are not exactly 0..n-1.
    """
    if not np.array_equal(index := np.asarray(index), np.arange(n)):
        raise UserError(
            f"{run / layout.ATTRACTORS} holds {len(np.unique(index))} of the {n} starts of config.yaml, in "
            f"{len(index)} rows; rerun `probe attractors {run}`."
        )


def _arrays(
    run: Path,
    file: str,
    command: str,
    names: tuple[str, ...],
    optional: tuple[str, ...] = (),
    entries: tuple[str, ...] = (),
) -> tuple[Arrays, dict[str, Any]]:
    """Tensors of a file, and its metadata, which has the given entries."""
    with reading(run / file, f"probe {command} {run}") as path:
        tensors, about = read_tensors(path, (*names, *optional), check=True)
        if missing := sorted({*names} - {*tensors}) + sorted({*entries} - {*about}):
            raise KeyError(f"no {', '.join(missing)}")
        return {name: tensors[name].numpy() for name in (*names, *optional) if name in tensors}, about


def _starts(run: Path, n: int) -> Arrays:
    files = sorted(run.glob(layout.SHARD.glob))
    if not files:
        raise UserError(f"{run / layout.ATTRACTORS} holds no *.safetensors; run `probe attractors {run}` first.")
    shards = [_arrays(run, str(file.relative_to(run)), "attractors", STARTS)[0] for file in files]
    merged = {name: np.concatenate([shard[name] for shard in shards]) for name in STARTS}
    index = merged.pop("index")
    order = np.argsort(index)
    check_starts(index[order], n, run)
    return {name: values[order] for name, values in merged.items()}


def _basins(run: Path) -> tuple[Arrays, str]:
    if not (run / layout.BASINS).exists():
        return {}, "this run was made by a version that did not measure basins"
    arrays, about = _arrays(run, layout.BASINS.name, "dictionary", layout.BASINS.names, entries=("missing",))
    return arrays, about["missing"]


def _borrowed(run: Path) -> dict[str, Any]:
    _, about = _arrays(run, layout.BORROWED.name, "attractors", (), entries=("borrowed",))
    found: dict[str, Any] = about["borrowed"]
    return found


def _semantics(run: Path, config: Config) -> tuple[dict[str, Any] | None, NDArray[np.uint8] | None]:
    if config.clip is None or not (run / layout.SEMANTICS).exists():
        return None, None
    entries = ("labels", "nearest", "summary")
    names, optional = layout.SEMANTICS.names, ("nearest_images",)
    arrays, about = _arrays(run, layout.SEMANTICS.name, "reconstruct", names, optional, entries)
    nearest = arrays.pop("nearest_images", None)
    return {name: about[name] for name in entries} | arrays, nearest


def _reconstructions(run: Path, name: str, manifest: dict[str, Any]) -> Reconstructions:
    columns = dict.fromkeys([*(column.name for column in layout.TABLE.columns), *metrics()])
    with reading(run / layout.TABLE.at(dataset=name), f"probe reconstruct {run}") as path:
        rows, facts = read_table(path)
        if missing := sorted({*layout.TABLE.names} - {*rows}):
            raise KeyError(f"no {', '.join(missing)}")
        rows = rows.reindex(columns=list(columns))
    if name not in manifest["data"]:
        raise UserError(f"{run / layout.MANIFEST} has no data set {name!r} under data; rerun `probe run {run}`.")
    planned, found = manifest["data"][name]["n_used"], rows["image"].nunique()
    if found != planned:
        raise UserError(f"{path} holds {found} images where manifest.json says {planned}; delete it and rerun.")
    sizes = rows.groupby(["method", "basis", "atoms"])["image"].agg(["size", "nunique"])
    if len(uneven := sizes[(sizes != found).any(axis=1)]):
        method, _, atoms = uneven.index[0]
        raise UserError(f"{path} does not have one row per image for {method} at {atoms} atoms; delete it and rerun.")
    shown = ("original", AUTOENCODER.name, *methods())
    examples, _ = _arrays(run, layout.PICTURES.at(dataset=name), "reconstruct", (), shown)
    bases = rows[rows["method"] == BASELINE]
    several = [BASELINE, *{*rows.loc[rows["basis"] > 0, "method"]} - {BASELINE}]
    means = [_mean_basis(rows[rows["method"] == name]) for name in several]
    rows = pd.concat([rows[~rows["method"].isin(several)], *means], ignore_index=True)
    return Reconstructions(rows.drop(columns="basis"), bases, facts, examples, _subsets(run, name, planned))


def _subsets(run: Path, name: str, n: int) -> Subsets | None:
    file = layout.SUBSETS.at(dataset=name)
    if not (run / file).exists():
        return None
    with reading(run / file, f"probe reconstruct {run}") as path:
        tensors, about = read_tensors(path)
        kinds: dict[str, Arrays] = {"left_out": {}, "size": {}}
        for key, errors in tensors.items():
            kind, _, method = key.partition("/")
            kinds[kind][method] = errors.numpy()
            if errors.ndim != 2 or (errors.shape[1] != n if kind == "size" else not 0 < errors.shape[1] <= n):
                raise ValueError(f"{key} is not of {n} images")
        return Subsets(about["blocks"], kinds["left_out"], kinds["size"], about["starts"], about["atoms"])


def _mean_basis(bases: pd.DataFrame) -> pd.DataFrame:
    """One row per image and level with the mean errors over bases: NaN if one of them is, unlike pandas' means."""
    ordered = bases.sort_values(["basis", "atoms", "image"])
    many = max(ordered["basis"].nunique(), 1)
    mean = ordered[: len(ordered) // many].copy()
    for metric in metrics():
        mean[metric] = ordered[metric].to_numpy(np.float64).reshape(many, -1).mean(axis=0)
    return mean
