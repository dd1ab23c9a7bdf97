"""Places of a latent whose magnitude exceeds that of all others by far.

The encoder of Stable Diffusion 1 makes such a spot in most images. A spot carries what belongs to the whole image: a
change there changes all of it, and tiles and crops lose it.

| symbol | meaning | shape |
|---|---|---|
| z | latents of n images | (n, c, places) |
| a | magnitude of a place: root mean square over channels of its robust standard scores | (n, places) |
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from probe.results.audit import Finding, judged, skipped
from probe.studies.audit.latent_thresholds import OUTLIER
from probe.studies.audit.latents import by_channel
from probe.studies.audit.subject import Subject
from probe.studies.audit.thresholds import THRESHOLDS

MAD = 1.4826
"""A normal variable's deviation, in median absolute deviations from the median."""
PLACES = 16
"""Places of a latent below which none can stand out from the others."""


@dataclass(frozen=True)
class Outliers:
    """The place of largest magnitude of each image.

    Attributes:
        ratio: its magnitude in those of a typical place of the image (n,).
        place: its index (n,).
    """

    ratio: Tensor
    place: Tensor

    def share(self, above: float) -> float:
        """The share of images whose largest place is more than ``above`` typical ones."""
        return float((self.ratio > above).double().mean())

    def same_place(self, above: float) -> tuple[int, float] | None:
        """The most frequent place of those images, and their share that has it; None if there are no such images."""
        places = self.place[self.ratio > above]
        if not len(places):
            return None
        place = int(places.mode().values)
        return place, float((places == place).double().mean())


def outliers(z: Tensor) -> Outliers:
    """How far the largest place of each image stands out, z (n, c, places).

    Channels are centred and scaled by median and median absolute deviation over images and places, so that the outlier
    itself does not change the scale; by the plain deviation where half of the values or more are equal, as behind a
    ReLU. A typical place has a magnitude near 1 then. With 1 as the least, a flat picture with one object, whose own
    median is near 0, does not stand out.
    """
    rows = z.transpose(0, 1).flatten(1)
    centre = rows.median(1).values[:, None]
    median = (rows - centre).abs().median(1).values
    spread = torch.where(median > 0, MAD * median, rows.std(1))
    live = spread > 1e-3 * spread.median()
    if not live.any():
        return Outliers(z.new_zeros(len(z)), torch.zeros(len(z), dtype=torch.long, device=z.device))
    scores = (z[:, live] - centre[live]) / spread[live, None]
    magnitude = scores.square().mean(1).sqrt()
    largest, place = magnitude.max(1)
    return Outliers(largest / magnitude.median(1).values.clamp(min=1), place)


def spots(subject: Subject) -> list[Finding]:
    """Whether images have a place of far larger magnitude than the others, and whether it is the same in all."""
    z = by_channel(subject.encoded)
    if isinstance(z, str):
        return [skipped("spots", z)]
    if z.shape[2] < PLACES:
        return [skipped("spots", f"In a latent of {z.shape[2]} place(s) none can stand out; {PLACES} are needed.")]
    found = outliers(z)
    share, same = found.share(OUTLIER), found.same_place(OUTLIER)
    median, largest = float(found.ratio.median()), float(found.ratio.max())
    sentence = (
        f"The largest place of an image has {median:.3g} times the magnitude of a typical place, and {largest:.3g} "
        "times at most."
    )
    if same:
        row, column = divmod(same[0], subject.encoded.shape[-1])
        sentence = (
            f"{100 * share:.3g} % of the images have a spot of more than {OUTLIER:g} times the usual magnitude "
            f"({largest:.3g} at most), {100 * same[1]:.3g} % of these at row {row}, column {column}. A spot carries "
            "what belongs to the whole image: tiles, crops and inpainting change all of it."
        )
    numbers = {"median_ratio": median, "largest_ratio": largest, "same_place": same[1] if same else 0.0}
    return [judged("spots", "spots", share, THRESHOLDS["outliers"], sentence, numbers)]
