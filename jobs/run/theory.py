"""Stage ``theory``, after the others and not one of them: the paper's theory on what a finished run has found."""

import logging
from typing import Any

from jobs.provenance import describe_process
from jobs.run.attractors import load_end_points, load_first_steps
from jobs.run.dictionary import FILE
from jobs.run.images import read_again
from jobs.run.job import Job
from probe.dynamics import Outcome, gaussian_starts
from probe.dynamics.certificate import YES
from probe.errors import UserError
from probe.report.theory.write import write_theory
from probe.studies.theory.theory import Images, Prototypes, theory

FOLDER = "theory"
log = logging.getLogger("probe")


def measure(job: Job, *, points: int, probes: int) -> dict[str, Any] | None:
    """Write theory/ in the run directory; what theory.json holds, on rank 0, which works alone.

    Raises:
        UserError: a result is missing or damaged, or the run has no data sets.
    """
    model = job.model
    if job.world.rank:
        return None
    if not job.config.datasets:
        raise UserError(f"{job.run.path} has no data sets, which the theory is about; run one with datasets.")
    prototypes = _prototypes(job)
    if not prototypes.certified:
        log.warning("no attractor is certified in this run: P takes all end points of the dictionary instead")
    known = job.run.manifest["data"]
    drawn = {name: read_again(job, name, known) for name in job.config.datasets}
    content = {
        "schema_version": 1,
        "model": job.run.manifest["model"],
        "images": {name: {"sha256": known[name]["sha256"], "n": len(one.ids)} for name, one in drawn.items()},
        "settings": {"points": points, "probes": probes, "seed": job.config.seeds.seed},
        **theory(
            model,
            job.f,
            prototypes,
            {name: Images(one.images, one.heldout) for name, one in drawn.items()},
            points=points,
            probes=probes,
            seed=job.config.seeds.seed,
            together=job.config.sparse.batch_size,
            on_part=lambda part: log.info(f"theory: {part}"),
        ),
        **describe_process(),
    }
    return write_theory(job.run.path / FOLDER, content)


def _prototypes(job: Job) -> Prototypes:
    dictionary = job.run.load(FILE, "leader", "certificate", "outcome")[0]
    ends, seeds = load_end_points(job), job.config.seeds
    certified = dictionary["certificate"] == YES
    some = bool(certified.any())
    rows = dictionary["leader"][certified if some else dictionary["outcome"] != Outcome.DIVERGED]
    return Prototypes(
        attractors=ends.end[rows],
        certified=some,
        one_step=load_first_steps(job)[: len(rows)],
        noise=gaussian_starts(seeds.seed, range(len(rows)), job.latent_shape),
    )
