"""How a model is trained: the paper's settings (Section 3) are the defaults."""

from typing import Literal

from pydantic import Field

from probe.config import ConfigModel

Initialisation = Literal["torch", "he"]
Schedule = Literal["linear", "constant"]


class TrainConfig(ConfigModel):
    """Adam with a learning rate that falls linearly to 0 over the whole training, or stays."""

    base_channels: int = Field(
        16, ge=1, le=4096, description="d of Table 4; 32 d features before the bottleneck at 32 px, which bound k"
    )
    convolutions: int = Field(
        4,
        ge=2,
        le=8,
        description="of the encoder, of stride 2 and d, 2d, 4d, ... channels; the decoder mirrors them",
    )
    initialisation: Initialisation = Field(
        "torch", description="of the weights: torch's own, or he's, with which short trainings get much further"
    )
    epochs: int = Field(500, ge=1, le=10**7, description="passes over the training images")
    min_steps: int = Field(
        0, ge=0, le=10**10, description="optimiser steps at least; small training sets get more epochs for it"
    )
    batch_size: int = Field(128, ge=1, le=10**7, description="images per optimiser step")
    learning_rate: float = Field(5e-4, gt=0, le=1e3, description="of the first epoch")
    schedule: Schedule = Field("linear", description="of the learning rate: falls linearly to 0, or stays constant")
    weight_decay: float = Field(
        1e-4, ge=0, le=1e3, description="an L2 term in Adam's gradient, as in the paper (not AdamW's)"
    )
    noise: float = Field(
        0.0,
        ge=0,
        le=1e3,
        description="standard deviation of Gaussian noise on the input, pixels in [0, 1]; the target is clean",
    )
    mask: float = Field(
        0.0, ge=0, lt=1, description="share of the input's 4x4 patches set to 0; the target is the whole image"
    )
    checkpoint_every: int | None = Field(
        None,
        ge=1,
        le=10**7,
        description="epochs between kept models, the untrained one (0) included; null keeps the last only",
    )

    def epochs_for(self, n: int) -> int:
        """Epochs over a training set of n images."""
        return max(self.epochs, -(-self.min_steps // self.steps_per_epoch(n)))

    def steps_per_epoch(self, n: int) -> int:
        """Optimiser steps in an epoch over n images; the last batch may be smaller."""
        return -(-n // self.batch_size)

    def rate(self, epoch: int, epochs: int) -> float:
        """The learning rate with which an epoch (1, 2, ...) of so many begins."""
        return self.learning_rate * (1 - (epoch - 1) / epochs if self.schedule == "linear" else 1)

    def keeps(self, epoch: int, epochs: int) -> bool:
        """Whether the model after so many epochs is kept."""
        return epoch == epochs or (self.checkpoint_every is not None and epoch % self.checkpoint_every == 0)
