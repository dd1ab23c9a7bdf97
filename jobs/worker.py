"""One rank of a run, study, OOD experiment or round trip: ``accelerate launch -m jobs.worker RUN_DIR``.

Exit status: 0 done; 2 a mistake that the user can fix; 1 a failure; 75 stopped by SIGTERM, SIGHUP or SIGUSR1; 130
interrupted (after both, rerun the same command to resume). Another rank's end is this rank's, with the same status.
"""

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from jobs.faults import sentence_of
from jobs.launcher import processors_given, ranks_here
from jobs.lock import exclusive
from jobs.logs import to_file, to_stderr
from jobs.provenance import now
from jobs.stopping import INTERRUPTED, STATUS, Ended, Stopped, interruptible, stop_on_signals
from jobs.trackers import must_be_installed
from probe.errors import Failure, UserError, leaves, without_secrets
from probe.files import write_atomically
from probe.heap import keep_freed_memory
from probe.names import given_path, printable
from probe.packaged import given_folder_or_config
from probe.results.layout import ERROR
from probe.terminal import amount, total_output
from probe.threads import settle

if TYPE_CHECKING:
    from jobs.kinds import Kind
    from jobs.stage import Stage
    from jobs.world import World

T = TypeVar("T")
SHARED_PATIENCE = 600.0
"""Seconds that a process of a Slurm array waits for another to draw the images or write the report."""
NOT_SHARED = (
    "--shared is for all stages of a study, or for one stage whose parts independent processes can share (attractors, "
    "dictionary and reconstruct of a run, scores of an OOD experiment, roundtrips of a round trip), on one rank; leave "
    "it out."
)
log = logging.getLogger("probe")


def work(
    path: Path,
    kind: "Kind",
    do: Callable[[Any], T],
    config: Any = None,
    *,
    world_size: int | None = None,
    trusted: bool | None = None,
) -> "tuple[T, World]":
    """Join the other ranks, hold the directory, and do something with it, on all ranks alike.

    Args:
        do: takes the ``Work`` of that kind, such as ``Doing.all``.
        config: starts the work, or must equal the one in the directory; None: the work must have been started.
        world_size: fail unless there are so many ranks; by default what the launcher says.
        trusted: whether the user allowed the code that the model may bring; by default with a ``config`` only.

    Returns:
        What ``do`` returns, and the ranks.

    Raises:
        UserError, Failure: as the command line reports them, with status 2 and 1.
        Stopped, Ended: status 75, or that of the rank that ended first.
    """
    with stop_on_signals():
        from jobs.doing import doing_of
        from jobs.independent import refuse_beside
        from jobs.world import World
        from probe.precision import full_float32

        settings = config or kind.directory.open(path).unchanged().config
        world = World.gather(cpu=kind.directory.wants_cpu(settings), expected=world_size)
        with to_stderr(world.rank), _ending_together(world, path):
            if world.leads:
                _prepare(path, kind, config)
                refuse_beside(path)  # before it is held: they may need it to end
            with exclusive(path) if world.leads else nullcontext(), _explaining(path):
                made = kind.directory.create(path, settings) if world.leads else None
                settings = world.broadcast(made.config.model_dump(mode="json") if made else None)
                directory = made or kind.directory(path, kind.directory.parse(settings))
                with to_file(path, world.rank), _keeping_errors(path, world), full_float32():
                    log.debug(f"begins: {world}, {' '.join(sys.argv)}")
                    asked = config is not None if trusted is None else trusted
                    done = do(doing_of(kind).work(directory, world, asked))
        return done, world


def share(path: Path, kind: "Kind", config: Any = None) -> dict[str, Any] | None:
    """Work beside independent processes that do the same (a Slurm array), which share the parts of one stage.

    Returns:
        The report, of the process that finds every part done; None for one that leaves parts to others.

    Raises:
        UserError: the work has no stage that can be shared so; or as ``work``.
    """
    with stop_on_signals(), to_stderr():
        from jobs.doing import doing_of
        from jobs.world import World, number
        from probe.precision import full_float32

        at = next((at for at, stage in enumerate(kind.stages) if stage.leaves), None)
        if at is None:
            raise UserError(NOT_SHARED)
        doing = doing_of(kind)
        before, stage, after = kind.stages[:at], kind.stages[at], kind.stages[at + 1 :]
        _prepare(path, kind, config)
        with _explaining(path), exclusive(path, SHARED_PATIENCE):
            work = doing.work(kind.directory.create(path, config) if config else kind.directory.open(path))
        task = number("SLURM_ARRAY_TASK_ID", 0)
        with _explaining(path), to_file(path, task), _keeping_errors(path, World()), full_float32():
            with exclusive(path, SHARED_PATIENCE):
                for one in before:
                    doing.do(one.name, work)
            if left := doing.do(stage.name, work):
                many = f"{amount(left, stage.unit)} {'is' if left == 1 else 'are'}"
                log.info(f"{many} left to other processes; the last one writes the report")
                return None
            with exclusive(path, SHARED_PATIENCE):
                return [doing.do(one.name, work) for one in after][-1]


