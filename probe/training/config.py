"""How a model is trained: the paper's settings (Section 3) are the defaults."""

from pydantic import Field

from probe.config import Strict
from probe.training.initialise import Initialisation


class TrainConfig(Strict):
    """Adam with a learning rate that falls linearly to 0 over the whole training.

    base_channels: d of Table 4; there are 32 d features before the bottleneck at 32 px, and k can be no larger.
    initialisation: torch's own, or he's (``probe.training.initialise``), with which short trainings get much farther.
    epochs: passes over the training images.
    batch_size: images per optimiser step.
    learning_rate: at the start.
    weight_decay: as an L2 term in Adam's gradient (not AdamW's), as the paper's "Adam with weight decay".
    noise: standard deviation of Gaussian noise added to the input, pixels in [0, 1]; the target is the clean image.
    mask: share of the input's 4x4 patches that are set to 0; the target is the whole image.
    min_steps: small training sets are gone through more often than ``epochs`` until there are so many steps.
    checkpoint_every: epochs between the models that are kept, from the untrained one (0) on; None: the last only.
    """

    base_channels: int = Field(16, ge=1, le=4096)
    initialisation: Initialisation = "torch"
    epochs: int = Field(500, ge=1, le=10**7)
    min_steps: int = Field(0, ge=0, le=10**10)
    batch_size: int = Field(128, ge=1, le=10**7)
    learning_rate: float = Field(5e-4, gt=0, le=1e3)
    weight_decay: float = Field(1e-4, ge=0, le=1e3)
    noise: float = Field(0.0, ge=0, le=1e3)
    mask: float = Field(0.0, ge=0, lt=1)
    checkpoint_every: int | None = Field(None, ge=1, le=10**7)

    def epochs_for(self, n: int) -> int:
        """Epochs over a training set of n images."""
        return max(self.epochs, -(-self.min_steps // self.steps_per_epoch(n)))

    def steps_per_epoch(self, n: int) -> int:
        """Optimiser steps in an epoch over n images; the last batch may be smaller."""
        return -(-n // self.batch_size)

    def rate(self, epoch: int, epochs: int) -> float:
        """The learning rate with which an epoch (1, 2, ...) of so many begins."""
        return self.learning_rate * (1 - (epoch - 1) / epochs)

    def keeps(self, epoch: int, epochs: int) -> bool:
        """Whether the model after so many epochs is kept."""
        return epoch == epochs or (self.checkpoint_every is not None and epoch % self.checkpoint_every == 0)
