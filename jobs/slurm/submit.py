"""From a directory and a cluster profile to jobs in the queue: one script per stage, each after the one before."""

import json
import logging
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateNotFound

from jobs.directory import Directory
from jobs.kinds import KINDS, Kind
from jobs.provenance import now
from jobs.slurm import scheduler
from jobs.slurm.profile import STAGES, ClusterProfile, Resources
from jobs.stage import Stage
from probe.errors import Failure, UserError
from probe.files import write_atomically
from probe.reading import Unreadable, read_object, short
from probe.results.layout import LOGS, SLURM, SLURM_JOBS, SLURM_SCRIPT
from probe.trust import code_of

SHIPPED = Path(__file__).parent
"""The folder of the default template."""
log = logging.getLogger("probe")


def resources(kind: Kind, config: Any, profile: ClusterProfile) -> dict[Stage, Resources]:
    """What the job of each stage asks for, in order; ``array`` is the number of tasks where it is an array. Where the
    tasks of a stage leave, the last one does what comes after.

    Raises:
        UserError: as ``ClusterProfile.of``.
    """
    asked = {}
    for stage in kind.stages:
        wanted = profile.of(stage.name, stage.gpu)
        if stage.array and (stage.leaves or wanted.array):
            asked[stage] = wanted.as_array(stage.array(config))
        else:
            asked[stage] = wanted.model_copy(update={"array": None})
        if stage.leaves:
            break
    return asked


def render(run: Directory[Any], profile: ClusterProfile, folder: Path) -> dict[str, str]:
    """The sbatch script of every stage.

    Args:
        folder: of the profile, and of its template if it has its own.

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
    path, kind = str(run.path.resolve()), _kind_of(run)
    try:
        template = environment.get_template(profile.template)
        # The user who submits has named the code; a compute node need not see the note of that in their home.
        trust_code = any(code_of(model) is not None for model in kind.models(run.config))
        scripts = {}
        for stage, wanted in resources(kind, run.config, profile).items():
            content = {**wanted.model_dump(exclude={"options"}), "options": wanted.sbatch_options()}
            scripts[stage.name] = template.render(
                stage=stage.name,
                run_dir=path,
                shared=wanted.array is not None,
                leaves=stage.leaves,
                trust_code=trust_code,
                **content,
            )
    except TemplateNotFound as error:
        raise UserError(
            f"template {error.name!r} is not in {folder}; put it beside the cluster profile, or leave out `template` "
            "to use the default."
        ) from None
    except Exception as error:  # the user's own template may do anything
        reason = str(error) or type(error).__name__
        raise UserError(f"template {profile.template} (cluster profile in {folder}) is wrong: {reason}.") from None
    return scripts


def submit(run: Directory[Any], profile: ClusterProfile, folder: Path) -> dict[str, str]:
    """Write the scripts into the directory and submit them; each job starts when the one before has succeeded.

    Returns:
        Job ids by stage.

    Raises:
        UserError: jobs of this directory are still in the queue; or Slurm refuses one, and none stays in the queue; or
            Slurm cannot use the path.
    """
    if "\\" in str(run.path.resolve()):
        raise UserError(
            f"{run.path}: Slurm cannot write logs to a path with a backslash; choose another folder with --out."
        )
    waiting = unfinished(run.path)
    if waiting:
        raise UserError(
            f"{run.path} has jobs in the queue ({', '.join(waiting)}); wait for them, or run `probe cancel {run.path}`."
        )
    scripts, asked = render(run, profile, folder), resources(_kind_of(run), run.config, profile)
    jobs: dict[str, str] = {}
    before = ""
    (run.path / LOGS).mkdir(exist_ok=True)
    for number, ((stage, script), wanted) in enumerate(zip(scripts.items(), asked.values(), strict=True)):
        file = run.path.resolve() / SLURM_SCRIPT.at(number=number, stage=stage)
        write_atomically(file, script)
        after = [f"--dependency={before}", "--kill-on-invalid-dep=yes"] if before else []
        output = str((run.path / LOGS).resolve()).replace("%", "%%") + f"/slurm-%j-{stage}.log"
        options = [f"--job-name={scheduler.job_name(stage)}", f"--output={output}", f"--chdir={os.getcwd()}", *after]
        try:
            jobs[stage] = scheduler.submit(str(file), options)
        except BaseException:
            try:
                scheduler.cancel(list(jobs.values()))
            except (UserError, Failure) as error:  # the first error is the one to report
                log.warning(f"{error} Still in the queue: {', '.join(jobs.values())}")
            raise
        before = _done(jobs[stage], wanted.array)
    write_atomically(run.path / SLURM_JOBS, json.dumps({"jobs": jobs, "submitted": now()}))
    return jobs


def _kind_of(run: Directory[Any]) -> Kind:
    return next(kind for kind in KINDS if isinstance(run, kind.directory))


def _done(job: str, tasks: int | None) -> str:
    """What the next job waits for: the end of a job, or of the first task of an array, since that leaves nothing to do;
    tasks that were cancelled or killed, or have not started, do not matter then."""
    if tasks is None:
        return f"afterok:{job}"
    return "?".join(f"afterok:{job}_{task}" for task in range(tasks))


def cancel(path: Path) -> list[str]:
    """Cancel the jobs of a directory; the ids of those that were still in the queue.

    Raises:
        UserError: nothing was submitted.
    """
    there = unfinished(path)
    if not there and not (path / SLURM_JOBS).is_file():
        raise UserError(f"{path} has no jobs: it was not submitted with `probe submit`.")
    scheduler.cancel(there)
    return there


def unfinished(path: Path) -> list[str]:
    """The jobs of a directory that are waiting or running; none without Slurm.

    Raises:
        Failure: Slurm does not answer.
    """
    return at_work(path, scheduler.queue(STAGES) or ()) if (path / SLURM).is_dir() else []


def at_work(path: Path, tasks: Iterable[scheduler.Task]) -> list[str]:
    """Those of these jobs that are of a directory, and wait or run: the submitted ones, and any with a script of it, as
    a submission that was killed before it could note them leaves behind."""
    jobs, scripts = submitted(path).get("jobs", {}).values(), f"{(path / SLURM).resolve()}/"
    ours = (task for task in tasks if task.job in jobs or task.script.startswith(scripts))
    return list(dict.fromkeys(task.job for task in ours if not scheduler.is_over(task.state)))


def submitted(path: Path) -> dict[str, Any]:
    """The last submission: job ids by stage, and its time; empty if there is none.

    Raises:
        Unreadable: the file has another content.
    """
    file = path / SLURM_JOBS
    if not file.exists():
        return {}
    content = read_object(file)
    jobs = content.get("jobs", {})
    if not isinstance(jobs, dict) or not all(isinstance(job, str) for job in jobs.values()):
        raise Unreadable(file, f"its entry jobs must be job ids by stage, not {short(jobs)}")
    return content
