"""From where on a number is bad, and why there. docs/guides/audit.md shows this table."""

from probe.results.audit import Threshold
from probe.studies.audit.latent_thresholds import LATENT_THRESHOLDS

THRESHOLDS: dict[str, Threshold] = {
    "latent": Threshold(
        warn=0.03,
        fail=0.3,
        reason="relative to the latents' size. Diffusion models never see less noise than that: the least of Stable "
        "Diffusion's levels is 0.029; and a tenth of the way to unrelated latents is lost from 0.3 on",
    ),
    "picture": Threshold(
        unit="dB",
        warn=40,
        fail=30,
        bad="below",
        reason="PSNR of the worst picture against the reference's. At 40 dB the mean error is 2.5 of 255 levels, which "
        "is hardly seen; at 30 dB it is 8, which is",
    ),
    "float32 picture": Threshold(
        unit="dB",
        warn=58.9,
        fail=40,
        bad="below",
        reason="PSNR of the worst picture against the reference's. Rounding to 8 bits costs 58.9 dB, so a better "
        "float32 is as good as exact",
    ),
    "not finite": Threshold(fail=0.0, reason="a single NaN or infinity in a latent spoils a picture"),
    **LATENT_THRESHOLDS,
}
"""By name. A finding carries its threshold with it, into the JSON too."""
