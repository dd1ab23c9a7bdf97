"""From where on a number is bad, and why there. docs/guides/audit.md shows this table."""

from probe.results.audit import Threshold
from probe.studies.audit.latent_thresholds import LATENT_THRESHOLDS

THRESHOLDS: dict[str, Threshold] = {
    "latent": Threshold(
        warn=0.03,
        fail=0.3,
        reason="RMS error relative to the latents' size. The least noise that Stable Diffusion is trained with is "
        "0.029, so a smaller error is lost in it; ten times that is visible",
    ),
    "picture": Threshold(
        unit="dB",
        warn=40,
        fail=30,
        bad="below",
        reason="PSNR of the worst picture. At 40 dB the RMS error is 2.5 of 255 levels, which is hardly seen; at 30 dB "
        "it is 8, which is",
    ),
    "float32 latent": Threshold(
        warn=1e-3,
        fail=0.03,
        reason="RMS error relative to the latents' size. Rounding in float32 gives 1e-6 to 1e-5; at 1e-3 only three "
        "digits are left; 0.03 as above",
    ),
    "float32 picture": Threshold(
        unit="dB",
        warn=58.9,
        fail=40,
        bad="below",
        reason="PSNR of the worst picture. Rounding a picture to 8 bits costs 58.9 dB; 40 dB as above",
    ),
    "not finite": Threshold(fail=0.0, reason="share of NaN and infinity. A single one in a latent spoils the picture"),
    "headroom": Threshold(
        warn=0.5,
        fail=1.0,
        reason="largest activation relative to float16's largest number, 65504. Those of other images may well be "
        "twice as large",
    ),
    "twice": Threshold(
        warn=0.0,
        fail=1e-3,
        reason="largest difference of two runs relative to the size of the output. Some GPU kernels add up in any "
        "order, so that the last bits differ; more is a draw of random numbers, or a state that runs change",
    ),
    "sample": Threshold(
        unit="dB",
        warn=40,
        bad="below",
        reason="PSNR of pictures of a sample against those of the mode. Below 40 dB the draw is seen",
    ),
    "tiled latent": Threshold(
        warn=0.1,
        reason="RMS difference relative to the latents' size. Each tile has its own statistics in normalisations and "
        "attention, so tiling always changes something, and smaller tiles change more",
    ),
    "tiled picture": Threshold(
        unit="dB", warn=30, bad="below", reason="PSNR of the worst picture against the one without tiles; as above"
    ),
    "seam": Threshold(
        warn=2,
        fail=4,
        reason="strongest jump at a seam, from one column or row to the next, in what tiling changes, relative to the "
        "usual jump elsewhere plus one level of 255. Blended tiles change smoothly; an edge of a few levels along a "
        "straight line is seen",
    ),
    "shape": Threshold(
        warn=0.0,
        fail=0.0,
        reason="share of the output that is missing or too much: tiles must not change the size of a picture",
    ),
    "larger loss": Threshold(
        unit="dB",
        warn=3,
        fail=10,
        reason="how much PSNR reconstructions lose at twice the size. 3 dB is twice the squared error",
    ),
    "larger latents": Threshold(
        warn=1.25,
        fail=2,
        reason="RMS of latents at twice the size relative to those at the size (or the inverse, if it is larger): a "
        "convolutional encoder gives latents of one size at all resolutions",
    ),
    **LATENT_THRESHOLDS,
}
"""By name. A finding carries its threshold with it, into the JSON too."""
