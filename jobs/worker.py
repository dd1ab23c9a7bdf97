"""One rank of a run or study: ``accelerate launch -m jobs.worker RUN_DIR``; ``probe run`` is the same with one rank.

Exit status: 0 done; 2 a mistake that the user can mend; 1 a failure; 75 stopped by SIGTERM, SIGHUP or SIGUSR1; 130
interrupted (after both, rerun the same command to resume). Another rank's end is this rank's, with the same status.
"""

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from jobs.faults import sentence_of
from jobs.lock import exclusive
from jobs.logs import to_file, to_stderr
from jobs.provenance import now
from jobs.stopping import INTERRUPTED, STATUS, Ended, Stopped, interruptible, stop_on_signals
from jobs.trackers import must_be_installed
from probe.errors import Failure, UserError, leaves
from probe.files import write_atomically
from probe.heap import keep_freed_memory
from probe.names import given_path, printable
from probe.terminal import total_output

if TYPE_CHECKING:
    from jobs.directory import Directory
    from jobs.ood.ood import Ood
    from jobs.run.stages import Stages
    from jobs.study.study import Study
    from jobs.world import World
    from probe.config import Config
    from probe.studies.ood.config import OodConfig
    from probe.studies.sweeps.config import StudyConfig

T = TypeVar("T")
D = TypeVar("D", bound="Directory")
ERROR_FILE = "error.json"
SHARED_PATIENCE = 600.0
"""Seconds that a process of a shared study waits for another to draw the images or write the report."""
log = logging.getLogger("probe")


def work(
    path: Path,
    do: "Callable[[Stages], T]",
    config: "Config | None" = None,
    world_size: int | None = None,
    trusted: bool | None = None,
) -> "tuple[T, World]":
    """Join the other ranks, hold the run directory, and do something with its stages, on all ranks alike.

    Args:
        path: the run directory.
        do: calls stages.
        config: begins the run, or must be that of the run which is there; None: the run must have begun.
        world_size: the number of ranks that there must be; by default what the launcher says.
        trusted: whether the user asked for the code that the model may bring; by default if there is a ``config``.

    Raises:
        UserError, Failure: as the command line reports them, with status 2 and 1.
        Stopped, Ended: status 75, or that of the rank that ended first.
    """
    with stop_on_signals():
        from jobs.run.directory import RunDirectory
        from jobs.run.stages import Stages

        asked = config is not None if trusted is None else trusted
        return _hold(path, lambda run, world: do(Stages(run, world, asked)), RunDirectory, config, world_size)


def work_on_study(
    path: Path, do: "Callable[[Study], T]", config: "StudyConfig | None" = None, world_size: int | None = None
) -> "tuple[T, World]":
    """The same for a study."""
    with stop_on_signals():
        from jobs.study.directory import StudyDirectory
        from jobs.study.study import Study

        return _hold(path, lambda directory, world: do(Study(directory, world)), StudyDirectory, config, world_size)


def work_on_ood(
    path: Path, do: "Callable[[Ood], T]", config: "OodConfig | None" = None, trusted: bool | None = None
) -> "tuple[T, World]":
    """The same for an experiment on OOD detection."""
    with stop_on_signals():
        from jobs.ood.directory import OodDirectory
        from jobs.ood.ood import Ood

        asked = config is not None if trusted is None else trusted
        return _hold(path, lambda directory, world: do(Ood(directory, world, asked)), OodDirectory, config, None)


def share_study(path: Path, config: "StudyConfig | None") -> "dict[str, Any] | None":
    """Work on a study beside other processes that do the same and know nothing of each other (a Slurm array).

    Args:
        config: as for ``work``.

    Returns:
        The report, of the process that finds every model done; None for one that leaves models to others.
    """
    with stop_on_signals(), to_stderr():
        from jobs.study.directory import StudyDirectory
        from jobs.study.study import Study
        from jobs.world import World, number

        StudyDirectory.refuse_foreign(path)
        if config is not None:
            must_be_installed(config.trackers)
        with _explaining(path), exclusive(path, SHARED_PATIENCE):
            study = Study(StudyDirectory.create(path, config) if config else StudyDirectory.open(path))
        with _explaining(path), to_file(path, number("SLURM_ARRAY_TASK_ID", 0)), _keeping_errors(path, World()):
            with exclusive(path, SHARED_PATIENCE):
                study.draw()
            study.models()
            with exclusive(path, SHARED_PATIENCE):
                left = study.missing()
                if left:
                    log.info(f"models in other processes' hands: {len(left)}; the last of them writes the report")
                return None if left else study.report()


def _hold(
    path: Path, do: "Callable[[D, World], T]", kind: type[D], config: Any, world_size: int | None
) -> "tuple[T, World]":
    from jobs.world import World

    settings = config or kind.open(path).unchanged().config
    world = World.gather(cpu=kind.wants_cpu(settings), expected=world_size)
    with to_stderr(world.rank), _ending_together(world, path):
        if world.rank == 0:
            kind.refuse_foreign(path)
            if config is not None:  # a run that is there may be looked at without them
                must_be_installed(settings.trackers)
        with exclusive(path) if world.rank == 0 else nullcontext(), _explaining(path):
            directory = _open(path, settings, world, kind)
            with to_file(path, world.rank), _keeping_errors(path, world):
                log.debug(f"begins: {world}, {' '.join(sys.argv)}")
                done = do(directory, world)
    return done, world


def _open(path: Path, config: Any, world: "World", kind: type[D]) -> D:
    """The directory, made by rank 0; the others take the configuration as rank 0 knows it."""
    made = kind.create(path, config) if world.rank == 0 else None
    settings = world.agree(made.config.model_dump(mode="json") if made else None)
    return made or kind(path, kind.parse(settings))


