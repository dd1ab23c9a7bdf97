"""Stage ``attractors``: every start iterated to its end; a shard is a range of starts."""

import hashlib

import torch

from jobs.run.job import Job
from jobs.run.shards import Shards, shard_file, shards
from probe.dynamics import EndPoints, Outcome
from probe.errors import UserError
from probe.studies.probing.end_points import solve


def find_end_points(job: Job) -> None:
    """Iterate every start that has no whole shard."""
    seeds, solver = job.config.seeds, job.config.solver
    f, shape, model = job.f, job.latent_shape, job.model
    job.on_rank_0(lambda: _refuse_strangers(job))
    todo = job.absent(shards(job), lambda indices: job.run.claimed(shard_file(indices)))
    if not todo:
        return
    kept = Shards(job)
    total = sum(map(len, todo)) - job.on_rank_0(lambda: sum(map(kept.count, todo)))
    _ = job.clip, job.words  # a mistake in them should not be found after hours of iteration
    course = _Course(job)
    with job.timed("attractors"), job.tracked() as tracker:
        before = seeds.count - total
        with job.claiming("attractors", "starts", todo, total=total, before=before) as (claims, meter):

            def on_step(ended: int, running: int, part: float) -> None:
                meter.update(ended + part, f"{running} running")

            solved = solve(
                f,
                shape,
                kept.missing(claims),
                seed=seeds.seed,
                solver=solver,
                device=model.device,
                dtype=model.dtype,
                most_rows=-(-total // job.world.size),  # else the first rank would take all of a small run
                on_step=on_step,
                gathered=kept.gathered,
            )
            with kept:
                for indices, ends in solved:
                    kept.save(indices, ends)
                    if tracker:
                        tracker.log(*course.so_far())
        if tracker:  # the last shards may be other ranks'
            tracker.log(*course.so_far())


def load_end_points(job: Job) -> EndPoints:
    """All starts in order.

    Raises:
        UserError: a shard is missing or damaged, or the indices are not exactly 0..count-1.
    """
    count = job.config.seeds.count
    parts = [job.run.load(shard_file(indices))[0] for indices in shards(job)]
    index = torch.cat([part.pop("index") for part in parts])
    if not torch.equal(index, torch.arange(count)):
        raise UserError(f"{job.run.path}/attractors holds {len(index)} starts that are not exactly 0..{count - 1}.")
    return EndPoints.concatenate([EndPoints(**part) for part in parts])


def load_first_steps(job: Job) -> torch.Tensor:
    """f(z0) of every start (N, c, h, w)."""
    return torch.cat([job.run.load(shard_file(indices), "first")[0]["first"] for indices in shards(job)])


def end_points_sha256(job: Job) -> str | None:
    """What identifies the end points; None where some are missing.

    Raises:
        UserError: some are damaged.
    """
    files = [shard_file(indices) for indices in shards(job)]
    if not all((job.run.path / file).exists() for file in files):
        return None
    digests = [job.run.needed(file)["sha256"] for file in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


class _Course:
    """What the shards that are there say together, whichever rank made them; each is read once."""

    def __init__(self, job: Job):
        self.job = job
        self.known: dict[range, dict[str, torch.Tensor]] = {}

    def so_far(self) -> tuple[dict[str, float], int]:
        """For a tracker: starts by outcome, medians of steps and residual (of the finite ones); how many starts."""
        for indices in shards(self.job):
            if indices not in self.known and (self.job.run.path / shard_file(indices)).exists():
                self.known[indices] = self.job.run.load(shard_file(indices), "outcome", "steps", "residual")[0]
        outcome, steps, residual = (
            torch.cat([part[name] for part in self.known.values()]) for name in ("outcome", "steps", "residual")
        )
        counts = {f"solver/outcomes/{one.label}": float((outcome == one).sum()) for one in Outcome}
        medians = {
            "solver/median_steps": float(steps.double().quantile(0.5)),
            "solver/median_residual": float(residual[residual.isfinite()].double().nanmedian()),
        }
        return {**counts, **medians}, len(outcome)


def _refuse_strangers(job: Job) -> None:
    """Files beside the shards would be read by whoever reads the folder, as the report does."""
    known = {job.run.path / shard_file(indices) for indices in shards(job)}
    strangers = sorted({*job.run.path.glob("attractors/*.safetensors")} - known)
    if strangers:
        raise UserError(f"{strangers[0]} is no shard of this run; move it out of the folder.")
