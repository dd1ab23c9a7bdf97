"""``probe attractors|dictionary|reconstruct|report RUN_DIR``: one stage of a run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import Json, Out, Overrides, RunDir, TrustCode
from probe.cli.run import show
from probe.errors import UserError
from probe.names import given_path

if TYPE_CHECKING:
    from jobs.run.stages import Stages
    from probe.config import Config


def images(
    run_dir: Annotated[
        Path,
        typer.Argument(metavar="RUN_DIR|CONFIG", help="Folder of a run, or the YAML file of one.", parser=given_path),
    ],
    overrides: Overrides = None,
    out: Out = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Draw the images of every data set, for compute nodes that cannot reach the hub; prints how many per data set.

    With a CONFIG the run begins here; `probe run` with the same CONFIG, --set and --out continues it.
    """
    settings = None
    if run_dir.is_dir():
        if overrides or out:
            raise UserError(f"{run_dir} is a folder, whose settings are fixed; --set and --out go with a CONFIG.")
    else:
        settings, run_dir = _config(run_dir, overrides or []), out or Path("runs") / run_dir.stem

    def do(stages: "Stages") -> dict[str, int]:
        stages.images()
        return _images(stages)

    _work(run_dir, do, trust_code, as_json, settings)


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


def _config(file: Path, overrides: list[str]) -> "Config":
    from probe.config import parse_config, read_yaml
    from probe.kinds import kind

    raw = read_yaml(file, overrides)
    if (found := kind(raw)) != "run":
        raise UserError(
            f"{file} is the configuration of `probe {found}`, which draws its own images; run that instead."
        )
    return parse_config(raw)


def _work(  # type: ignore[no-untyped-def]
    run_dir: RunDir, do, trust_code: bool, as_json: bool, config: "Config | None" = None
) -> None:
    from jobs.worker import work

    values: Mapping[str, object]
    values, world = work(run_dir, do, config, trusted=trust_code)
    if world.rank:
        return
    if as_json:
        print(json.dumps(values, indent=1))
    else:
        for key, value in values.items():
            print(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
