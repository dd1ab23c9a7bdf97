"""What is measured of each model of a study, by its kind; of ``bottleneck`` and ``training_size`` see
``probe.studies.sweeps.memorization``."""

from collections.abc import Callable, Mapping

from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.config import DictionaryConfig, SeedConfig
from probe.dynamics import LatentMap
from probe.studies.sweeps import across_training as checkpoints
from probe.studies.sweeps import contraction, convergence
from probe.studies.sweeps.config import AcrossTrainingConfig, ContractionConfig, ConvergenceConfig
from probe.studies.sweeps.grid import Backbone, Measured


def of_checkpoints(
    models: Mapping[int, Autoencoder],
    train: Tensor,
    test: Tensor,
    config: AcrossTrainingConfig,
    *,
    seed: int,
    on_checkpoint: Callable[[int], None] | None = None,
) -> Measured:
    """Of the checkpoints of one training, by epoch.

    Args:
        train: the images that it was trained on, uint8 (n, c, s, s). test: others.
        seed: of the noise.
        on_checkpoint: called with the number of checkpoints that are done.

    Returns:
        ``checkpoints``: by epoch, what ``probe.studies.sweeps.across_training.measure`` says. Tensors: the samples as
        ``EPOCH.NAME``, the decoded end points as ``EPOCH.film``, and the ``images`` that these began from.
    """
    records, tensors = {}, {"images": train[: config.measure.film]}
    course = checkpoints.across_training(
        {str(epoch): model for epoch, model in models.items()},
        train,
        test,
        solver=config.solver.solver(),
        dictionary=config.measure.dictionary(),
        starts=config.solver.starts,
        points=config.measure.points,
        film=config.measure.film,
        seed=seed,
    )
    for epoch, found in course:
        records[epoch] = found.values
        tensors |= {f"{epoch}.{name}": sample for name, sample in found.samples.items()} | {f"{epoch}.film": found.film}
        if on_checkpoint:
            on_checkpoint(len(records))
    return Measured({"checkpoints": records}, tensors)


def of_convergence(model: Autoencoder, latent_shape: tuple[int, ...], config: ConvergenceConfig, seed: int) -> Measured:
    """Predicted against actual steps from Gaussian starts.

    Returns:
        What ``sweeps.convergence.record`` says, its lists as tensors, and ``error``, ``null_error`` of each
        start.
    """
    found = convergence.convergence(
        LatentMap(model),
        latent_shape,
        seeds=SeedConfig(count=config.solver.starts, seed=seed),
        solver=config.solver.solver(),
        dictionary=DictionaryConfig(euclidean=config.measure.euclidean),
        device=model.device,
        dtype=model.dtype,
    )
    lists = ("predicted", "actual", "radius", "attractor")
    values = {name: value for name, value in convergence.record(found).items() if name not in lists}
    tensors = {name: getattr(found, name) for name in lists}
    return Measured(values, {**tensors, "error": found.error, "null_error": found.null_error})


def of_backbone(backbone: Backbone, config: ContractionConfig) -> Measured:
    """Variance ratios of an architecture: what ``probe.studies.sweeps.contraction.record`` says."""
    (found,) = contraction.contraction([backbone.architecture], seeds=config.seeds, samples=config.samples)
    return Measured(contraction.record(found))
