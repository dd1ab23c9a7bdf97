"""A plan of a configuration on machines: what is known of the model, the starts and the machines, put together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from probe.autoencoders import load_autoencoder
from probe.config import Config, parse_config
from probe.data.presets import resolve
from probe.dynamics import LatentMap
from probe.errors import UserError
from probe.plan.behaviour import PILOT, Pilot, expected, first_ends, pilot_of
from probe.plan.cost import ModelCost, cost_of, model_cost
from probe.plan.machines import Here, Machine, card
from probe.plan.measure import Bench, host, seconds_of_f, this_machine
from probe.plan.run import RunPlanner
from probe.plan.stage import Advice, Plan, StagePlan

PILOT_SECONDS = 40.0
"""For all starts of a pilot, at the most steps that they may take. None if that is too short for ``FEWEST``."""
FEWEST = 4
EXAMINED_SECONDS = 8.0
WORTH = 0.03
"""Share of the time that a change has to save to be named."""


@dataclass(frozen=True)
class Known:
    """What plans of one model rest on.

    Attributes:
        pilot: None where there was none.
        here: this machine, if f was evaluated here.
        host: its processor.
    """

    cost: ModelCost
    pilot: Pilot | None
    here: Here | None
    host: Here

    def stages(self, config: Config) -> tuple[StagePlan, ...]:
        """Of a run of this model."""
        return RunPlanner(config, self.cost, expected(config, self.pilot), self.host).stages()


def known(config: Config, *, measured: bool, pilot: int | None = None) -> Known:
    """What can be known of a run beforehand.

    Args:
        measured: evaluate the model here: for the time on this machine. Otherwise its weights are loaded only where
            they are at hand, and a pilot takes seconds.
        pilot: starts of the pilot; 0: none; None: as many as take ``PILOT_SECONDS`` at most.

    Raises:
        UserError: the model cannot be loaded, or its configuration not be read.
    """
    cost = model_cost(config.model, config.resolution)
    model = cost.model
    if model is None and (measured or pilot or _at_hand(config.model.source)):
        try:
            model = load_autoencoder(config.model)
        except UserError:
            if measured or pilot:
                raise
    processor = host()
    if model is None:
        return Known(cost, None, None, processor)
    if cost.model is None:
        cost = cost_of(model, config.model, config.resolution)
    bench = Bench.of(LatentMap(model, clamp=config.model.clamp), cost)
    one = seconds_of_f(config, bench)
    starts = _starts(config, one) if pilot is None else pilot
    seen = None
    if starts:
        ends, _ = first_ends(config, bench.f, cost.latent_shape, range(min(starts, config.seeds.count)))
        seen = pilot_of(config, bench.f, ends, one, EXAMINED_SECONDS)
    atoms = round(expected(config, seen).atoms.expected)
    here = this_machine(config, bench, one, atoms) if measured else None
    return Known(cost, seen, here, processor)


def _at_hand(source: str) -> bool:
    """Whether weights need no download."""
    from probe.autoencoders.repository import is_local

    return source.startswith(("embedded:", "python:")) or is_local(source)


def _starts(config: Config, row: float) -> int:
    """Starts of a pilot, by the seconds of an evaluation."""
    starts = int(PILOT_SECONDS / (row * config.solver.max_steps))
    return min(PILOT, starts, config.seeds.count) if starts >= min(FEWEST, config.seeds.count) else 0


def plan_run(config: Config, gpus: Sequence[str] = (), ranks: int = 1, pilot: int | None = None) -> list[Plan]:
    """Plans of a run: on each GPU named, or on this machine.

    Raises:
        UserError: a GPU is not in the table; or as ``known``.
    """
    cards = [card(name) for name in gpus]
    named = {name: resolve(name, spec) for name, spec in config.datasets.items()}
    config = config.model_copy(update={"datasets": named})
    facts = known(config, measured=not cards, pilot=pilot)
    machines: list[Machine] = [*cards] if cards else [facts.here or facts.host]
    seen = facts.pilot is not None
    return [priced("run", facts.stages, config, machine, ranks, seen) for machine in machines]


def priced(
    kind: str,
    stages: Callable[[Config], tuple[StagePlan, ...]],
    config: Config,
    machine: Machine,
    ranks: int,
    seen: bool = True,
) -> Plan:
    """The plan of a configuration, with what would change it most.

    Args:
        seen: a pilot showed how many steps starts take. Where half of the limit is assumed, half the limit saves half.
    """
    plan = Plan(kind, stages(config), machine, ranks)
    before = plan.seconds.expected

    def changed(change: "Change") -> Advice:
        after = Plan(kind, stages(change.config), machine, ranks).seconds.expected
        return Advice(change.says, after, 1 - after / before, change.price)

    alone = sorted((changed(one) for one in changes(config, seen)), key=lambda one: one.share, reverse=True)
    return replace(
        plan, advice=tuple(one for one in alone if one.share >= WORTH), halving=_halving(config, changed, seen)
    )


def _halving(config: Config, changed: "Callable[[Change], Advice]", seen: bool) -> Advice | None:
    """The fewest changes, the best one first each time, that take half of the time; None where all do not."""
    said: list[str] = []
    now = Change(config, "", "")
    best: Advice | None = None
    while True:
        further = [one for one in changes(now.config, seen) if not any(one.key == key for key in said)]
        tried = [(changed(one), one) for one in further]
        if not tried:
            return None
        best, one = max(tried, key=lambda pair: pair[0].share)
        if best.share < WORTH:
            return None
        said.append(one.key)
        now = replace(one, says=f"{now.says} {one.says}".strip(), price="; ".join(filter(None, (now.price, one.price))))
        if best.share >= 0.5:
            return best._replace(change=now.says, price=now.price)


@dataclass(frozen=True)
class Change:
    """A configuration with something less of one kind.

    Attributes:
        says: as ``--set`` takes it.
        price: what is lost.
        key: which kind.
    """

    config: Config
    says: str
    price: str
    key: str = ""


def changes(config: Config, seen: bool = True) -> Iterator[Change]:
    """What a run can do with less of; ``seen`` as for ``priced``."""

    def less(price: str, key: str, **values: Any) -> Iterator[Change]:
        data = config.model_dump(mode="json", exclude_unset=False)
        for path, value in values.items():
            *parents, last = path.split("__")
            place = data
            for parent in parents:
                place = place[parent]
            if place[last] == value:
                return
            place[last] = value
        says = " ".join(f"{path.replace('__', '.')}={_text(value)}" for path, value in values.items())
        yield Change(parse_config(data), says, price, key)

    seeds, solver, sparse, basins = config.seeds, config.solver, config.sparse, config.basins
    yield from less("fewer end points, wider intervals", "seeds", seeds__count=max(seeds.count // 2, 1))
    if seen:
        yield from less(
            "starts that need more steps stay unfinished", "steps", solver__max_steps=max(solver.max_steps // 2, 1)
        )
    if solver.certificates:
        yield from less("no end point is certified", "certificates", solver__certificates=0)
    if solver.exponents:
        yield from less("starts at the step limit stay unexplained", "exponents", solver__exponents=0)
    if basins.probes or basins.attractors:
        yield from less("no basins of attraction", "basins", basins__probes=0, basins__attractors=0)
    if not config.datasets:
        return
    if len(sparse.levels) > 1:
        kept = sorted(sparse.levels)[: (len(sparse.levels) + 1) // 2]
        yield from less("no codes of many atoms", "levels", sparse__levels=list(kept))
    yield from less("one random basis, and no spread over them", "bases", sparse__random_bases=1)
    named = {f"datasets__{name}__n": max(one.n // 2, 1) for name, one in config.datasets.items()}
    yield from less("half of the test images of each data set, intervals wider by 1.4", "images", **named)


def _text(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)
