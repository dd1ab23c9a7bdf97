"""``probe attractors|dictionary|reconstruct|report RUN_DIR``: one stage of a run."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from probe.cli.options import Json, RunDir, TrustCode
from probe.cli.run import show

if TYPE_CHECKING:
    from jobs.stages import Stages


def images(run_dir: RunDir, trust_code: TrustCode = False, as_json: Json = False) -> None:
    """Draw the images of every data set, for compute nodes that cannot reach the hub; prints how many per data set."""

    def do(stages: "Stages") -> dict[str, int]:
        stages.images()
        return _images(stages)

    _work(run_dir, do, trust_code, as_json)


def attractors(run_dir: RunDir, trust_code: TrustCode = False, as_json: Json = False) -> None:
    """Iterate every start that is still missing; prints the starts by outcome."""

    def do(stages: "Stages") -> dict[str, int]:
        stages.attractors()
        return stages.end_points().counts()

    _work(run_dir, do, trust_code, as_json)


def dictionary(run_dir: RunDir, trust_code: TrustCode = False, as_json: Json = False) -> None:
    """Merge the end points into atoms and certify them; prints the counts."""

    def do(stages: "Stages") -> dict[str, object]:
        stages.dictionary()
        return stages.dictionary_summary()

    _work(run_dir, do, trust_code, as_json)


def reconstruct(run_dir: RunDir, trust_code: TrustCode = False, as_json: Json = False) -> None:
    """Solve the sparse reconstructions that are still missing; prints the images used per data set."""

    def do(stages: "Stages") -> dict[str, int]:
        stages.reconstruct()
        return _images(stages)

    _work(run_dir, do, trust_code, as_json)


def report(run_dir: RunDir, as_json: Json = False) -> None:
    """Write the report again from the results; prints the 5 % table."""
    from jobs.worker import work

    made, world = work(run_dir, lambda stages: stages.report())
    if world.rank == 0:
        show(made, as_json)


def _images(stages: "Stages") -> dict[str, int]:
    return {name: entry["n_used"] for name, entry in stages.run.manifest.get("data", {}).items()}


def _work(run_dir: RunDir, do, trust_code: bool, as_json: bool) -> None:  # type: ignore[no-untyped-def]
    from jobs.worker import work

    values: Mapping[str, object]
    values, world = work(run_dir, do, trusted=trust_code)
    if world.rank:
        return
    if as_json:
        print(json.dumps(values, indent=1))
    else:
        for key, value in values.items():
            print(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
