"""Stage ``attractors``: every start iterated to its end; a shard is a range of starts."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from jobs.run.directory import RunDirectory, shards
from jobs.run.work import RunWork
from jobs.shards import Shards
from probe.dynamics import EndPoints, Outcome
from probe.errors import UserError
from probe.results.layout import SHARD, SHARD_PART
from probe.results.run import check_starts
from probe.semantics.clip import word_list
from probe.studies.probing.end_points import solve


def find_end_points(work: RunWork) -> None:
    """Iterate every start that has no whole shard.

    Raises:
        UserError: as ``RunWork.model``; or a file is in the folder of the shards that is none of them.
    """
    run, world, seeds = work.directory, work.world, work.config.seeds
    _ = work.model
    parts = shards(seeds)

    def is_there(shard: range) -> bool:
        return run.claimed(SHARD.at(shard)) is not None

    # Folders are listed once: a parallel file system answers some thousand questions for single files a second.
    there = _no_strangers(run) if world.leads else set()
    todo = world.missing(parts, lambda shard: run.path / SHARD.at(shard) in there and is_there(shard))
    if not todo:
        return
    fresh: list[range] = []
    if world.size > 1:  # independent processes may leave parts at any time
        stopped = {*run.path.glob(SHARD_PART.glob)} if world.leads else set()
        fresh = world.missing(todo, lambda shard: run.path / SHARD_PART.at(shard) in stopped)
    kept = Shards(run, lambda start: parts[start // seeds.shard_size], world.rank, fresh)
    if work.config.clip:  # a mistake in it should not be found after hours of iteration
        _ = work.clip, word_list(work.config.clip.labels)
    _ = work.perceptual  # likewise
    course = _Course(run)
    with work.timed("attractors"), work.tracked() as tracker:

        def tell() -> None:
            if tracker:
                tracker.log(*course.so_far())

        while todo:  # once among ranks; until all is there among independent processes
            _iterate(work, kept, todo, is_there, tell)
            todo = world.left(todo, is_there)
        if tracker:  # the last shards may be other ranks'
            tracker.log(*course.so_far())


def _iterate(
    work: RunWork, kept: Shards, todo: list[range], is_there: Callable[[range], bool], on_shard: Callable[[], None]
) -> None:
    """Iterate the starts of those of the shards ``todo`` that no other process holds."""
    world, seeds, model = work.world, work.config.seeds, work.model
    total = world.on_rank_0(lambda: sum(len(kept.missing(shard)) for shard in todo))
    before = seeds.count - total
    with work.claiming("attractors", "starts", todo, is_there, size=len, total=total, before=before) as (claims, meter):

        def on_step(ended: int, running: int, part: float) -> None:
            meter.update(ended + part, f"{running} running")

        def unfinished() -> Iterator[list[int]]:
            for shard in claims:
                if left := kept.missing(shard):
                    yield left
                else:
                    kept.save(shard)

        solved = solve(
            work.f,
            work.directory.latent_shape,
            unfinished(),
            seed=seeds.seed,
            solver=work.config.solver,
            device=model.device,
            dtype=model.dtype,
            most_rows=-(-total // world.processes),  # else the first rank would take all of a small run
            on_step=on_step,
            gathered=kept.gathered,
        )
        with kept:
            for indices, ends in solved:
                kept.save(kept.shard_of(indices[0]), indices, [ends])
                on_shard()


def summary(work: RunWork) -> dict[str, int]:
    """Starts by outcome."""
    parts = [work.directory.load(SHARD.at(indices), "outcome")[0] for indices in shards(work.config.seeds)]
    outcome = torch.cat([part["outcome"] for part in parts])
    return {one.label: int((outcome == one).sum()) for one in Outcome}


def load_end_points(run: RunDirectory) -> EndPoints:
    """All starts in order.

    Raises:
        UserError: a shard is missing or damaged, or the indices are not exactly 0..count-1.
    """
    count = run.config.seeds.count
    index, whole = torch.full((count,), -1), dict[str, torch.Tensor]()
    begun = 0
    for indices in shards(run.config.seeds):  # one after the other: all of them and all in one would be twice as much
        part = run.load(SHARD.at(indices))[0]
        rows = slice(begun, begun + len(part["index"]))
        if rows.stop > count:
            check_starts(torch.cat([index[:begun], part["index"]]), count, run.path)
        index[rows] = part.pop("index")
        for name, value in part.items():
            whole.setdefault(name, value.new_empty((count, *value.shape[1:])))[rows] = value
        begun = rows.stop
    check_starts(index[:begun], count, run.path)
    return EndPoints.of_stored(whole)


def load_first_steps(run: RunDirectory) -> torch.Tensor:
    """f(z0) of every start (N, c, h, w)."""
    return torch.cat([run.load(SHARD.at(indices), "first")[0]["first"] for indices in shards(run.config.seeds)])


def end_points_sha256(run: RunDirectory) -> str | None:
    """What identifies the end points; None where some are missing.

    Raises:
        UserError: some are damaged.
    """
    files = [SHARD.at(indices) for indices in shards(run.config.seeds)]
    if not all((run.path / file).exists() for file in files):
        return None
    digests = [run.needed(file)["sha256"] for file in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


class _Course:
    """What the shards that are there say together, whichever rank made them; each is read once."""

    def __init__(self, run: RunDirectory):
        self.run = run
        self.known: dict[range, dict[str, torch.Tensor]] = {}

    def so_far(self) -> tuple[dict[str, float], int]:
        """For a tracker: starts by outcome, medians of steps and residual (of the finite ones); how many starts."""
        there = {*self.run.path.glob(SHARD.glob)}
        for indices in shards(self.run.config.seeds):
            if indices not in self.known and self.run.path / SHARD.at(indices) in there:
                self.known[indices] = self.run.load(SHARD.at(indices), "outcome", "steps", "residual")[0]
        outcome, steps, residual = (
            torch.cat([part[name] for part in self.known.values()]) for name in ("outcome", "steps", "residual")
        )
        counts = {f"solver/outcomes/{one.label}": float((outcome == one).sum()) for one in Outcome}
        medians = {
            "solver/median_steps": float(steps.double().quantile(0.5)),
            "solver/median_residual": float(residual[residual.isfinite()].double().nanmedian()),
        }
        return {**counts, **medians}, len(outcome)


def _no_strangers(run: RunDirectory) -> set[Path]:
    """The files of the folder of shards, all of them shards: readers of the folder, such as the report, would take any
    file there for one."""
    found = {*run.path.glob(SHARD.glob)}
    strangers = sorted(found - {run.path / SHARD.at(indices) for indices in shards(run.config.seeds)})
    if strangers:
        raise UserError(f"{strangers[0]} is no shard of this run; move it out of the folder.")
    return found