def share_stage(path: Path, kind: "Kind", stage: "Stage", *, trusted: bool) -> None:
    """Work on one stage beside independent processes that do the same (a Slurm array); it is whole at the end.

    Raises:
        UserError: the parts of the stage cannot be shared so; or as ``work``.
    """
    with stop_on_signals(), to_stderr():
        from jobs.doing import doing_of
        from jobs.independent import Independent, is_passed_on
        from jobs.world import number
        from probe.precision import full_float32

        if not stage.array or stage.leaves:
            raise UserError(NOT_SHARED)
        task, tasks = number("SLURM_ARRAY_TASK_ID", 0), number("SLURM_ARRAY_TASK_COUNT", 1)
        world = Independent(path, task, tasks)
        directory = kind.directory.open(path)
        done, planned = stage.count(directory)
        if done == planned and is_passed_on(path):
            log.info(f"{stage.name} is done, and another process works on what follows")
            return
        with to_file(path, task), _keeping_errors(path, world), full_float32(), world.present():
            log.debug(f"begins: {world}, {' '.join(sys.argv)}")
            doing = doing_of(kind)
            doing.do(stage.name, doing.work(directory, world, trusted))


def _prepare(path: Path, kind: "Kind", config: Any) -> None:
    """Refuse what can be refused before a lock is left in the folder."""
    kind.directory.refuse_foreign(path)
    if config is not None:  # reading a directory needs none of them
        must_be_installed(config.trackers)


@contextmanager
def _ending_together(world: "World", path: Path) -> Iterator[None]:
    """Whatever ends this rank ends the others; a signal caused by another rank's end becomes ``Ended``."""
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
    """Turn a full disk, an unreadable file, a cache or a lost connection into one sentence."""
    try:
        yield
    except Exception as error:
        if sentence := sentence_of(error, path):
            raise Failure(sentence) from error
        raise


@contextmanager
def _keeping_errors(path: Path, world: "World") -> Iterator[None]:
    """Keep the error in the directory, for `probe status`."""
    try:
        with _explaining(path):
            yield
        if world.leads:
            (path / ERROR).unlink(missing_ok=True)
    except (Stopped, Ended) as error:
        log.debug(f"ends: {error}")
        raise
    except BaseException as error:
        status, sentence = status_and_sentence(error)
        log.debug(f"ends with status {status}: {sentence}", exc_info=None if isinstance(error, UserError) else error)
        content = {"time": now(), "rank": world.rank, "status": status, "message": sentence}
        with suppress(OSError):
            write_atomically(path / ERROR, json.dumps(content))
        if leaves(error):
            raise Failure(sentence) from error
        raise


def status_and_sentence(error: BaseException) -> tuple[int, str]:
    """The exit status and message of an exception, without secrets."""
    status, sentence = _status_and_sentence(error)
    return status, without_secrets(sentence)


def _status_and_sentence(error: BaseException) -> tuple[int, str]:
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
    """Run a command; its exit status. An error is one sentence on stderr, with a traceback if it is a bug."""
    keep_freed_memory()
    settle(ranks_here(), processors_given())
    with interruptible():
        try:
            command()
            return 0
        except SystemExit as error:
            stopped = _is_typers(error) and error.code == INTERRUPTED  # typer ends so after Ctrl-C, and says nothing
            if _is_typers(error) and not stopped:
                raise
            status, sentence = status_and_sentence(KeyboardInterrupt() if stopped else error)
        except (Exception, KeyboardInterrupt, Stopped, Ended) as error:
            status, sentence = status_and_sentence(error)
            told = isinstance(error, UserError | Failure | KeyboardInterrupt | Stopped | Ended)
            if not (told or (isinstance(error, OSError) and error.filename is not None)):
                print(without_secrets(traceback.format_exc()), file=sys.stderr, end="")
        print(f"probe: {printable(sentence)}", file=sys.stderr, flush=True)
        return status


def _is_typers(error: SystemExit) -> bool:
    """Typer ends the process itself: 0 after --help, 2 for a wrong option. Nobody else may."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1].partition(".")[0] in ("typer", "click")


def main(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR|CONFIG",
            help="A directory that was begun, or a configuration: a file, or its name in the package.",
            parser=given_folder_or_config,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For a CONFIG; default runs/NAME_OF_CONFIG.", parser=given_path)
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    stage: Annotated[
        str,
        typer.Option(
            help="all, or one stage: images, attractors, dictionary, reconstruct, report of a run; images, models, "
            "report of a study; images, attractors, scores, report of an OOD experiment; images, roundtrips, "
            "report of a round trip."
        ),
    ] = "all",
    shared: Annotated[
        bool, typer.Option("--shared", help="As for `probe study`; with --stage, share that stage of a RUN_DIR alone.")
    ] = False,
    world_size: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Fail unless there are exactly this many ranks.")
    ] = None,
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Run the code that the model brings.")] = False,
) -> None:
    """Work on a run, study, OOD experiment or round trip as one of the ranks that a launcher started."""
    with stop_on_signals():
        from jobs.doing import doing_of
        from jobs.kinds import kind_of
        from probe.config import read_yaml
        from probe.trust import is_in_run_directory

        kind = kind_of(target)
        one = None if stage == "all" else kind.stage(stage)
        if shared and (world_size not in (None, 1) or (stage != "all" and not target.is_dir())):
            raise UserError(NOT_SHARED)
        if target.is_dir() and (out or overrides):
            raise UserError(
                f"{target} is a run directory, and its configuration is fixed; --out and --set go with a CONFIG."
            )
        config = None if target.is_dir() else kind.directory.parse(read_yaml(target, overrides or ()))
        path = target if target.is_dir() else out or Path("runs") / target.stem
        trusted = trust_code or not (target.is_dir() or is_in_run_directory(target))
        if shared and one:
            share_stage(path, kind, one, trusted=trusted)
        elif shared:
            share(path, kind, config)
        else:
            doing = doing_of(kind)
            do = partial(doing.do, one.name) if one else doing.all
            work(path, kind, do, config, world_size=world_size, trusted=trusted)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    sys.exit(guarded(app))
