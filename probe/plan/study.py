"""The plan of a study: models trained, and what is measured of each.

| symbol | meaning |
|---|---|
| n | training images of a model |
| F | FLOPs of D(E(x)) for one image; f(z) = E(D(z)) has as many |

A training takes 3 F for each image of each epoch: one pass forward, and about two backward.
"""

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import torch

from probe.autoencoders import Autoencoder
from probe.autoencoders.adapter import adapted
from probe.autoencoders.compatibility import RESOLUTION, untrained
from probe.config import ModelConfig
from probe.metrics.memorization import nearest_cosine
from probe.plan.cost import ModelCost, counted
from probe.plan.machines import Machine, card
from probe.plan.parts import (
    certificates,
    evaluation_seconds,
    here,
    images_stage,
    joined,
    noise,
    passes,
    report_stage,
    seconds_of,
)
from probe.plan.stage import Load, Plan, Range, StagePlan
from probe.studies.field import PRODUCTS
from probe.studies.probing.end_points import iteration
from probe.studies.sweeps.across_training import STARTS
from probe.studies.sweeps.config import CertifyingSolverConfig, GridConfig, StudyConfig
from probe.studies.sweeps.contraction import TOGETHER, backbones
from probe.studies.sweeps.grid import Cell, cells
from probe.studies.sweeps.kinds import AcrossTrainingConfig, ContractionConfig, MemorizationConfig
from probe.training.config import TrainConfig
from probe.training.images import fitted
from probe.training.train import build, train

FORWARD_AND_BACK = 3
UPDATE = 40
"""Calls of kernels in a step of the optimiser, besides those of the network."""
UNTRAINED = Range(2, 10, 50)
"""Steps under random weights, which contract."""
SAVED = 0.3
"""Seconds for which a model is built, saved, loaded, and its result written."""
TRAINING, EVALUATIONS, SIMILARITY = "training", "f", "similarity"
OURS = "the paper's network"
BATCHES = 16
"""Of a training that is timed: it is built and saved as well."""
IMAGES = 2048
"""Images whose similarities are timed."""
GPU = torch.device("cuda")
Facts = Mapping[str, Mapping[str, int]]


def study_stages(config: StudyConfig, drawn: Facts | None = None) -> tuple[StagePlan, ...]:
    """The stages of a study.

    Args:
        drawn: ``n_train``, ``channels`` and ``side`` of data sets whose images are known.

    Raises:
        UserError: as ``cells``.
    """
    read = [
        (one.train.n + (one.test if isinstance(one.test, int) else one.test.n), one.side)
        for one in config.data.values()
    ]
    if isinstance(config, ContractionConfig):
        models = _contraction(config)
    else:
        assert isinstance(config, GridConfig)
        models = _grid(config, grid_of(config, drawn))
    return (images_stage(read), models, report_stage(2 + 3 * len(config.data), len(config.data)))


def grid_of(config: GridConfig, drawn: Facts | None = None) -> list[tuple[Cell, ModelCost]]:
    """The models, each with its cost. Images that are not drawn yet count as configured, and in colour."""
    sizes = {
        name: {"n_train": one.train.n, "channels": 3, "side": one.side, **(drawn or {}).get(name, {})}
        for name, one in config.data.items()
    }

    @cache
    def cost(name: str, k: int) -> ModelCost:
        side = fitted(sizes[name]["side"], f"data set {name!r}", config.training.convolutions)
        return network_cost(sizes[name]["channels"], side, k, config.training)

    return [(cell, cost(cell.dataset, cell.k)) for cell in cells(config, sizes)]


def steps_of(limit: int) -> Range:
    """Steps of a start under a trained model, without extrapolation: medians of 6 to 70 were measured (MNIST, k of 2 to
    128, 600 to 6000 optimiser steps), and single starts need all."""
    return Range(5, 50, limit).at_most(limit)


