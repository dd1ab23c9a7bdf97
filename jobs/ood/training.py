"""The model of an OOD experiment that trains its own, on rank 0."""

from typing import TYPE_CHECKING

from jobs.ood.directory import MODEL
from jobs.progress import Meter
from probe.config import ModelConfig
from probe.studies.ood.config import OodTraining
from probe.training import fitted, train
from probe.training.checkpoint import STATE, model_folder

if TYPE_CHECKING:
    from jobs.ood.work import OodWork


def shape(work: "OodWork") -> tuple[int, int]:
    """Channels (1 for grey training images) and side of the images that the model takes."""
    return (1 if work.drawn("train")["grey"] else 3), fitted(work.config.resolution, "inside/train")


def trained_model(work: "OodWork") -> ModelConfig:
    """Train the model, or resume its training, if it is not there; where it then is."""
    settings = work.config.train
    assert settings is not None
    folder, epochs = work.directory.path / MODEL, settings.epochs_for(work.drawn("train")["n_used"])
    final = model_folder(folder, epochs)
    if not work.on_rank_0(lambda: final.exists() and not (folder / STATE).exists()):
        with work.leading("training", "epochs", epochs) as meter:
            if work.leads:
                _train(work, settings, meter)
    return ModelConfig(source=str(final), device=settings.device)


def _train(work: "OodWork", settings: OodTraining, meter: Meter) -> None:
    (channels, side), folder = shape(work), work.directory.path / MODEL
    with work.tracked() as tracker:

        def on_epoch(done: int, epochs: int, loss: float) -> None:
            meter.update(done, f"loss {loss:.5f}")
            tracker.log({"loss": loss, "learning_rate": settings.rate(done, epochs)}, step=done)

        trained = train(
            work.images("train")[:, :channels].contiguous(),
            side=side,
            k=settings.k,
            config=settings,
            seed=settings.seed,
            folder=folder,
            cpu=settings.device == "cpu",
            on_epoch=on_epoch,
        )
    work.directory.update_manifest(training={"epochs": trained.epochs, "loss": trained.losses})
    (folder / STATE).unlink()  # no training will resume from it
