"""The plan of a round trip: every image encoded and decoded again and again, and measured after every cycle."""

from collections.abc import Sequence

import torch

from probe.autoencoders import Autoencoder, device_of, load_autoencoder
from probe.data.presets import resolve
from probe.measures import IDENTITY, MEASURES, Seen
from probe.metrics.spectrum import band_power, bands
from probe.plan.cost import ModelCost, model_cost
from probe.plan.machines import Machine, card
from probe.plan.parts import (
    certificates,
    evaluation_seconds,
    here,
    images_stage,
    joined,
    passes,
    report_stage,
    seconds_of,
)
from probe.plan.stage import Load, Plan, Range, StagePlan
from probe.plan.study import EVALUATIONS
from probe.results.roundtrip import trips
from probe.studies.roundtrip.between import step
from probe.studies.roundtrip.config import RoundtripConfig
from probe.studies.roundtrip.cycles import Coder

MEASURED = "measures"
FURTHER = Range(0.05, 0.5, 1.0)
"""Steps of the latent map after the last cycle, as a share of the limit: they are accelerated."""
PLACES = Range(1, 8, 8)
"""Fixed points that get certificates, of those that the configuration asks for."""
STILL = Range(1, 3, 10)
"""Cycles without a model: pictures that are not changed are not followed, and JPEG soon returns what it is given."""
COLUMN = 8.0
"""Bytes of a number in a table."""


def roundtrip_costs(config: RoundtripConfig) -> dict[str, ModelCost]:
    """The cost of every model by its name. Raises UserError as ``model_cost``."""
    return {name: model_cost(spec, config.resolution) for name, spec in config.models.items()}


def roundtrip_stages(config: RoundtripConfig, costs: dict[str, ModelCost], measures: float) -> tuple[StagePlan, ...]:
    """The stages of a round trip.

    Args:
        measures: seconds in which a picture is measured; this is done here, whatever the card.

    Raises:
        UserError: as ``resolve``.
    """
    sizes = {name: resolve(name, one).n for name, one in config.datasets.items()}
    solver, cycles, loads, disk = config.solver, config.cycles, [], 0.0
    every = list(trips(config))
    rows = Coder(None).rows(config.resolution, solver.batch_size)
    for trip in every:
        n = sizes[trip.dataset]
        disk += n * (cycles + 1) * COLUMN * len(MEASURES)
        if trip.model == IDENTITY:
            loads.append(Load(MEASURED, STILL.at_most(cycles).times(n), seconds=measures))
            continue
        cost, kind = costs[trip.model], step(trip.between).kind
        loads.append(passes(EVALUATIONS, Range.exactly(n * cycles), cost.f, rows))
        loads.append(Load(MEASURED, Range.exactly(n * (cycles + 1)), seconds=measures))
        if not kind.rounds:
            loads.append(passes(EVALUATIONS, FURTHER.times(n * solver.max_steps), cost.f, rows))
            loads.append(certificates(cost, Range(*(min(one, solver.certificates) for one in PLACES))))
    weights = max(cost.weights for cost in costs.values())
    picture = 3.0 * config.resolution**2
    shown = config.film.images + 2 * config.film.extremes
    batch = max(cost.f.peak for cost in costs.values()) * rows
    return (
        images_stage([(n, config.resolution) for n in sizes.values()]),
        StagePlan(
            "roundtrips",
            "tables",
            len(every),
            joined(loads),
            memory=weights + batch,
            host=30 * 8 * picture * rows,
            disk=disk + len(every) * shown * picture * len(config.film.at(cycles)),
            files=2 * len(every),
            shards=len(every) // (len(config.models) + 1),
            assumes=f"without rounding a start takes {FURTHER.expected:.0%} of {solver.max_steps} further steps",
        ),
        report_stage(8 + 2 * len(sizes), len(sizes)),
    )


def roundtrip_rates(config: RoundtripConfig, cost: ModelCost, model: Autoencoder | None) -> dict[str, float]:
    """Seconds of a unit of the loads on this machine; of f only where the model is loaded."""
    side = config.resolution
    rows = Coder(model).rows(side, config.solver.batch_size)
    few = min(rows, 16)
    x = torch.rand(few, 3, side, side, generator=torch.Generator().manual_seed(0))
    device = model.device if model else torch.device("cpu")
    x, edges = x.to(device), bands(side)
    seen = Seen(x, x.flip(-1))

    def measure() -> None:
        for one in MEASURES:
            one.function(seen)
        band_power(x, edges)

    found = {MEASURED: seconds_of(measure, device, few)}
    return found | ({EVALUATIONS: evaluation_seconds(model, cost, rows)} if model else {})


def plan_roundtrip(
    config: RoundtripConfig, gpus: Sequence[str] = (), ranks: int = 1, pilot: int | None = None
) -> list[Plan]:
    """Plans of a round trip, as ``plan_study``; this machine is measured with the first model.

    Raises:
        UserError: a GPU is not in the table; or as ``roundtrip_stages``.
    """
    machines: list[Machine] = [card(name) for name in gpus]
    costs = roundtrip_costs(config)
    name, spec = next(iter(config.models.items()))
    model = None if machines else costs[name].model or load_autoencoder(spec)
    rates = roundtrip_rates(config, costs[name], model)
    stages = roundtrip_stages(config, costs, rates[MEASURED])
    return [Plan("roundtrip", stages, one, ranks) for one in machines or [here(rates, device_of(spec.device))]]
