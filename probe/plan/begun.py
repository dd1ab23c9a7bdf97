"""The plan that a run makes of itself when it begins: the model is loaded, and there is hardly any time."""

from collections.abc import Sequence

from probe.autoencoders import Autoencoder
from probe.config import Config
from probe.dynamics import LatentMap
from probe.plan.behaviour import CERTIFICATE, EXPONENT, PILOT, Pilot, expected, first_ends, pilot_of
from probe.plan.cost import counted
from probe.plan.machines import Here
from probe.plan.measure import Bench, paced, seconds_of_f, this_machine
from probe.plan.run import RunPlanner
from probe.plan.stage import Plan, StagePlan

LONG = 0.05
"""Seconds for which a thing is measured: there are six."""
STARTS, EXAMINED = 0.01, 0.005
"""Share, for the starts of a pilot, of the time that is expected without them (between what it takes at least and what
is assumed: their geometric mean); and for what it examines, of the time that is expected with them."""
FEWEST = 2
LEAST = 3e11
"""FLOPs, about, from which a work is worth a plan of its own: a core takes some ten seconds for so many."""


def is_small(stages: Sequence[StagePlan]) -> bool:
    """Whether a work takes so few seconds that measuring the machine first would lengthen it noticeably."""
    return sum(stage.flops.expected for stage in stages) < LEAST


def plan_begun(config: Config, model: Autoencoder, ranks: int) -> Plan | None:
    """The plan of a run on so many machines like this one; nothing that its results depend on is touched. None for a
    small run.

    Args:
        config: with the presets of its data sets written out.
    """
    cost = counted(model, config.model, config.resolution)
    if cost.f.flops * config.seeds.count * config.solver.max_steps / 2 < LEAST:
        return None
    bench = Bench.of(LatentMap(model, clamp=config.model.clamp), cost, LONG)
    row = seconds_of_f(config, bench)
    here = this_machine(config, bench, row, config.seeds.count // 2)

    def plan(here: Here, seen: Pilot | None) -> Plan:
        return Plan("run", RunPlanner(config, cost, expected(config, seen), here).stages(), here, ranks)

    assumed = plan(here, None)
    least, likely, _ = assumed.seconds
    starts = int(STARTS * (least * likely) ** 0.5 / (row * (config.solver.max_steps + 1) / 2))
    starts = min(starts, PILOT, config.seeds.count)
    if starts < FEWEST:
        return assumed
    # All in one batch: of a small model a few cost hardly less.
    ends, seconds = first_ends(config, bench.f, cost.latent_shape, range(starts))
    here = paced(here, min(row, seconds / int(ends.evaluations.sum())))  # that of the larger batch, about
    row = here.rates["f"]
    seen = pilot_of(config, bench.f, ends, row, 0.0)
    found = plan(here, seen)
    spare = EXAMINED * found.seconds.expected
    wanted = max(
        (most.high for most, any_there in ((CERTIFICATE, seen.converged), (EXPONENT, seen.limited)) if any_there),
        default=0.0,
    )
    if not wanted or spare < wanted * bench.row:
        return found
    return plan(here, pilot_of(config, bench.f, ends, row, spare))