@contextmanager
def _ending_together(world: "World", path: Path) -> Iterator[None]:
    """Whatever ends this rank ends the others; a signal that came because of another rank's end becomes ``Ended``."""
    try:
        try:
            yield
        except Stopped:
            world.watch()  # raises Ended where this rank was woken because of another
            raise
        world.end(0, "done")
    except BaseException as error:
        world.end(*status_and_sentence(error))
        raise


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """A full disk, a file that cannot be read, a cache or a lost connection becomes a sentence about itself."""
    try:
        yield
    except Exception as error:
        if sentence := sentence_of(error, path):
            raise Failure(sentence) from error
        raise


@contextmanager
def _keeping_errors(path: Path, world: "World") -> Iterator[None]:
    """Leave what went wrong with the work in its directory, for `probe status`."""
    try:
        with _explaining(path):
            yield
        if world.rank == 0:
            (path / ERROR_FILE).unlink(missing_ok=True)
    except (Stopped, Ended) as error:
        log.debug(f"ends: {error}")
        raise
    except BaseException as error:
        _keep(path, world, error)
        if leaves(error):
            raise Failure(status_and_sentence(error)[1]) from error
        raise


def _keep(path: Path, world: "World", error: BaseException) -> None:
    status, sentence = status_and_sentence(error)
    log.debug(f"ends with status {status}: {sentence}", exc_info=None if isinstance(error, UserError) else error)
    content = {"time": now(), "rank": world.rank, "status": status, "message": sentence}
    with suppress(OSError):
        write_atomically(path / ERROR_FILE, json.dumps(content))


def status_and_sentence(error: BaseException) -> tuple[int, str]:
    """The exit status that an exception stands for, and what to say."""
    match error:
        case UserError():
            return 2, str(error)
        case Stopped():
            return STATUS, str(error)
        case Ended():
            return error.status, str(error)
        case KeyboardInterrupt():
            return INTERRUPTED, "interrupted; rerun the same command to resume."
        case Failure():
            return 1, str(error)
        case OSError() if error.filename is not None:
            return 1, sentence_of(error) or str(error)
        case _ if leaves(error):
            *_, last = traceback.extract_tb(error.__traceback__)
            what = f"{type(error).__name__}({str(error)[:80]})"
            return 1, f"{last.filename}, line {last.lineno}, raised {what}: the work is not done"
    return 1, f"{type(error).__name__}: {error}"


@total_output
def guarded(command: Callable[[], object]) -> int:
    """Run a command; its exit status. What went wrong is one sentence on stderr, and a traceback if it is a bug."""
    keep_freed_memory()
    with interruptible():
        return _guarded(command)


def _guarded(command: Callable[[], object]) -> int:
    try:
        command()
    except SystemExit as error:
        stopped = _is_typers(error) and error.code == INTERRUPTED  # typer ends so after Ctrl-C, and says nothing
        if _is_typers(error) and not stopped:
            raise
        status, sentence = status_and_sentence(KeyboardInterrupt() if stopped else error)
        print(f"probe: {printable(sentence)}", file=sys.stderr, flush=True)
        return status
    except (Exception, KeyboardInterrupt, Stopped, Ended) as error:
        status, sentence = status_and_sentence(error)
        told = isinstance(error, UserError | Failure | KeyboardInterrupt | Stopped | Ended)
        if not (told or (isinstance(error, OSError) and error.filename is not None)):
            traceback.print_exc()
        print(f"probe: {printable(sentence)}", file=sys.stderr, flush=True)
        return status
    return 0


def _is_typers(error: SystemExit) -> bool:
    """Typer ends the process itself: 0 after --help, 2 for a wrong option. Nobody else may."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1].partition(".")[0] in ("typer", "click")


def main(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR|CONFIG", help="A run or study that was begun, or a configuration.", parser=given_path
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For a CONFIG; default runs/NAME_OF_CONFIG.", parser=given_path)
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    stage: Annotated[
        str, typer.Option(help="all, images, attractors, dictionary, reconstruct or report; of a study all or images.")
    ] = "all",
    shared: Annotated[bool, typer.Option("--shared", help="As for `probe study`.")] = False,
    world_size: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Fail unless there are so many ranks.")
    ] = None,
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Run the code that the model brings.")] = False,
) -> None:
    """Work on a run or study as one of the ranks that a launcher started."""
    from jobs.run.stages import STAGES
    from probe.config import load_config
    from probe.kinds import kind_of
    from probe.report.study.kinds import load_study_config
    from probe.trust import is_in_run_directory

    study = kind_of(target) == "study"
    known = ("all", "images") if study else ("all", *STAGES)
    if stage not in known:
        raise UserError(f"--stage {stage!r} is unknown; use {', '.join(known)}.")
    if shared and (not study or stage != "all" or world_size not in (None, 1)):
        raise UserError("--shared is for a study, all stages, and one rank; leave it out.")
    if target.is_dir() and (out or overrides):
        raise UserError(f"{target} is a run directory, whose configuration stands; --out and --set go with a CONFIG.")
    load: Callable[..., Any] = load_study_config if study else load_config
    config = None if target.is_dir() else load(target, overrides or ())
    path = target if target.is_dir() else out or Path("runs") / target.stem
    if shared:
        share_study(path, config)
    elif study:
        work_on_study(path, lambda its: its.draw() if stage == "images" else its.all() and None, config, world_size)
    else:
        trusted = trust_code or not (target.is_dir() or is_in_run_directory(target))
        work(path, lambda stages: getattr(stages, stage)() and None, config, world_size, trusted)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    sys.exit(guarded(app))
