"""Whether runs can be compared (see ``probe.report.protocol``), and how they differ.

Levels are compared as fractions of d: runs with the same d must have the same levels, other runs are compared at those
that they share.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.errors import UserError
from probe.names import shown
from probe.report import protocol
from probe.report.compare.schema import Setting
from probe.report.page.text import listed
from probe.report.run.schema import Report, read_report
from probe.results.run import Results, read_results


@dataclass(frozen=True)
class ComparedRun:
    """A finished run: its results and its report."""

    name: str
    path: Path
    results: Results
    report: Report

    @property
    def levels(self) -> dict[float, int]:
        """Atoms by fraction of d; see ``probe.report.protocol``."""
        return protocol.levels(self.results.config.sparse, self.report.model.d)

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
        if found := protocol.differing(mine, others):
            named = protocol.told(found, mine, others)
            images = all(key.startswith("images of ") for key in found)
            hint = ", or add --unpaired to compare on different images" if images else ""
            if "datasets" in found and shared_sets:
                hint = f", or add --common to compare on {listed(shared_sets)}"
            raise UserError(
                f"runs {first.path} and {run.path} used different protocols: they differ in {named}; "
                f"compare runs with equal settings{hint}."
            )


def common_datasets(runs: Sequence[ComparedRun]) -> list[str]:
    """Names of the data sets that all runs have, in the order of the first."""
    return [name for name in runs[0].results.datasets if all(name in run.results.datasets for run in runs)]


def _protocol(run: ComparedRun, same_d: bool, unpaired: bool, only: Sequence[str] | None) -> dict[str, Any]:
    """What must be equal, by key; with ``only``, on these data sets."""
    datasets = run.results.datasets if only is None else only
    asked = protocol.comparable(run.results.config, datasets)
    if same_d:
        asked["sparse.levels"] = sorted(run.levels.values())
    if not unpaired:
        asked |= protocol.images({name: run.images(name) for name in datasets}, run.path)
    return asked


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
        **protocol.flat(run.results.config.settings()),
        **{f"images of {name} (sha256)": entry.get("sha256") for name, entry in manifest["data"].items()},
        **{key.replace("_", " "): manifest.get(key) for key in ("git_revision", "device", "dtype", "world_size")},
        **{f"version of {name}": version for name, version in manifest["versions"].items()},
    }


def _text(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)
