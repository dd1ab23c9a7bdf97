"""``probe submit CONFIG --cluster FILE`` and ``probe cancel RUN_DIR``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from probe.cli.options import ConfigFile, Json, Out, Overrides, RunDir


def submit(
    config: ConfigFile,
    cluster: Annotated[Path, typer.Option(metavar="FILE", help="Cluster profile, for example slurm/example.yaml.")],
    overrides: Overrides = None,
    out: Out = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the scripts, and submit nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a run to Slurm, a job per stage; prints the job ids. The same command goes on with a stopped run."""
    from jobs.lock import exclusive
    from jobs.run_directory import RunDirectory, is_free, resolved
    from jobs.slurm.profile import load_profile
    from jobs.slurm.submit import render
    from jobs.slurm.submit import submit as send
    from probe.config import load_config
    from probe.errors import UserError

    settings = load_config(config, overrides or ())
    profile = load_profile(cluster)
    path = out or Path("runs") / config.stem
    if dry_run:
        scripts = render(RunDirectory(path, resolved(settings)), profile, cluster.parent)
        print(json.dumps(scripts, indent=1) if as_json else "\n".join(scripts.values()))
        return
    if not (path / "config.yaml").exists() and not is_free(path):
        raise UserError(f"{path} exists and is no run directory; choose another folder with --out.")
    with exclusive(path):
        jobs = send(RunDirectory.create(path, settings), profile, cluster.parent)
    if as_json:
        print(json.dumps(jobs, indent=1))
    else:
        print("\n".join(f"{stage}: {job}" for stage, job in jobs.items()))


def cancel(run_dir: RunDir, as_json: Json = False) -> None:
    """Cancel a run's jobs in Slurm's queue; prints their ids. `probe submit` goes on with what is there."""
    from jobs.run_directory import RunDirectory
    from jobs.slurm.submit import cancel as withdraw

    jobs = withdraw(RunDirectory.open(run_dir).path)
    print(json.dumps(jobs) if as_json else f"cancelled: {', '.join(jobs) or 'nothing, no job was in the queue'}")
