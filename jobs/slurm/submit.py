"""From a run or study and a cluster profile to jobs in the queue: a script per stage, each after the one before."""

import json
import logging
import os
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateNotFound

from jobs.directory import Directory
from jobs.kinds import KINDS
from jobs.provenance import now
from jobs.slurm import scheduler
from jobs.slurm.profile import ClusterProfile
from probe.errors import Failure, UserError
from probe.files import write_atomically
from probe.reading import Unreadable, read_object, short
from probe.trust import code_of

JOBS = "slurm/jobs.json"
SHIPPED = Path(__file__).parent
"""Where the template is that serves a profile with none beside it."""
log = logging.getLogger("probe")


def render(run: Directory[Any], profile: ClusterProfile, folder: Path) -> dict[str, str]:
    """The sbatch script of every stage.

    Args:
        folder: where the profile is, and its template if it has one of its own.

    Raises:
        UserError: the template is missing or wrong.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, SHIPPED]),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quote"] = shlex.quote
    path, kind = str(run.path.resolve()), next(kind for kind in KINDS if isinstance(run, kind.directory))
    try:
        template = environment.get_template(profile.template)
        # The user who submits has named the code; a compute node need not see the note of that in their home.
        model = kind.model(run.config)
        trust_code = model is not None and code_of(model) is not None
        scripts = {}
        for stage in kind.stages:
            wanted, shared = profile.of(stage.name, stage.gpu), stage.array is not None
            if stage.array:
                wanted = wanted.as_array(stage.array(run.config))
            content = {**wanted.model_dump(exclude={"options"}), "options": wanted.sbatch_options()}
            scripts[stage.name] = template.render(
                stage=stage.name, run_dir=path, shared=shared, trust_code=trust_code, **content
            )
            if shared:  # the last task of the array does the rest
                break
    except TemplateNotFound as error:
        raise UserError(
            f"template {error.name!r} is not in {folder}; put it beside the cluster profile, or leave out `template` "
            "to use the one that is shipped."
        ) from None
    except Exception as error:  # a template of the user's may do anything
        reason = str(error) or type(error).__name__
        raise UserError(f"template {profile.template} (cluster profile in {folder}) is wrong: {reason}.") from None
    return scripts


def submit(run: Directory[Any], profile: ClusterProfile, folder: Path) -> dict[str, str]:
    """Write the scripts into the run directory and submit them, each to begin when the one before has succeeded.

    Returns:
        Job ids by stage.

    Raises:
        UserError: jobs of this run are still in the queue, or Slurm refuses one (then none stays in the queue), or the
            path of the run is none for Slurm.
    """
    if "\\" in str(run.path.resolve()):
        raise UserError(
            f"{run.path}: Slurm cannot write logs below a path with a backslash; choose another with --out."
        )
    waiting = unfinished(run.path)
    if waiting:
        raise UserError(
            f"{run.path} has jobs in the queue ({', '.join(waiting)}); wait for them, or run `probe cancel {run.path}`."
        )
    scripts = render(run, profile, folder)
    jobs: dict[str, str] = {}
    (run.path / "logs").mkdir(exist_ok=True)
    for number, (stage, script) in enumerate(scripts.items()):
        file = run.path.resolve() / "slurm" / f"{number}-{stage}.sbatch"
        write_atomically(file, script)
        after = [f"--dependency=afterok:{list(jobs.values())[-1]}", "--kill-on-invalid-dep=yes"] if jobs else []
        output = str((run.path / "logs").resolve()).replace("%", "%%") + f"/slurm-%j-{stage}.log"
        options = [f"--job-name={scheduler.job_name(stage)}", f"--output={output}", f"--chdir={os.getcwd()}", *after]
        try:
            jobs[stage] = scheduler.submit(str(file), options)
        except BaseException:
            _withdraw(list(jobs.values()))
            raise
    write_atomically(run.path / JOBS, json.dumps({"jobs": jobs, "submitted": now()}))
    return jobs


def _withdraw(jobs: list[str]) -> None:
    """Take back what was submitted, in the course of another error, which is the one to be told."""
    try:
        scheduler.cancel(jobs)
    except (UserError, Failure) as error:
        log.warning(f"{error} Still in the queue: {', '.join(jobs)}")


def cancel(path: Path) -> list[str]:
    """Cancel the jobs of a run; the ids of those that were still in the queue.

    Raises:
        UserError: the run was not submitted from here.
    """
    if not (path / JOBS).is_file():
        raise UserError(f"{path} has no jobs: it was not submitted with `probe submit`.")
    there = unfinished(path)
    scheduler.cancel(there)
    return there


def unfinished(path: Path) -> list[str]:
    """The jobs of a run that are waiting or running; none where there is no Slurm.

    Raises:
        Failure: Slurm does not answer, and so it is not known.
    """
    jobs = submitted(path).get("jobs", {})
    known = scheduler.states(jobs) or {}
    return [job for job in jobs.values() if job in known and not scheduler.is_over(known[job][0])]


def submitted(path: Path) -> dict[str, Any]:
    """What was submitted last: job ids by stage, and when; empty if nothing was.

    Raises:
        Unreadable: there is a file, and it does not say that.
    """
    file = path / JOBS
    if not file.exists():
        return {}
    content = read_object(file)
    jobs = content.get("jobs", {})
    if not isinstance(jobs, dict) or not all(isinstance(job, str) for job in jobs.values()):
        raise Unreadable(file, f"its entry jobs must be job ids by stage, not {short(jobs)}")
    return content
