"""Whether runs may be compared, and in what they differ.

What must agree: the resolution, the names of the data sets and their images (by SHA-256, whatever their address), the
methods, the coordinates of the latents, and the levels of sparsity. Levels are compared as fractions of d: runs of one
d must have the same, runs of different d are compared at those that they share. All else may differ, and is listed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.errors import UserError
from probe.names import shown
from probe.report.compare.schema import Setting
from probe.report.run.read import read_report
from probe.report.run.schema import Report
from probe.results.run import Results, read_results

FIVE = 0.05
SHOWN = 3
"""Keys that a refusal names."""


@dataclass(frozen=True)
class Run:
    """A finished run: its results and its report."""

    name: str
    path: Path
    results: Results
    report: Report

    @property
    def levels(self) -> dict[float, int]:
        """Atoms by fraction of d; the level that stands for 5 % is 0.05, whatever it was rounded to."""
        sparse, d = self.results.config.sparse, self.report.model.d
        stated = {round(level * d): level for level in sparse.levels if isinstance(level, float)}
        five = sparse.five_percent(d)
        return {FIVE if atoms == five else stated.get(atoms, atoms / d): atoms for atoms in sparse.atoms(d)}

    def images(self, dataset: str) -> str | None:
        """SHA-256 of the images of a data set; None if it was not recorded."""
        found: str | None = self.results.manifest["data"][dataset].get("sha256")
        return found

    def same_images(self, other: "Run", dataset: str) -> bool:
        """Whether both used the same images; unrecorded ones are not."""
        return self.images(dataset) is not None and self.images(dataset) == other.images(dataset)

    def same_latents(self, other: "Run") -> bool:
        """Whether latents have one shape; that they are raw or scaled in both is a matter of the protocol."""
        return self.report.model.latent_shape == other.report.model.latent_shape

    def same_weights(self, other: "Run") -> bool:
        """Whether both are known to be one model; a user's model without weights has no hash."""
        mine = self.report.model.weights_sha256
        return mine is not None and mine == other.report.model.weights_sha256


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read run directories; a name is the folder's, or its path where two would have one name.

    Raises:
        UserError: fewer than two, one named twice, or one that is not finished.
    """
    if len(paths) < 2 or len({path.resolve() for path in paths}) < len(paths):
        raise UserError("a comparison needs two run directories or more, each named once; give their folders.")
    short = [path.resolve().name for path in paths]
    names = [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]
    return [
        Run(shown(name), path, read_results(path), read_report(path)) for name, path in zip(names, paths, strict=True)
    ]


def check(runs: Sequence[Run], *, unpaired: bool = False) -> None:
    """Refuse runs of different protocols.

    Args:
        unpaired: data sets of one name may hold other images.

    Raises:
        UserError: they differ; the sentence names the first keys and what they are in both runs.
    """
    first = runs[0]
    for run in runs[1:]:
        mine, others = (_protocol(one, first.report.model.d == run.report.model.d, unpaired) for one in (first, run))
        shared = mine.keys() & others.keys()  # a data set that one lacks is named by the key datasets
        found = [key for key in mine if key in shared and mine[key] != others[key]]
        if found:
            named = [f"{key} ({_short(mine[key])} and {_short(others[key])})" for key in found[:SHOWN]]
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            hint = ""
            if all(key.startswith("images of ") for key in found):
                hint = ", or add --unpaired to compare data sets of one name on other images"
            raise UserError(
                f"runs {first.path} and {run.path} have not one protocol: they differ in {', '.join(named)}{more}; "
                f"compare runs in which these agree{hint}."
            )


def _protocol(run: Run, same_d: bool, unpaired: bool) -> dict[str, Any]:
    """What must agree, by key."""
    config = run.results.config
    asked: dict[str, Any] = {
        "resolution": config.resolution,
        "model.latents": config.model.latents,
        "model.quantisation": config.model.quantisation,
        "sparse.controls": sorted(config.sparse.controls),
        "datasets": sorted(run.results.datasets),
    }
    if same_d:
        asked["sparse.levels"] = sorted(run.levels.values())
    if not unpaired:
        # Images without a hash are like no others.
        asked |= {f"images of {name}": run.images(name) or f"unknown in {run.path}" for name in run.results.datasets}
    return asked


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) < 60 else text[:12] + "..."


def shared_levels(runs: Sequence[Run]) -> tuple[list[float], list[float]]:
    """Fractions of d that all runs have, and those that only some have."""
    sets = [set(run.levels) for run in runs]
    shared = set.intersection(*sets)
    return sorted(shared), sorted(set.union(*sets) - shared)


def differences(runs: Sequence[Run]) -> list[Setting]:
    """Every setting, and every fact of the manifest that bears on numbers, in which the runs differ."""
    facts = [_facts(run) for run in runs]
    keys = dict.fromkeys(key for one in facts for key in one)
    rows = [Setting(key=key, values=[_text(one.get(key)) for one in facts]) for key in keys]
    return [row for row in rows if len(set(row.values)) > 1]


def _facts(run: Run) -> dict[str, Any]:
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
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)
