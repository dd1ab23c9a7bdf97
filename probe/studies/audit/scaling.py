"""Scaled latents against what their configuration claims: deviation 1 and mean 0.

| symbol | meaning | shape |
|---|---|---|
| z | scaled latents of n images, drawn from the posterior where there is one | (n, c, places) |
| m, s | mean and deviation of a channel over images and places | (c,) |
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from probe.autoencoders import Autoencoder
from probe.autoencoders.coordinates import RULES
from probe.results.audit import Finding, judged, skipped
from probe.studies.audit.latents import by_channel, by_number
from probe.studies.audit.subject import Subject
from probe.studies.audit.thresholds import THRESHOLDS

TINY = 1e-30


@dataclass(frozen=True)
class Moments:
    """Means and deviations of latents.

    Attributes:
        mean, std: per channel (c,).
        pooled_mean, pooled_std: over all numbers, the deviation from one common mean. Latent diffusion divides by it
            (Rombach et al. 2022, Section 4.3.2 and Appendix G), which diffusers calls scaling_factor.
    """

    mean: Tensor
    std: Tensor
    pooled_mean: float
    pooled_std: float


def moments(z: Tensor) -> Moments:
    """Mean and deviation of z (n, c, places), per channel and of all."""
    return Moments(z.mean((0, 2)), z.std((0, 2), correction=0), float(z.mean()), float(z.std(correction=0)))


@dataclass(frozen=True)
class Claims:
    """What a configuration says about scaled latents.

    Attributes:
        scale: that they have a certain deviation. mean: that they have mean 0. channels: both for each channel.
        deviation: which. Statistics per channel give 1, and a factor beside them is the deviation that the diffusion
            model was trained at, such as the 0.5 of EDM; without them the factor's purpose is to give 1.
    """

    scale: bool
    mean: bool
    channels: bool
    deviation: float = 1.0

    @classmethod
    def of(cls, model: Autoencoder) -> "Claims":
        """Raw latents claim nothing; a user's own model does if it has a scaling_factor or a shift_factor."""
        rule = RULES.get(model.class_name)
        if model.latents != "scaled":
            return cls(False, False, False)
        channels = rule is not None and rule.statistics is not None
        channels = channels and (model.latents_mean is not None or not (rule and rule.optional))
        scale = rule.factor if rule else model.scaling_factor != 1
        factor = model.scaling_factor if channels and rule and rule.factor else 1.0
        return cls(channels or scale, channels or model.shift_factor != 0, channels, factor)


def scaling(subject: Subject) -> list[Finding]:
    """Deviation and mean of scaled latents, of all and of the worst channel."""
    z = by_channel(_drawn(subject))
    if isinstance(z, str):
        return [skipped("scaling", z)]
    found, claims = moments(z), Claims.of(subject.model)
    findings = [_deviation(subject.model, found, claims), _mean(subject.model, found, claims)]
    findings.append(_mean_of_a_channel(found, claims))
    return [*findings, _deviation_of_a_channel(found, claims)] if claims.channels else findings


def _drawn(subject: Subject) -> Tensor:
    """Latents as diffusion models are trained on: a sample of the posterior where there is one, else E(x)."""
    if isinstance(subject.posterior, str):
        return subject.encoded
    return replace(subject.model, encoder=lambda z: z).encode(subject.posterior.drawn)


def _deviation(model: Autoencoder, found: Moments, claims: Claims) -> Finding:
    deviation, right = found.pooled_std, claims.deviation
    off, threshold = _factor(deviation / right), THRESHOLDS["scale" if claims.scale else "unscaled"]
    sentence = f"{model.latents.capitalize()} latents have deviation {deviation:.3g} (by channel {_range(found.std)})"
    if threshold.verdict(off) == "OK":
        sentence += f"; it should be {right:g}." if claims.scale else "; nothing says what it should be."
    elif not claims.scale:
        sentence += f", and nothing scales them to 1. {_better_scale(model, deviation, claims)}"
    else:
        sentence += (
            f", not {right:g}: scaled wrongly. {_effect(deviation, right)} {_better_scale(model, deviation, claims)}"
        )
    numbers = {"deviation": deviation, **by_number("deviation", found.std)}
    return judged("scaling", "deviation", off, threshold, sentence, numbers)


def _effect(deviation: float, right: float) -> str:
    look = "pale and washed out" if deviation > right else "harsh, with too much contrast"
    return f"What a diffusion model makes at deviation {right:g} decodes to pictures that are {look}."


def _better_scale(model: Autoencoder, deviation: float, claims: Claims) -> str:
    if not deviation:
        return "All latents are equal."
    now = model.scaling_factor if model.latents == "scaled" else 1.0
    value = (
        f"multiply latents_std by {deviation / claims.deviation:.3g}"
        if claims.channels
        else f"scaling_factor {now / deviation:.4g}"
    )
    return f"For these images: {value}."


def _mean(model: Autoencoder, found: Moments, claims: Claims) -> Finding:
    offset = found.pooled_mean / max(found.pooled_std, TINY)
    threshold = THRESHOLDS["offset" if claims.mean else "unclaimed offset"]
    sentence = f"Their mean is {offset:+.2g} deviations from 0"
    if threshold.verdict(abs(offset)) == "OK":
        sentence += "."
    else:
        sentence += ": latents come out too dark or too bright."
        if not claims.channels:
            now = (model.shift_factor, model.scaling_factor) if model.latents == "scaled" else (0.0, 1.0)
            sentence += f" For these images: shift_factor {now[0] + found.pooled_mean / now[1]:.4g}."
    numbers = {"mean": found.pooled_mean, **by_number("mean", found.mean)}
    return judged("scaling", "mean", abs(offset), threshold, sentence, numbers)


def _mean_of_a_channel(found: Moments, claims: Claims) -> Finding:
    live = found.std > 1e-3 * found.std.median()
    offsets = torch.where(live, found.mean / found.std.clamp(min=TINY), 0.0)
    worst = int(offsets.abs().argmax())
    threshold = THRESHOLDS["channel offset" if claims.channels else "unclaimed offset"]
    sentence = f"Channel {worst} is the furthest from 0: its mean is {offsets[worst]:+.2g} of its deviations."
    if threshold.verdict(float(offsets[worst].abs())) != "OK":
        sentence += " Standardise each channel (latents_mean and latents_std)."
    return judged("scaling", "mean of a channel", float(offsets[worst].abs()), threshold, sentence)


def _deviation_of_a_channel(found: Moments, claims: Claims) -> Finding:
    off = [_factor(float(deviation) / claims.deviation) for deviation in found.std]
    worst = off.index(max(off))
    sentence = f"Channel {worst} is the furthest from deviation {claims.deviation:g}: it has {found.std[worst]:.3g}."
    return judged("scaling", "deviation of a channel", off[worst], THRESHOLDS["channel scale"], sentence)


def _factor(deviation: float) -> float:
    """Between a deviation and 1, at least 1."""
    return max(deviation, 1 / max(deviation, TINY))


def _range(values: Tensor) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"
