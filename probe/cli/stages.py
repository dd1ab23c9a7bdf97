"""``probe images|attractors|dictionary|reconstruct|report``: one stage of a run, study or OOD experiment."""

from pathlib import Path
from typing import Annotated, Any

import typer

from probe.cli import ood, run, study
from probe.cli.launch import print_report, print_rows
from probe.cli.options import Json, Out, Overrides, RunDir, TrustCode
from probe.errors import UserError
from probe.names import given_path


def images(
    run_dir: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR|CONFIG",
            help="A run directory or a configuration file.",
            parser=given_path,
        ),
    ],
    overrides: Overrides = None,
    out: Out = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Draw the images of every data set, and nothing more.

    For compute nodes without internet. Prints the number of images per data set. With a CONFIG the work begins here;
    `probe run`, `study` or `ood` with the same CONFIG, --set and --out continues it.
    """
    if run_dir.is_dir() and (overrides or out):
        raise UserError(f"{run_dir} is a folder, and its configuration is fixed; --set and --out go with a CONFIG.")
    if run_dir.is_dir():
        _stage("images", run_dir, trust_code, as_json)
        return
    from jobs.kinds import kind_of
    from probe.config import read_yaml
    from probe.trust import is_in_run_directory

    settings = kind_of(run_dir).directory.parse(read_yaml(run_dir, overrides or ()))
    trusted = trust_code or not is_in_run_directory(run_dir)
    _stage("images", out or Path("runs") / run_dir.stem, trusted, as_json, settings, run_dir)


def attractors(run_dir: RunDir, trust_code: TrustCode = False, as_json: Json = False) -> None:
    """Iterate the starts that are still missing.

    Prints the number of starts by outcome.
    """
    _stage("attractors", run_dir, trust_code, as_json)


def dictionary(run_dir: RunDir, trust_code: TrustCode = False, as_json: Json = False) -> None:
    """Merge the end points into atoms and certify them.

    Prints the counts.
    """
    _stage("dictionary", run_dir, trust_code, as_json)


def reconstruct(run_dir: RunDir, trust_code: TrustCode = False, as_json: Json = False) -> None:
    """Solve the sparse reconstructions that are still missing.

    Prints the number of images used per data set.
    """
    _stage("reconstruct", run_dir, trust_code, as_json)


def report(run_dir: RunDir, as_json: Json = False) -> None:
    """Write the report again from the results.

    Prints its table. For a run, study or OOD experiment.
    """
    from jobs.kinds import kind_of
    from jobs.worker import work

    kind = kind_of(run_dir)
    made, world = work(run_dir, kind, kind.stage("report").do)
    if world.rank == 0:
        show = {"run": run.show, "study": study.show, "ood": ood.show}[kind.name]
        print_report(made, show, as_json)


def _stage(
    name: str, path: Path, trusted: bool, as_json: bool, settings: Any = None, config: Path | None = None
) -> None:
    """Do one stage, and print its summary.

    Args:
        settings, config: begin the work, and the file that they were read from.
    """
    from jobs.kinds import kind_of
    from jobs.worker import work

    kind = kind_of(config or path)
    stage = kind.stage(name)

    def do(its: Any) -> Any:
        stage.do(its)
        return stage.summary(its) if stage.summary else {}

    values, world = work(path, kind, do, settings, trusted=trusted)
    if world.rank == 0:
        print_rows(values, as_json)
