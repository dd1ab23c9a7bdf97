"""``probe submit CONFIG --cluster FILE`` and ``probe cancel RUN_DIR``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.launch import print_rows
from probe.cli.options import ConfigFile, Json, Out, Overrides, RunDir, TrustCode
from probe.names import given_path


def submit(
    config: ConfigFile,
    cluster: Annotated[
        Path, typer.Option(metavar="FILE", help="Cluster profile, for example slurm/example.yaml.", parser=given_path)
    ],
    overrides: Overrides = None,
    out: Out = None,
    trust_code: TrustCode = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the scripts and submit nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a run, study or OOD experiment to Slurm.

    Submits one job per stage and prints the job ids; the models of a study are shared by an array of tasks. Rerun the
    same command to resume.
    """
    from jobs.kinds import kind_of
    from jobs.lock import exclusive
    from jobs.slurm.profile import load_profile
    from jobs.slurm.submit import render
    from jobs.slurm.submit import submit as send
    from probe.config import read_yaml
    from probe.trust import is_in_run_directory, must_be_trusted, remember

    kind = kind_of(config)
    settings = kind.directory.parse(read_yaml(config, overrides or ()))
    directory = kind.directory(out or Path("runs") / config.stem, settings)
    profile = load_profile(cluster)
    if model := kind.model(settings):
        if is_in_run_directory(config) and not trust_code:
            must_be_trusted(model, config.parent)
        remember(model)
    if dry_run:
        scripts = render(directory, profile, cluster.parent)
        print(json.dumps(scripts, indent=1) if as_json else "\n".join(scripts.values()))
        return
    directory.refuse_foreign(directory.path)
    with exclusive(directory.path):
        jobs = send(kind.directory.create(directory.path, settings), profile, cluster.parent)
    print_rows(jobs, as_json)


def cancel(run_dir: RunDir, as_json: Json = False) -> None:
    """Cancel the Slurm jobs of a run, study or OOD experiment.

    Prints their ids. `probe submit` with the same CONFIG and --out resumes.
    """
    from jobs.kinds import kind_of
    from jobs.slurm.submit import cancel as withdraw

    jobs = withdraw(kind_of(run_dir).directory.open(run_dir).path)
    print(json.dumps(jobs) if as_json else f"cancelled: {', '.join(jobs) or 'nothing; no job was in the queue'}")
