"""Channels whose posterior has collapsed, its noise, and whether samples follow it."""

import torch

from probe.results.audit import Finding, judged, skipped
from probe.studies.audit.latent_thresholds import COLLAPSED
from probe.studies.audit.latents import by_number, named, upper
from probe.studies.audit.posterior import CEILING, FLOOR, Posterior, over_places
from probe.studies.audit.subject import Subject
from probe.studies.audit.thresholds import THRESHOLDS

QUIET = 0.01
"""Noise, relative to the signal, that is as good as none."""


def posterior(subject: Subject) -> list[Finding]:
    """Collapsed channels, cut-off variances, and whether samples follow the posterior."""
    found = subject.posterior
    if isinstance(found, str):
        return [skipped("posterior", found)]
    return [_collapsed(found), _noise(found), _clamped(found), _samples(found)]


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
    sigma = over_places(found.sigma)
    ratio = sigma / found.mean.transpose(0, 1).flatten(1).std(1, correction=0).clamp(min=1e-30)
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
