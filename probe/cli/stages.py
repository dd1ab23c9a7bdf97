"""``probe attractors|dictionary|reconstruct|report RUN_DIR``: one stage of a run."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from probe.cli.options import Json, RunDir
from probe.cli.run import show

if TYPE_CHECKING:
    from pathlib import Path

    from jobs.stages import Stages


def attractors(run_dir: RunDir, as_json: Json = False) -> None:
    """Iterate every start that is still missing; prints the starts by outcome."""
    stages = _stages(run_dir)
    stages.attractors()
    _print(stages.end_points().counts(), as_json)


def dictionary(run_dir: RunDir, as_json: Json = False) -> None:
    """Merge the end points into atoms and certify them; prints the counts."""
    stages = _stages(run_dir)
    stages.dictionary()
    _print(stages.dictionary_summary(), as_json)


def reconstruct(run_dir: RunDir, as_json: Json = False) -> None:
    """Solve the sparse reconstructions that are still missing; prints the images used per data set."""
    stages = _stages(run_dir)
    stages.reconstruct()
    _print({name: entry["n_used"] for name, entry in stages.run.manifest.get("data", {}).items()}, as_json)


def report(run_dir: RunDir, as_json: Json = False) -> None:
    """Write the report again from the results; prints the 5 % table."""
    show(_stages(run_dir).report(), as_json)


def _stages(path: "Path") -> "Stages":
    from jobs.run_directory import RunDirectory

    run = RunDirectory.open(path)

    from jobs.stages import Stages

    return Stages(run)


def _print(values: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        print(json.dumps(values, indent=1))
    else:
        for key, value in values.items():
            print(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
