"""``probe theory``: the paper's theory, measured on what a finished run has found."""

import logging
from typing import Any

from jobs.provenance import describe_process
from jobs.run.attractors import load_end_points, load_first_steps
from jobs.run.directory import RunDirectory
from jobs.run.images import read_again
from jobs.run.work import RunWork
from probe.dynamics import Outcome, gaussian_starts
from probe.dynamics.certificate import YES
from probe.errors import UserError
from probe.report.theory.write import write_theory
from probe.results import layout
from probe.studies.sweeps.convergence import of_run, record
from probe.studies.theory.theory import Prototypes, theory

log = logging.getLogger("probe")


def measure(work: RunWork, *, points: int, probes: int) -> dict[str, Any] | None:
    """Write theory/ in the run directory; what theory.json holds, on rank 0, which works alone.

    Raises:
        UserError: a result is missing or damaged, or the run has no data sets.
    """
    model, run = work.model, work.directory
    if not work.world.leads:
        return None
    if not run.config.datasets:
        raise UserError(f"{run.path} has no data sets to measure the theory on; use a run with datasets.")
    prototypes = _prototypes(run)
    if not prototypes.certified:
        log.warning("no attractor of this run is certified: P uses all end points of the dictionary instead")
    drawn = {name: read_again(run, name) for name in run.config.datasets}
    content = {
        "schema_version": 1,
        "model": run.manifest["model"],
        "images": {name: {"sha256": run.drawn(name)["sha256"], "n": len(one.ids)} for name, one in drawn.items()},
        "settings": {"points": points, "probes": probes, "seed": run.config.seeds.seed},
        **theory(
            model,
            work.f,
            prototypes,
            {name: (one.images, one.heldout) for name, one in drawn.items()},
            points=points,
            probes=probes,
            seed=run.config.seeds.seed,
            together=run.config.sparse.batch_size,
            on_part=lambda part: log.info(f"theory: {part}"),
        ),
        "convergence": record(of_run(run.load(layout.DICTIONARY.name)[0], run.config.seeds.count)),
        **describe_process(),
    }
    return write_theory(run.path / layout.THEORY, content)


def _prototypes(run: RunDirectory) -> Prototypes:
    dictionary = run.load(layout.DICTIONARY.name)[0]
    ends, seeds = load_end_points(run), run.config.seeds
    certified = dictionary["certificate"] == YES
    some = bool(certified.any())
    points = dictionary["ends"] if "ends" in dictionary else ends.end[dictionary["leader"]]
    points = points[certified if some else dictionary["outcome"] != Outcome.DIVERGED]
    return Prototypes(
        attractors=points,
        certified=some,
        one_step=load_first_steps(run)[: len(points)],
        noise=gaussian_starts(seeds.seed, range(len(points)), ends.end.shape[1:]),
    )
