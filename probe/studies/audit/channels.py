"""Channels that hold nothing, that the decoder ignores, or that repeat others.

| symbol | meaning | shape |
|---|---|---|
| z | latents of n images | (n, c, places) |
| R | correlation of the channels over images and places | (c, c) |
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from probe.metrics.sets import effective_rank
from probe.precision import full_float32
from probe.results.audit import Finding, judged, skipped
from probe.studies.audit.latent_thresholds import LEVELS, UNCHANGED
from probe.studies.audit.latents import by_channel, by_number, named, upper
from probe.studies.audit.subject import Subject, decode
from probe.studies.audit.thresholds import THRESHOLDS
from probe.training.images import is_grey

STILL = 1e-3
"""Deviation of a channel, in deviations of the median channel, below which it does not vary."""
ROWS_A_CHANNEL = 10
"""Rows (images times places) for each channel below which correlations between channels are mostly chance."""
MOST, PICTURES = 128, 2
"""Channels that are replaced one by one, and the pictures that this is tried on; each pair is decoded."""


def channels(subject: Subject) -> list[Finding]:
    """Channels that are the same for all images, and channels that others explain."""
    z = by_channel(subject.encoded)
    if isinstance(z, str):
        return [skipped("channels", z)]
    if not enough_rows(z):
        rows = z.shape[0] * z.shape[2]
        why = f"{rows} places of all images are too few to compare {z.shape[1]} channels; set a larger --count."
        return [_dead(z), *(skipped("channels", why, name) for name in ("effective rank", "repeated"))]
    found = spread(z)
    if subject.images.shape[1] == 3 and is_grey(subject.images):
        why = "The images are grey: channels that hold colour look alike on them; take images in colour."
        return [_dead(z), _rank(found, z), skipped("channels", why, "repeated")]
    return [_dead(z), _rank(found, z), _repeated(found)]


def _dead(z: Tensor) -> Finding:
    still = dead(z)
    sentence = f"All {z.shape[1]} channels vary with the image."
    if still:
        sentence = upper(
            f"{named(still, 'has', 'have')} one value for every image and place: dead, without information."
        )
    return judged("channels", "dead", len(still), THRESHOLDS["dead channels"], sentence)


def _rank(found: "Spread", z: Tensor) -> Finding:
    most = min(len(z) - 1, z[0].numel())
    return judged(
        "channels",
        "effective rank",
        found.effective_rank / found.channels,
        THRESHOLDS["effective rank"],
        f"The {found.channels} channels use {found.effective_rank:.3g} directions. The {len(z)} whole latents use "
        f"{found.of_images:.3g} of {most}.",
        {"effective_rank": found.effective_rank, "of_images": found.of_images},
    )


def _repeated(found: "Spread") -> Finding:
    threshold, worst = THRESHOLDS["explained"], int(found.explained.argmax())
    again = [i for i, share in enumerate(found.explained) if threshold.verdict(float(share)) != "OK"]
    sentence = f"The others explain {100 * found.explained[worst]:.3g} % of channel {worst}, and less of every other."
    if again:
        sentence = upper(
            f"{named(again, 'is', 'are')} nearly a combination of the others: redundant, with little that is new."
        )
    if found.pair:
        one, other = found.pair
        sentence += f" The largest correlation is {found.correlation:.2f}, of channels {one} and {other}."
    numbers = {"largest_correlation": found.correlation, **by_number("explained", found.explained)}
    return judged("channels", "repeated", float(found.explained[worst]), threshold, sentence, numbers)


def ignored(subject: Subject) -> list[Finding]:
    """Channels that the decoder does not look at."""
    z = subject.encoded[:PICTURES]
    if isinstance(why := by_channel(z), str):
        return [skipped("ignored", why)]
    if z.shape[1] > MOST:
        return [skipped("ignored", f"Replacing {z.shape[1]} channels one by one would take long; {MOST} are the most.")]
    model = subject.model
    with full_float32():
        effects = channel_effects(lambda latents: decode(model, latents), z, model.image_range, subject.seed)
    deaf = torch.nonzero(effects < UNCHANGED).flatten().tolist()
    least = int(effects.argmin())
    sentence = (
        f"Each channel changes decoded pictures; channel {least} the least, by {effects[least]:.3g} levels at most."
    )
    if deaf:
        sentence = f"The decoder ignores {named(deaf)}: with noise instead, the pictures stay the same."
    return [
        judged("ignored", "ignored", len(deaf), THRESHOLDS["ignored channels"], sentence, by_number("levels", effects))
    ]


def dead(z: Tensor) -> list[int]:
    """Channels of z (n, c, places) that are the same for all images and places, to ``STILL``."""
    std = z.std((0, 2), correction=0)
    return torch.nonzero(std <= STILL * std.median()).flatten().tolist() if std.any() else list(range(len(std)))


@dataclass(frozen=True)
class Spread:
    """How many directions the channels use.

    Attributes:
        channels: how many there are.
        effective_rank: of the channels (Roy and Vetterli 2007), from 0 to ``channels``.
        of_images: of the whole latents, flattened; at most the number of images less one.
        explained: for each channel that varies, the share of its variance that the others explain linearly; 0 for one
            that does not vary (c,).
        pair, correlation: the two channels of largest correlation, and its size; None for a single channel.
    """

    channels: int
    effective_rank: float
    of_images: float
    explained: Tensor
    pair: tuple[int, int] | None
    correlation: float


def enough_rows(z: Tensor) -> bool:
    """Whether z (n, c, places) has rows enough for statements about its channels together."""
    return z.shape[0] * z.shape[2] >= ROWS_A_CHANNEL * z.shape[1]


def spread(z: Tensor) -> Spread:
    """Effective rank and linear dependence of the channels of z (n, c, places), which has ``enough_rows``."""
    rows = z.transpose(1, 2).flatten(0, 1)
    live = [i for i in range(z.shape[1]) if i not in set(dead(z))]
    explained = z.new_zeros(z.shape[1])
    pair, largest = None, 0.0
    if len(live) > 1:
        correlation = torch.corrcoef(rows[:, live].T)
        explained[live] = _explained(correlation)
        off = (correlation - torch.diag(correlation.diag())).abs()
        i, j = divmod(int(off.argmax()), len(live))
        pair, largest = (live[min(i, j)], live[max(i, j)]), float(off.max())
    return Spread(z.shape[1], effective_rank(rows), effective_rank(z), explained, pair, largest)


def _explained(correlation: Tensor) -> Tensor:
    """Squared multiple correlation of each variable with all others, 1 - 1 / (R^-1)_ii, from R (k, k); in [0, 1].

    Of a singular R the limit for R + eps I, eps to 0: a variable has 1 if and only if it is in a dependence.
    """
    values, vectors = torch.linalg.eigh(correlation)
    floor = len(values) * torch.finfo(values.dtype).eps * values[-1]
    inverse = (vectors.square() / values.clamp(min=float(floor))).sum(1)
    return (1 - 1 / inverse).clamp(0, 1)


@torch.no_grad()
def channel_effects(
    decode: Callable[[Tensor], Tensor], z: Tensor, image_range: tuple[float, float], seed: int = 0
) -> Tensor:
    """The largest change of a decoded value, in levels, when a channel of z (n, c, ...) is replaced by noise: (c,).

    The noise has the channel's mean and the pooled deviation, so that a channel that the encoder never uses is tried
    too. Pictures are clamped before they are compared.
    """
    low, high = image_range
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(z.shape, generator=generator, dtype=torch.float64).to(z)
    noise = noise * z.std(correction=0) + z.mean((0, *range(2, z.ndim)), keepdim=True)
    before = decode(z).double().clamp(low, high)
    found = []
    for channel in range(z.shape[1]):
        changed = z.clone()
        changed[:, channel] = noise[:, channel]
        found.append((decode(changed).double().clamp(low, high) - before).abs().max())
    return torch.stack(found) / (high - low) * LEVELS
