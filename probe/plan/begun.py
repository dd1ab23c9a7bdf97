"""The plan that a run makes of itself when it begins: the model is loaded, and there is hardly any time."""

from collections.abc import Sequence

from probe.autoencoders import Autoencoder
from probe.config import Config
from probe.dynamics import LatentMap
from probe.plan.behaviour import EXPONENT, PILOT, expected, pilot_of
from probe.plan.cost import counted
from probe.plan.measure import Bench, seconds_of_f, this_machine
from probe.plan.run import RunPlanner
from probe.plan.stage import Plan, StagePlan

LONG = 0.05
"""Seconds for which a thing is measured: there are six."""
SHARE = 0.01
"""Of the time that is expected without a pilot, for the starts of a pilot; half of it for what it examines."""
FEWEST = 4
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

    def plan(pilot: int, seconds: float) -> Plan:
        seen = pilot_of(config, bench.f, cost.latent_shape, pilot, row, seconds) if pilot else None
        return Plan("run", RunPlanner(config, cost, expected(config, seen), here).stages(), here, ranks)

    assumed = plan(0, 0.0)
    spare = SHARE * assumed.seconds.expected
    most = int(spare / (row * (config.solver.max_steps + 1) / 2))
    examined = spare / 2 if spare / 2 > EXPONENT.expected * row else 0.0
    return plan(min(most, PILOT), examined) if most >= FEWEST else assumed
