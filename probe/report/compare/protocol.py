"""Whether runs can be compared, and how they differ.

What must be equal: the resolution, the names of the data sets and their images (by SHA-256, wherever they come from),
the methods, the coordinates of the latents, and the levels of sparsity. Levels are compared as fractions of d: runs
with the same d must have the same levels, other runs are compared at those that they share. Everything else may
differ, and is listed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.errors import UserError
from probe.methods import BASELINE
from probe.names import shown
from probe.report.compare.schema import FIVE, Setting
from probe.report.page.text import listed
from probe.report.run.build import read_report
from probe.report.run.schema import Report
from probe.results.run import Results, read_results

SHOWN = 3
"""Keys named by an error."""


@dataclass(frozen=True)
class ComparedRun:
    """A finished run: its results and its report."""

    name: str
    path: Path
    results: Results
    report: Report

    @property
    def levels(self) -> dict[float, int]:
        """Atoms by fraction of d; the level for 5 % has the key 0.05, whatever it was rounded to."""
        sparse, d = self.results.config.sparse, self.report.model.d
        stated = {round(level * d): level for level in sparse.levels if isinstance(level, float)}
        five = sparse.five_percent(d)
        return {FIVE if atoms == five else stated.get(atoms, atoms / d): atoms for atoms in sparse.atoms(d)}

    def images(self, dataset: str) -> str | None:
        """SHA-256 of the images of a data set; None if it was not recorded."""
        found: str | None = self.results.manifest["data"][dataset].get("sha256")
        return found

    def same_images(self, other: "ComparedRun", dataset: str) -> bool:
        """Whether both used the same images; False if they were not recorded."""
        return self.images(dataset) is not None and self.images(dataset) == other.images(dataset)

    def same_latents(self, other: "ComparedRun") -> bool:
        """Whether the latents have the same shape; ``check`` compares whether they are raw or scaled."""
        return self.report.model.latent_shape == other.report.model.latent_shape

    def same_starts(self, other: "ComparedRun") -> bool:
        """Whether start i is the same noise in both, as far as both have it."""
        mine, its = self.results.config.seeds, other.results.config.seeds
        return self.same_latents(other) and mine.seed == its.seed

    def same_weights(self, other: "ComparedRun") -> bool:
        """Whether the weights are known to be equal; a user's model without weights has no hash."""
        mine = self.report.model.weights_sha256
        return mine is not None and mine == other.report.model.weights_sha256


def read_runs(paths: Sequence[Path]) -> list[ComparedRun]:
    """Read run directories; a run's name is that of its folder, or the path if two folders have the same name.

    Raises:
        UserError: fewer than two runs, the same run twice, or an unfinished run.
    """
    if len(paths) < 2 or len({path.resolve() for path in paths}) < len(paths):
        raise UserError("a comparison needs two run directories or more, each given once.")
    short = [path.resolve().name for path in paths]
    names = [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]
    return [
        ComparedRun(shown(name), path, read_results(path), read_report(path))
        for name, path in zip(names, paths, strict=True)
    ]


def check(runs: Sequence[ComparedRun], *, unpaired: bool = False, common: bool = False) -> None:
    """Refuse runs with different protocols.

    Args:
        unpaired: data sets of one name may hold different images.
        common: runs may have different data sets; those that all have are compared.

    Raises:
        UserError: they differ; the sentence names the first keys and their values in both runs.
    """
    first, shared_sets = runs[0], common_datasets(runs)
    if common and not shared_sets:
        raise UserError(
            f"runs {listed([str(run.path) for run in runs])} have no data set in common: nothing to compare."
        )
    for run in runs[1:]:
        same_d = first.report.model.d == run.report.model.d
        mine, others = (_protocol(one, same_d, unpaired, shared_sets if common else None) for one in (first, run))
        shared = mine.keys() & others.keys()  # a data set that one lacks is named by the key datasets
        found = [key for key in mine if key in shared and mine[key] != others[key]]
        if found:
            named = [f"{key} ({_short(mine[key])} and {_short(others[key])})" for key in found[:SHOWN]]
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            images = all(key.startswith("images of ") for key in found)
            hint = ", or add --unpaired to compare on different images" if images else ""
            if "datasets" in found and shared_sets:
                hint = f", or add --common to compare on {listed(shared_sets)}"
            raise UserError(
                f"runs {first.path} and {run.path} used different protocols: they differ in {', '.join(named)}{more}; "
                f"compare runs with equal settings{hint}."
            )


def common_datasets(runs: Sequence[ComparedRun]) -> list[str]:
    """Names of the data sets that all runs have, in the order of the first."""
    return [name for name in runs[0].results.datasets if all(name in run.results.datasets for run in runs)]


def _protocol(run: ComparedRun, same_d: bool, unpaired: bool, only: Sequence[str] | None) -> dict[str, Any]:
    """What must be equal, by key; with ``only``, on these data sets."""
    config = run.results.config
    datasets = run.results.datasets if only is None else only
    asked: dict[str, Any] = {
        "resolution": config.resolution,
        "model.latents": config.model.latents,
        "model.quantisation": config.model.quantisation,
        "sparse.random_bases": config.sparse.random_bases if BASELINE in config.sparse.controls else 0,
        "sparse.centre": config.sparse.centre,
        "datasets": sorted(datasets),
    }
    if same_d:
        asked["sparse.levels"] = sorted(run.levels.values())
    if not unpaired:
        # Images without a hash equal no others.
        asked |= {f"images of {name}": run.images(name) or f"unknown in {run.path}" for name in datasets}
    return asked


def _short(value: Any) -> str:
    text = (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
    return text if len(text) < 60 else text[:12] + "..."


def differences(runs: Sequence[ComparedRun]) -> list[Setting]:
    """Settings, and facts of the manifest that affect numbers, in which the runs differ."""
    facts = [_facts(run) for run in runs]
    keys = dict.fromkeys(key for one in facts for key in one)
    rows = [Setting(key=key, values=[_text(one.get(key)) for one in facts]) for key in keys]
    return [row for row in rows if len(set(row.values)) > 1]


def _facts(run: ComparedRun) -> dict[str, Any]:
    manifest, model = run.results.manifest, run.report.model
    return {
        "model": model.class_,
        "weights sha256": model.weights_sha256,
        "latent shape": list(model.latent_shape),
        **_flat(run.results.config.settings()),
        **{f"images of {name} (sha256)": entry.get("sha256") for name, entry in manifest["data"].items()},
        **{key.replace("_", " "): manifest.get(key) for key in ("git_revision", "device", "dtype", "world_size")},
        **{f"version of {name}": version for name, version in manifest["versions"].items()},
    }


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return flat


def _text(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)