def training_load(trainings: Sequence[tuple[int, int, ModelCost]], batch_size: int) -> Load:
    """Models to train, each with its epochs and images; a unit is an image of an epoch."""
    images = [epochs * n for epochs, n, _ in trainings]
    whole = max(sum(images), 1)
    flops, moved, calls = (
        sum(many * getattr(cost.f, name) for many, (_, _, cost) in zip(images, trainings, strict=True)) / whole
        for name in ("flops", "moved", "operations")
    )
    three = FORWARD_AND_BACK
    return Load(
        TRAINING, Range.exactly(sum(images)), three * flops, three * moved, (three * calls + UPDATE) / batch_size
    )


def _grid(config: GridConfig, grid: Sequence[tuple[Cell, ModelCost]]) -> StagePlan:
    training = config.training
    epochs = [training.epochs_for(cell.size) for cell, _ in grid]
    loads = [
        training_load([(e, cell.size, cost) for e, (cell, cost) in zip(epochs, grid, strict=True)], training.batch_size)
    ]
    for cell, cost in grid:
        loads += _measured(config, cell, cost)
    loads.append(Load("files", Range.exactly(len(grid)), seconds=SAVED))
    kept = [len([e for e in range(many + 1) if training.keeps(e, many)]) for many in epochs]
    largest = max(cost.weights for _, cost in grid)
    most = config.solver.max_steps  # type: ignore[attr-defined]
    return StagePlan(
        name="models",
        unit="models",
        units=len(grid),
        loads=joined(loads),
        memory=4 * largest,
        host=2 * max(_images_bytes(config, cell) for cell, _ in grid),
        disk=sum(many * cost.weights for many, (_, cost) in zip(kept, grid, strict=True)),
        files=sum(2 * many for many in kept) + len(grid),
        scratch=3 * largest,
        shards=len(grid),
        assumes=f"a start takes {steps_of(most).expected:.0f} of {most} steps",
    )


def _measured(config: GridConfig, cell: Cell, cost: ModelCost) -> list[Load]:
    """What is measured of one model."""
    solver = config.solver  # type: ignore[attr-defined]
    data = config.data[cell.dataset]
    test = data.test if isinstance(data.test, int) else data.test.n
    steps = steps_of(solver.max_steps)
    rows = iteration(solver.solver(), cost.latent_shape, GPU).batch_size
    found = []

    def evaluations(units: Range) -> None:
        found.append(passes(EVALUATIONS, units, cost.f, rows))

    def compared(images: Range, others: float) -> None:
        pixels = torch.Size(cost.sample_shape).numel()
        found.append(Load(SIMILARITY, images.times(others), 2.0 * pixels))

    if isinstance(config, AcrossTrainingConfig):
        epochs = config.training.epochs_for(cell.size)
        checkpoints = len([e for e in range(epochs + 1) if config.training.keeps(e, epochs)])
        of_kinds = [min(cell.size, solver.starts), min(test, solver.starts), *[solver.starts] * (len(STARTS) - 2)]
        points = sum(min(n, config.measure.points) for n in of_kinds)
        evaluations(steps.times(2 * sum(of_kinds) * checkpoints))
        found.append(passes(EVALUATIONS, Range.exactly(PRODUCTS * points * checkpoints), cost.f, rows))
        compared(Range.exactly(checkpoints * (of_kinds[0] + test + solver.starts)), cell.size)
        return found
    starts = solver.starts
    if isinstance(config, MemorizationConfig):
        starts, nulls = min(cell.size, solver.starts), config.measure.nulls
        evaluations(
            Range.total(
                [steps.times(starts), UNTRAINED.at_most(solver.max_steps).times(starts), Range.exactly(test + starts)]
            )
        )
        compared(Range(1, 0.3 * starts, 2 * starts), cell.size)
        compared(Range.exactly(3 * nulls + 1), cell.size)
    else:
        evaluations(steps.times(starts))
    if isinstance(solver, CertifyingSolverConfig):
        most = min(solver.certificates, starts)
        found.append(certificates(cost, Range(0, 0.7 * most, most)))
    return found


