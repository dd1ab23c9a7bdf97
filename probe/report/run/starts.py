"""How far another draw of the starts could move a data set's errors, and what more starts give."""

from collections.abc import Sequence

import numpy as np

from probe.methods import BASELINE, OURS, methods
from probe.metrics.interval import Floats, jackknife, over_both, over_draws, ratios_of_means
from probe.report.page.text import count, number
from probe.report.run import schema
from probe.report.run.sample import Key, Sample, mean_of
from probe.results.run import Subsets

ONE_STEP = "one_step"


def starts_report(found: Subsets | None, sample: Sample, atoms: int, d: int | None) -> schema.Starts | None:
    """Everything at ``atoms`` in the code, the level of 5 % of d; None without errors in parts of the dictionaries.

    A dictionary of d atoms, as many as the random basis has, is compared at this size only.
    """
    own, base, one_step = (Key("latent_mse", method, atoms) for method in (OURS, BASELINE, ONE_STEP))
    if found is None or own not in sample or base not in sample or OURS not in found.sizes:
        return None
    ours, step = (_left_out(found, sample, key) for key in (own, one_step))
    random, there = sample.columns[base].mean(), one_step in sample
    shown = [method for method in methods() if method in found.sizes and found.atoms[OURS][-1] != d]
    made = schema.Starts(
        n=found.starts[OURS][-1],
        blocks=found.blocks,
        attractors=_over(sample.mean(own), ours),
        one_step=_over(sample.mean(one_step), step) if there else None,
        difference=_over(sample.difference(own, base), ours - random),
        ratio=_over(sample.ratio(own, base), ours / random),
        difference_one_step=_over(sample.difference(own, one_step), ours - step) if there else None,
        ratio_one_step=_over(sample.ratio(own, one_step), ours / step) if there else None,
        sizes={method: _sizes(found, method, sample.columns[base]) for method in shown},
        sentence="",
    )
    made.sentence = _sentence(made)
    return made


def _left_out(found: Subsets, sample: Sample, key: Key) -> Floats:
    """The mean error (B,) without each block of starts; NaN if it is not known."""
    shares = found.shares(key.method)
    return np.array([np.nan]) if shares is None or key not in sample else shares * sample.columns[key].mean()


def _over(found: schema.Mean, left_out: Floats) -> schema.OverDraws:
    """A number with its values (B,) where a block of starts is left out; NaN where there are none."""
    mean, images = found.mean, found.ci95
    if mean is None or len(left_out) < 2 or not np.isfinite(left_out).all():
        return schema.OverDraws(mean=mean, over_images=images, over_starts=None, over_both=None, sd=None)
    sd = float(jackknife(left_out))
    starts = over_draws(mean, sd, len(left_out))
    both = over_both(mean, images, starts) if images else None
    return schema.OverDraws(mean=mean, over_images=images, over_starts=starts, over_both=both, sd=sd)


def _sizes(found: Subsets, method: str, random: Floats) -> list[schema.SizeErrors]:
    errors = found.sizes[method].T
    means = ratios_of_means(errors, np.ones_like(errors)).intervals()
    ratios = ratios_of_means(errors, np.repeat(random[:, None], errors.shape[1], axis=1)).intervals()
    rows = zip(found.starts[method], found.atoms[method], means, ratios, strict=True)
    return [
        schema.SizeErrors(starts=starts, atoms=atoms, latent_mse=mean_of(mean), ratio=mean_of(ratio))
        for starts, atoms, mean, ratio in rows
    ]


def _sentence(made: schema.Starts) -> str:
    said = [f"ratio to {methods()[BASELINE].phrase} {_intervals(made.ratio)}"]
    if made.ratio_one_step and made.ratio_one_step.mean is not None:
        said.append(f"to {methods()[ONE_STEP].phrase} {_intervals(made.ratio_one_step)}")
    if made.ratio.over_starts is None:
        return f"How far another draw of {count(made.n, 'start')} would move the numbers is not known"
    return f"Another draw of {count(made.n, 'start')} would give other end points, too: {'; '.join(said)}"


def _intervals(one: schema.OverDraws) -> str:
    return (
        f"{number(one.mean)}, {_ends(one.over_images)} over images, {_ends(one.over_starts)} over draws of starts, "
        f"{_ends(one.over_both)} over both"
    )


def _ends(ends: Sequence[float] | None) -> str:
    return "no interval" if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"
