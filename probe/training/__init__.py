"""Training the paper's convolutional autoencoder (Section 3, Table 4), deterministic and resumable."""

from probe.training.config import TrainConfig
from probe.training.images import crop, fitted, pad
from probe.training.train import Trained, build, train

__all__ = ["TrainConfig", "Trained", "build", "crop", "fitted", "pad", "train"]