def _contraction(config: ContractionConfig) -> StagePlan:
    known = backbones()
    names = config.architectures or tuple(known)
    loads = []
    for name in names:
        cls, arguments = known[name]
        model = untrained(cls, seed=0, **{key: one for key, one in arguments.items() if key != "resolution"})
        spec = ModelConfig(source=name)
        cost = counted(model, spec, arguments.get("resolution", RESOLUTION))
        loads.append(passes(EVALUATIONS, Range.exactly(2 * config.samples * len(config.seeds)), cost.f, TOGETHER))
    return StagePlan(
        name="models", unit="architectures", units=len(names), loads=joined(loads), memory=0.0,
        files=len(names), shards=len(names), assumes="networks of random weights, built small",
    )  # fmt: skip


def study_rates(config: StudyConfig, drawn: Facts | None = None) -> dict[str, float]:
    """Seconds of a unit of the loads of a study on this machine, measured on its middle model in about a second."""
    if not isinstance(config, GridConfig):
        return {}
    grid = sorted(grid_of(config, drawn), key=lambda one: one[1].f.flops)
    cell, cost = grid[len(grid) // 2]
    device = _device(config)
    solver = config.solver  # type: ignore[attr-defined]
    images = noise(cost.sample_shape, IMAGES, device)
    rows = min(iteration(solver.solver(), cost.latent_shape, device).batch_size, solver.starts)
    return {
        TRAINING: training_seconds(cost, cell.k, config.training, device),
        EVALUATIONS: evaluation_seconds(network(cost, cell.k, config.training, device), cost, rows),
        SIMILARITY: seconds_of(lambda: nearest_cosine(images, images), device, len(images) ** 2),
    }


def _device(config: StudyConfig) -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() and config.device != "cpu" else "cpu")


def network(cost: ModelCost, k: int, config: TrainConfig, device: torch.device) -> Autoencoder:
    """A network of that cost, untrained."""
    channels, side = cost.sample_shape[0], cost.sample_shape[1]
    return adapted(build(channels, side, k, config, 0), ModelConfig(source=OURS, device=str(device)))


def training_seconds(cost: ModelCost, k: int, config: TrainConfig, device: torch.device) -> float:
    """Seconds that a training takes for an image of an epoch; measured on epochs of noise, by the training itself."""
    channels, side = cost.sample_shape[0], cost.sample_shape[1]
    images = torch.randint(
        256,
        (BATCHES * config.batch_size, channels, side, side),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.uint8,
    )
    short = config.model_copy(update={"epochs": 1, "min_steps": 0, "checkpoint_every": None})
    with tempfile.TemporaryDirectory() as folder:
        names = iter(range(1_000_000))

        def once() -> None:
            train(
                images,
                side=side,
                k=k,
                config=short,
                seed=0,
                folder=Path(folder, str(next(names))),
                cpu=device.type == "cpu",
            )

        return seconds_of(once, device, len(images))


@cache
def network_cost(channels: int, side: int, k: int, training: TrainConfig) -> ModelCost:
    """The cost of the paper's network, counted without weights.

    Raises:
        UserError: as ``build``.
    """
    from probe.autoencoders.convolutional import ConvAutoencoder

    build(channels, side, k, training, 0)
    with torch.device("meta"):
        network = ConvAutoencoder(channels, side, training.base_channels, k, training.convolutions)
    spec = ModelConfig(source=OURS)
    return counted(adapted(network, spec, device=torch.device("meta")), spec, side)


def _images_bytes(config: GridConfig, cell: Cell) -> float:
    side = config.data[cell.dataset].side
    return 3.0 * side * side * cell.size


def plan_study(
    config: StudyConfig, gpus: Sequence[str] = (), ranks: int = 1, pilot: int | None = None, drawn: Facts | None = None
) -> list[Plan]:
    """Plans of a study: on each GPU named, or on this machine, which is measured in about two seconds.

    Args:
        pilot: has no meaning here: what starts do is known only of models that are trained.
        drawn: as for ``study_stages``.

    Raises:
        UserError: a GPU is not in the table; or as ``study_stages``.
    """
    machines: list[Machine] = [card(name) for name in gpus]
    if not machines:
        machines = [here(study_rates(config, drawn), _device(config))]
    return [Plan("study", study_stages(config, drawn), machine, ranks) for machine in machines]
