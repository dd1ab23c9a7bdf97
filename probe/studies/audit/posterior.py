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
from probe.results.audit import Finding, judged, skipped
from probe.studies.audit.latent_thresholds import COLLAPSED
from probe.studies.audit.latents import by_number, named, upper
from probe.studies.audit.subject import TOGETHER, Subject
from probe.studies.audit.thresholds import THRESHOLDS

FLOOR, CEILING = -30.0, 20.0
"""Between these, diffusers clamps logvar."""
QUIET = 0.01
"""Noise, relative to the signal, that is as good as none."""


@dataclass(frozen=True)
class Posterior:
    """Of a batch of images.

    Attributes:
        mean, logvar, drawn: in raw coordinates, float64 (n, c, h, w), on the CPU; ``drawn`` is one sample.
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
        return ((self.mean.square() + self.logvar.exp() - 1 - self.logvar) / 2).mean((0, 2, 3))

    def clamped(self) -> float:
        """The share of log-variances at an end of the range to which diffusers clamps them."""
        return float(((self.logvar <= FLOOR) | (self.logvar >= CEILING)).double().mean())

    def noise(self) -> Tensor:
        """(drawn - mean) / sigma, flattened: standard normal if samples follow the posterior.

        Without the coordinates whose noise float32 rounds away beside the mean.
        """
        seen = self.sigma > 2**-10 * self.mean.abs().clamp(min=2**-10)
        return ((self.drawn - self.mean) / self.sigma)[seen]


def posterior_of(model: Autoencoder, x: Tensor, seed: int = 0, together: int = TOGETHER) -> Posterior | str:
    """The posterior of images x (n, channels, H, W) in the model's range, or why there is none.

    Args:
        together: images in a batch at most.
    """
    if model.class_name not in autoencoder_classes():
        return f"whether a {model.class_name} has a posterior is not known: it is not a class of diffusers"
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
            return f"the encoder of a {model.class_name} gives one latent, not a posterior"
        mean, logvar, drawn = Fitting(run, together)(x)
    if mean.ndim != 4 or mean.shape != logvar.shape or mean.shape != drawn.shape:
        return f"a posterior of shape {tuple(mean.shape)} with samples {tuple(drawn.shape)} is not (n, channels, h, w)"
    return Posterior(*(part.cpu().double() for part in (mean, logvar, drawn)))


def posterior(subject: Subject) -> list[Finding]:
    """Collapsed channels, cut-off variances, and whether samples follow the posterior."""
    found = subjects_posterior(subject)
    if isinstance(found, str):
        return [skipped("posterior", f"There is nothing to check: {found}.")]
    return [_collapsed(found), _noise(found), _clamped(found), _samples(found)]


def subjects_posterior(subject: Subject) -> Posterior | str:
    """Of all images, or why there is none."""
    if subject.model.kind != "image":
        return f"of {subject.model.kind} models no posterior is looked at"
    return posterior_of(subject.model, subject.x, subject.seed)


def _collapsed(found: Posterior) -> Finding:
    divergence = found.divergence()
    gone = torch.nonzero(divergence < COLLAPSED).flatten().tolist()
    sentence = f"By channel, KL is {divergence.min():.3g} to {divergence.max():.3g} nats a coordinate."
    if gone:
        have = named(gone, "has collapsed: its", "have collapsed: their")
        sentence = upper(f"{have} posterior is N(0, 1) for every image, noise without signal.")
    numbers = {"kl": float(divergence.sum()), **by_number("kl", divergence)}
    return judged("posterior", "collapsed", len(gone), THRESHOLDS["collapsed channels"], sentence, numbers)


def _noise(found: Posterior) -> Finding:
    sigma = found.sigma.mean((0, 2, 3))
    ratio = sigma / found.mean.std((0, 2, 3), correction=0).clamp(min=1e-30)
    worst, threshold = int(ratio.argmax()), THRESHOLDS["posterior noise"]
    most = float(ratio[worst])
    sentence = f"The posterior's deviation is {sigma.min():.2g} to {sigma.max():.2g}"
    if threshold.verdict(most) != "OK":
        sentence += f". In channel {worst} that is {most:.2g} times the signal: a sample loses the image."
    elif most < QUIET:
        sentence += ": almost no noise, as usual for diffusion models."
    else:
        sentence += f"; {most:.2g} of the signal in channel {worst}, the noisiest."
    return judged("posterior", "noise", most, threshold, sentence, by_number("sigma", sigma))


def _clamped(found: Posterior) -> Finding:
    share = found.clamped()
    sentence = "No log-variance is at the ends of the range that diffusers allows."
    if share:
        sentence = f"{100 * share:.3g} % of the log-variances are cut off at {FLOOR:g} or {CEILING:g}."
    return judged("posterior", "clamped", share, THRESHOLDS["clamped"], sentence)


def _samples(found: Posterior) -> Finding:
    noise = found.noise()
    if not len(noise):
        return skipped("posterior", "Rounding hides all noise that is drawn.", "sampling")
    mean, std = float(noise.mean()), float(noise.std(correction=0))
    errors = max(abs(mean) * len(noise) ** 0.5, abs(std - 1) * (2 * len(noise)) ** 0.5)
    sentence = (
        f"The noise of sample() has mean {mean:+.2g} and deviation {std:.3g}, in the posterior's; 0 and 1 are right."
    )
    return judged("posterior", "sampling", errors, THRESHOLDS["sampling"], sentence)
