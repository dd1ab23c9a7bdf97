"""``probe submit CONFIG --cluster FILE`` and ``probe cancel RUN_DIR``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from probe.cli.options import ConfigFile, Json, Out, Overrides, RunDir, TrustCode
from probe.names import given_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobs.run.directory import RunDirectory
    from jobs.study.directory import StudyDirectory


def submit(
    config: ConfigFile,
    cluster: Annotated[
        Path, typer.Option(metavar="FILE", help="Cluster profile, for example slurm/example.yaml.", parser=given_path)
    ],
    overrides: Overrides = None,
    out: Out = None,
    trust_code: TrustCode = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the scripts, and submit nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a run or study to Slurm, a job per stage; prints the job ids. Rerun it to resume after a stop.

    A study's models are an array of tasks that share them.
    """
    from jobs.lock import exclusive
    from jobs.slurm.profile import load_profile
    from jobs.slurm.submit import render
    from jobs.slurm.submit import submit as send
    from probe.trust import is_in_run_directory, must_be_trusted, remember

    run = _described(config, overrides or (), out or Path("runs") / config.stem)
    profile = load_profile(cluster)
    if run.NOUN == "run":
        if is_in_run_directory(config) and not trust_code:
            must_be_trusted(run.config.model, config.parent)
        remember(run.config.model)
    if dry_run:
        scripts = render(run, profile, cluster.parent)
        print(json.dumps(scripts, indent=1) if as_json else "\n".join(scripts.values()))
        return
    run.refuse_foreign(run.path)
    with exclusive(run.path):
        jobs = send(run.begun(), profile, cluster.parent)
    if as_json:
        print(json.dumps(jobs, indent=1))
    else:
        print("\n".join(f"{stage}: {job}" for stage, job in jobs.items()))


def _described(config: Path, overrides: "Iterable[str]", path: Path) -> "RunDirectory | StudyDirectory":
    """The run or study that a file describes, not yet begun."""
    from jobs.run.directory import RunDirectory, resolved
    from jobs.study.directory import StudyDirectory
    from probe.config import load_config
    from probe.kinds import kind_of
    from probe.report.study.kinds import load_study_config

    if kind_of(config) == "study":
        return StudyDirectory(path, load_study_config(config, overrides))
    return RunDirectory(path, resolved(load_config(config, overrides)))


def cancel(run_dir: RunDir, as_json: Json = False) -> None:
    """Cancel a run's or study's jobs in Slurm's queue; prints their ids. `probe submit` goes on with what is there."""
    from jobs.run.directory import RunDirectory
    from jobs.slurm.submit import cancel as withdraw
    from jobs.study.directory import StudyDirectory
    from probe.kinds import kind_of

    jobs = withdraw((StudyDirectory if kind_of(run_dir) == "study" else RunDirectory).open(run_dir).path)
    print(json.dumps(jobs) if as_json else f"cancelled: {', '.join(jobs) or 'nothing, no job was in the queue'}")
