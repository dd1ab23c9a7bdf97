"""From where on the latents of images, and the pictures decoded from them, are wrong."""

from probe.results.audit import Threshold

LEVELS = 255
"""Steps of an 8-bit picture between black and white."""
OUTLIER = 10.0
"""Magnitude of a place, in that of a typical place of its image, from which it is an outlier."""
COLLAPSED = 0.01
"""KL divergence from the prior, in nats a coordinate, below which a channel has collapsed."""
UNCHANGED = 0.5
"""Largest change of a decoded value, in levels of an 8-bit picture, that no such picture shows."""
LATENT_THRESHOLDS: dict[str, Threshold] = {
    "scale": Threshold(
        warn=1.25,
        fail=1.75,
        reason="factor between the deviation of scaled latents and the claimed one. SDXL's factor in place of Stable "
        "Diffusion's is wrong by 1.4; the choice of images alone made 1.6 between satellite pictures and photographs",
    ),
    "unscaled": Threshold(
        warn=1.75,
        reason="as scale, but nothing claims that these latents have deviation 1",
    ),
    "channel scale": Threshold(
        warn=1.75,
        fail=3,
        reason="as scale, for the worst channel. A single channel depends more on the images than all together",
    ),
    "offset": Threshold(
        warn=0.5,
        fail=1,
        reason="mean of scaled latents, in their deviations. A diffusion model's noise has mean 0, and an offset of 1 "
        "is as large as the signal",
    ),
    "channel offset": Threshold(
        warn=1,
        fail=2,
        reason="as offset, for the worst channel. Images of one kind (histology) moved it by 1",
    ),
    "unclaimed offset": Threshold(warn=1, reason="as offset, but no shift or mean is claimed"),
    "dead channels": Threshold(
        fail=0,
        reason="channels whose deviation is below a thousandth of the median channel's hold nothing of the image",
    ),
    "ignored channels": Threshold(
        fail=0,
        reason="channels that change no decoded value by half a level of 8 bits, whatever is put into them",
    ),
    "effective rank": Threshold(
        warn=0.5,
        fail=0.25,
        bad="below",
        reason="effective number of directions (Roy and Vetterli 2007), as a share of the channels. Below a half, half "
        "as many channels would hold nearly as much",
    ),
    "explained": Threshold(
        warn=0.9,
        fail=0.999,
        reason="share of a channel's variance that the other channels explain. From 0.999 on the channel is a "
        "combination of the others, within what half precision keeps",
    ),
    "outliers": Threshold(
        warn=0.2,
        fail=0.5,
        reason="share of images with a place ten times as large as a typical one. Single pictures have one for good "
        "reason: something small on an even ground",
    ),
    "collapsed channels": Threshold(
        fail=0,
        reason="channels with less than 0.01 nats a coordinate; an active unit has a posterior mean of variance 0.01 "
        "or more (Burda et al. 2016, Section 5.2)",
    ),
    "posterior noise": Threshold(
        warn=1,
        reason="the posterior's deviation relative to that of its mean over images and places, in the worst channel. "
        "Above 1 a sample is more noise than image",
    ),
    "clamped": Threshold(
        warn=0,
        fail=0.5,
        reason="share of log-variances at -30 or 20, where diffusers cuts them off. The spots of Stable Diffusion 1 "
        "lie at -30",
    ),
    "sampling": Threshold(
        fail=5,
        reason="in standard errors of the mean and of the deviation of drawn noise. Chance exceeds 5 once in a million",
    ),
    "brightness": Threshold(
        unit="levels",
        warn=1,
        fail=6,
        reason="of 255, the end of the 95 % interval that is nearer to 0. One level is the least step of a picture; 6 "
        "are about 2.3 units of CIELAB's lightness, a just noticeable difference (Mahy et al. 1994)",
    ),
    "saturated": Threshold(
        warn=0.02,
        fail=0.1,
        reason="share of decoded values that are black or white, less that of the images. Sound models at their own "
        "size stay below 0.01",
    ),
}
"""By name; part of ``THRESHOLDS``."""
