"""The posterior of a variational autoencoder: N(mean, exp(logvar)) for each latent coordinate of an image.

| symbol | meaning | shape |
|---|---|---|
| mu, logvar | of the posterior, in raw coordinates | (n, c, h, w) |
| sigma | exp(logvar / 2) | (n, c, h, w) |
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.autoencoders.adapter import autoencoder_classes
from probe.dynamics.memory import Fitting
from probe.precision import full_float32
from probe.studies.audit.latents import by_channel

FLOOR, CEILING = -30.0, 20.0
"""Between these, diffusers clamps logvar."""


@dataclass(frozen=True)
class Posterior:
    """Of a batch of images.

    Attributes:
        mean, logvar, drawn: in raw coordinates, float64 (n, c, ..., h, w), on the CPU; ``drawn`` is one sample.
    """

    mean: Tensor
    logvar: Tensor
    drawn: Tensor

    @property
    def sigma(self) -> Tensor:
        """Deviation (n, c, h, w)."""
        return torch.exp(self.logvar / 2)

    def divergence(self) -> Tensor:
        """KL divergence from N(0, 1) per channel (c,), in nats, a mean over images and places.

        (mu^2 + sigma^2 - 1 - log sigma^2) / 2 (Kingma and Welling 2014, Appendix B). Near 0 for a collapsed channel,
        whose posterior is the prior whatever the image is.
        """
        return over_places((self.mean.square() + self.logvar.exp() - 1 - self.logvar) / 2)

    def clamped(self) -> float:
        """The share of log-variances at an end of the range to which diffusers clamps them."""
        return float(((self.logvar <= FLOOR) | (self.logvar >= CEILING)).double().mean())

    def noise(self) -> Tensor:
        """(drawn - mean) / sigma, flattened: standard normal if samples follow the posterior.

        Without the coordinates whose noise float32 rounds away beside the mean.
        """
        seen = self.sigma > 2**-10 * self.mean.abs().clamp(min=2**-10)
        return ((self.drawn - self.mean) / self.sigma)[seen]


def over_places(values: Tensor) -> Tensor:
    """Mean of (n, c, ...) for each channel (c,)."""
    return values.transpose(0, 1).flatten(1).mean(1)


def posterior_of(model: Autoencoder, x: Tensor, seed: int = 0, together: int | None = None) -> Posterior | str:
    """The posterior of images x (n, channels, H, W) in the model's range, or why there is none.

    Args:
        together: images in a batch at most; None: all.
    """
    if model.class_name not in autoencoder_classes():
        return f"Whether a {model.class_name} has a posterior is not known: it is not a class of diffusers."
    module: Any = model.modules[0]
    generator = torch.Generator(x.device).manual_seed(seed)

    def run(part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = module.encode(part).latent_dist
        return given.mean, given.logvar, given.sample(generator=generator)

    with torch.no_grad(), full_float32():
        given = getattr(module.encode(x[:1]), "latent_dist", None)
        if not (
            isinstance(getattr(given, "mean", None), Tensor) and isinstance(getattr(given, "logvar", None), Tensor)
        ):
            return f"The encoder of {model.class_name} gives one latent, not a posterior."
        mean, logvar, drawn = Fitting(run, together)(x)
    if isinstance(why := by_channel(mean), str):
        return why
    if mean.shape != logvar.shape or mean.shape != drawn.shape:
        return f"Means, variances and samples of {model.class_name} have different shapes."
    return Posterior(*(part.cpu().double() for part in (mean, logvar, drawn)))
