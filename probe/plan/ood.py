"""The plan of an OOD experiment: a model that is trained where none is given, training attractors, and scores."""

from collections.abc import Sequence

import torch

from probe.autoencoders import Autoencoder, device_of, load_autoencoder
from probe.plan.cost import ModelCost, counted, model_cost
from probe.plan.machines import Machine, card
from probe.plan.parts import certificates, evaluation_seconds, here, images_stage, joined, passes, report_stage
from probe.plan.stage import Load, Plan, Range, StagePlan
from probe.plan.study import (
    EVALUATIONS,
    GPU,
    TRAINING,
    network,
    network_cost,
    steps_of,
    training_load,
    training_seconds,
)
from probe.studies.ood.config import OodConfig
from probe.studies.ood.scores import starts_of
from probe.studies.probing.end_points import iteration
from probe.training.images import fitted

DISTANCE = "distances"


def ood_cost(config: OodConfig, channels: int = 3, model: Autoencoder | None = None) -> ModelCost:
    """The cost of the experiment's model, if it is loaded; of one that it trains itself on images of so many channels.

    Raises:
        UserError: as ``model_cost`` and ``build``.
    """
    if config.model is not None and model is not None:
        return counted(model, config.model, model.side or config.resolution)
    if config.model is not None:
        return model_cost(config.model, config.resolution)
    assert config.train is not None
    side = fitted(config.resolution, "inside/train", config.train.convolutions)
    return network_cost(channels, side, config.train.k, config.train)


def ood_stages(config: OodConfig, cost: ModelCost) -> tuple[StagePlan, ...]:
    """The stages of an OOD experiment; the model is trained in ``attractors``."""
    n, solver = config.inside.train.n, config.solver
    steps = steps_of(solver.max_steps)
    starts, d = starts_of(config, n), cost.d
    rows = iteration(solver.solver(), cost.latent_shape, GPU).batch_size
    first = min(solver.starts, n)
    loads = [
        passes(EVALUATIONS, steps.times(starts), cost.f, rows),
        certificates(cost, Range(0, 0.7 * solver.certificates, solver.certificates).times(starts / first)),
    ]
    latent = cost.element * d
    disk, files = float((first + starts) * latent), 1
    if config.train is not None:
        epochs = config.train.epochs_for(n)
        loads.insert(0, training_load([(epochs, n, cost)], config.train.batch_size))
        disk, files = disk + cost.weights, files + 2
    sizes = [config.inside.test.n, *(one.n for one in config.outside.values())]
    images = sum(sizes) + config.reencoded * sum(one.source != "noise" for one in config.outside.values())
    still = {"reconstruction": 1, "reconstruction_ratio": 1.5}
    passes_of_one = 0.5 + sum(still.get(name, 0) for name in config.scores)
    scored = [
        passes(EVALUATIONS, Range.total([steps.times(images), Range.exactly(images * passes_of_one)]), cost.f, rows),
        Load(DISTANCE, steps.times(images * starts), 2.0 * d),
    ]
    if "knn" in config.scores:
        scored.append(Load(DISTANCE, Range.exactly(images * first), 2.0 * d))
    pixels = 3.0 * config.resolution**2
    memory, host = cost.weights + 2 * (first + starts) * latent, 2 * pixels * max(n, *sizes)
    told = f"a start takes {steps.expected:.0f} of {solver.max_steps} steps"
    read = [(one, config.resolution) for one in (n, *sizes)]
    return (
        images_stage(read),
        StagePlan(
            "attractors", "starts", starts, joined(loads), memory, host=host, disk=disk, files=files, assumes=told
        ),
        StagePlan(
            "scores", "images", images, joined(scored), memory, host=host, disk=images * 60.0,
            files=len(sizes) + 2, shards=len(sizes), assumes=told,
        ),
        report_stage(2 + len(config.scores), len(sizes)),
    )  # fmt: skip


def ood_rates(config: OodConfig, cost: ModelCost, model: Autoencoder | None = None) -> dict[str, float]:
    """Seconds of a unit of the loads of an experiment on this machine.

    Args:
        model: the one of the configuration, if it is loaded; one that is trained is built.
    """
    if config.train is not None:
        device = torch.device("cuda" if torch.cuda.is_available() and config.train.device != "cpu" else "cpu")
        model = network(cost, config.train.k, config.train, device)
    if model is None:
        return {}
    rows = iteration(config.solver.solver(), cost.latent_shape, model.device).batch_size
    found = {EVALUATIONS: evaluation_seconds(model, cost, min(rows, config.solver.starts))}
    if config.train is not None:
        found[TRAINING] = training_seconds(cost, config.train.k, config.train, model.device)
    return found


def plan_ood(
    config: OodConfig,
    gpus: Sequence[str] = (),
    ranks: int = 1,
    pilot: int | None = None,
    channels: int = 3,
    model: Autoencoder | None = None,
) -> list[Plan]:
    """Plans of an OOD experiment, as ``plan_study``; ``channels`` and ``model`` as for ``ood_cost``.

    Raises:
        UserError: a GPU is not in the table; or as ``ood_cost``.
    """
    machines: list[Machine] = [card(name) for name in gpus]
    cost = ood_cost(config, channels, model)
    if not machines:
        rates = ood_rates(config, cost, model or cost.model or _loaded(config))
        machines = [here(rates, device_of(config.device))]
    return [Plan("ood", ood_stages(config, cost), machine, ranks) for machine in machines]


def _loaded(config: OodConfig) -> Autoencoder | None:
    return load_autoencoder(config.model) if config.model else None
