"""Basins of attraction: how their boundaries are made, how they mix, and which kick leaves them.

A basin function maps points (n, ...) to labels (n,), integers: which attractor each point reaches. ``UNKNOWN`` (-1)
stands for a point that reached none in the time it had. It says nothing of a basin, and is left out of every share.
Where it is an outcome of its own (divergence, say), give it another label.

| symbol | meaning | shape |
|---|---|---|
| eps | distance between a probe and its partners, or side of a box | (s,) |
| f(eps) | share of pairs (of boxes) that do not have one label | (s,) |
| alpha | uncertainty exponent: f(eps) ~ eps^alpha | |
| D - alpha | dimension of the boundaries in D dimensions | |
| S_b, S_bb | basin entropy, over all boxes and over those with several labels | |

Sources: alpha: Grebogi, McDonald, Ott, Yorke, Final state sensitivity, Physics Letters A 99 (1983). Entropies: Daza,
Wagemakers, Georgeot, Guery-Odelin, Sanjuan, Basin entropy, Scientific Reports 6, 31416 (2016). Basin stability: Menck,
Heitzig, Marwan, Kurths, Nature Physics 9 (2013).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, optimize
from scipy.special import entr
from torch import Tensor

from probe.metrics.interval import wilson

Basin = Callable[[Tensor], Tensor]
Floats = NDArray[np.float64]
UNKNOWN = -1
BLOCKS = 32
"""Blocks of probes, left out one after the other, for the standard error of alpha."""


@dataclass(frozen=True)
class Uncertainty:
    """f(eps) and its exponent; arrays are (s,), by separation.

    Attributes:
        separations: eps, ascending.
        share: f(eps); NaN where nothing is known.
        low, high: 95 % interval of the share (Wilson's; several partners of one probe count as one pair, and
            overlapping boxes as those that fit side by side).
        known: probes with a known pair, or boxes with a known point.
        alpha: slope of log f against log eps; NaN unless at least two separations have 0 < f < 1. 1: a smooth
            boundary; near 0: points that are ever so near end apart.
        error: its standard error.
        prefactor: c of the fitted line f = c eps^alpha; NaN without alpha.
        dimension: D - alpha.
    """

    separations: Floats
    share: Floats
    low: Floats
    high: Floats
    known: NDArray[np.int64]
    alpha: float
    error: float
    prefactor: float
    dimension: float


@dataclass(frozen=True)
class Entropy:
    """Basin entropy in nats; a box with the shares p_i of its points in each basin has -sum p_i log p_i.

    Attributes:
        value: S_b, the mean over boxes; 0 (one basin) to log(number of basins). NaN without boxes.
        boundary: S_bb, the mean over boxes with several labels; NaN without such boxes.
        boxes, boundary_boxes: their numbers.
    """

    value: float
    boundary: float
    boxes: int
    boundary_boxes: int


@dataclass(frozen=True)
class Kicks:
    """What k kicks did, each along one direction from its own attractor.

    Attributes:
        returned: whether the point kicked by each of the given sizes came back (k, s).
        smallest: the smallest kick found that does not come back (k,), float64; infinite if all given sizes do.
    """

    returned: Tensor
    smallest: Tensor


def uncertainty(
    basin: Basin, probes: Tensor, separations: Sequence[float], *, partners: int = 1, seed: int = 0
) -> Uncertainty:
    """Pairs estimator: every probe (n, ...) has ``partners`` partners at each distance, in random directions.

    The distances are those of the points themselves (Euclidean). D is the number of coordinates of a probe.
    """
    generator = torch.Generator().manual_seed(seed)
    centre = basin(probes)
    eps = np.sort(np.asarray(separations, dtype=np.float64))
    around = torch.empty((len(probes), len(eps), partners), dtype=torch.long)
    for place, distance in enumerate(eps):
        for number in range(partners):
            step = unit(torch.randn(probes.shape, generator=generator, dtype=torch.float64)) * distance
            around[:, place, number] = basin(probes + step.to(probes))
    return uncertain_pairs(centre, around, eps, probes[0].numel())


def unit(directions: Tensor) -> Tensor:
    """Rows (n, ...) at length 1."""
    return directions / torch.linalg.vector_norm(directions.flatten(1), dim=1).view(-1, *[1] * (directions.ndim - 1))


def uncertain_pairs(
    centre: Tensor, around: Tensor, separations: ArrayLike, dimension: int, *, highest: float = 1.0
) -> Uncertainty:
    """f(eps) and alpha from the labels of probes (n,) and of their partners (n, s, partners).

    A probe counts with the share of its partners that have another label. The standard error of alpha is the larger of
    two: a jackknife over blocks of probes, since partners of one probe are not independent, whether at one distance or
    at several; and that of the likelihood, since few uncertain pairs lie in few blocks.

    Args:
        highest: separations with a larger f are left out of the fit. Where f is near the share of any two points in
            different basins, it tells of the number of basins, and no more of their boundaries.
    """
    known = ((centre != UNKNOWN)[:, None, None] & (around != UNKNOWN)).numpy()
    other = known & (around != centre[:, None, None]).numpy()
    with np.errstate(invalid="ignore"):
        apart = other.sum(2) / known.sum(2)  # (n, s), NaN without a known partner
    eps = np.asarray(separations, dtype=np.float64)
    share, count = _mean(apart)
    prefactor, alpha, error = _line(eps, share, count, highest)
    blocks = np.array_split(np.arange(len(apart)), max(min(BLOCKS, len(apart)), 1))
    without = np.array([_line(eps, *_mean(np.delete(apart, block, 0)), highest)[1] for block in blocks])
    without = without[np.isfinite(without)]
    if len(without) > 1 and math.isfinite(alpha):
        error = max(error, math.sqrt((len(without) - 1) * without.var()))
    low, high = wilson(share, count)
    return Uncertainty(eps, share, low, high, count, alpha, error, prefactor, dimension - alpha)


def grid_uncertainty(labels: ArrayLike, sides: Sequence[int] | None = None) -> Uncertainty:
    """Boxes estimator, on a regular grid of labels (h, w, ...): f is the share of boxes with several labels.

    As ``uncertainty_exponent`` of Attractors.jl, with two differences, both of which give a straight boundary its
    alpha of 1: eps is the distance of a box's outermost points, one less than its side in points (a boundary crosses
    the box where it passes between these), and boxes are taken at every place, not side by side. alpha is the slope of
    the ordinary least squares line; its error is that of the line, too small where curvature or chance dominate.

    Args:
        sides: of the boxes, in points, 2 or more; by default 2 to a 20th of the longer side of the grid.
    """
    grid = np.asarray(labels, dtype=np.int64)
    points = np.array(sorted(sides or range(2, max(grid.shape) // 20 + 1)))
    share, known = (np.array(column) for column in zip(*(_crossed(grid, int(side)) for side in points), strict=True))
    eps = (points - 1).astype(np.float64)
    fit = share > 0
    alpha = error = prefactor = math.nan
    if fit.sum() > 1 and (share[fit] < 1).any():
        from scipy.stats import linregress  # half a second of every process

        line = linregress(np.log(eps[fit]), np.log(share[fit]))
        alpha, error, prefactor = float(line.slope), float(line.stderr), math.exp(line.intercept)
    independent = known / points**grid.ndim
    interval = wilson(share, independent)
    return Uncertainty(eps, share, *interval, known, alpha, error, prefactor, grid.ndim - alpha)


def basin_entropy(boxes: ArrayLike) -> Entropy:
    """Entropies of boxes, from the labels of the points in each (boxes, points).

    With few points in a box they are too low: k points have at most log k.
    """
    counts = _counts(np.asarray(boxes))
    counts = counts[counts.sum(1) > 1]
    if not len(counts):
        return Entropy(math.nan, math.nan, 0, 0)
    each = entr(counts / counts.sum(1, keepdims=True)).sum(1)
    several = (counts > 0).sum(1) > 1
    boundary = float(each[several].mean()) if several.any() else math.nan
    return Entropy(float(each.mean()), boundary, len(counts), int(several.sum()))


def grid_entropy(labels: ArrayLike, side: int = 5) -> Entropy:
    """Entropies of a regular grid of labels (h, w, ...) in boxes of ``side`` points a side."""
    return basin_entropy(_boxes(np.asarray(labels), side))


def kicks(
    basin: Basin, attractors: Tensor, labels: Tensor, directions: Tensor, sizes: Sequence[float], *, rounds: int = 4
) -> Kicks:
    """Kick attractors (k, ...) with these labels (k,) along directions (k, ...), and see which come back.

    Every size is tried. Between the smallest that does not come back and the next smaller one, ``rounds`` bisections
    find where the basin ends along that direction. A basin may begin again farther out. A kick after which no attractor
    is reached does not come back.

    Args:
        sizes: lengths of the kicks, in units of each direction's own length.
    """

    def comes_back(length: Tensor, rows: Tensor) -> Tensor:
        step = directions[rows] * length.to(directions).view(-1, *[1] * (directions.ndim - 1))
        return basin(attractors[rows] + step) == labels[rows]

    everything = torch.arange(len(attractors))
    lengths = torch.tensor(sorted(sizes), dtype=torch.float64)
    tried = [(length.expand(len(everything)), everything) for length in lengths]
    back = comes_back(torch.cat([length for length, _ in tried]), torch.cat([rows for _, rows in tried]))
    returned = back.view(len(lengths), len(everything)).T
    left = ~returned
    first = left.long().argmax(1)
    smallest = torch.where(left.any(1), lengths[first], torch.inf)
    inside = torch.where(first > 0, lengths[(first - 1).clamp(min=0)], 0.0)
    rows = left.any(1).nonzero().squeeze(1)
    for _ in range(rounds if len(rows) else 0):
        middle = (inside[rows] + smallest[rows]) / 2
        back = comes_back(middle, rows)
        inside[rows] = torch.where(back, middle, inside[rows])
        smallest[rows] = torch.where(back, smallest[rows], middle)
    return Kicks(returned, smallest)


def _mean(apart: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Mean over probes and the number of probes that are known, (s,) each."""
    count = np.isfinite(apart).sum(0)
    with np.errstate(invalid="ignore"):
        return np.nansum(apart, 0) / count, count


def _line(eps: Floats, share: Floats, count: NDArray[np.int64], highest: float) -> tuple[float, float, float]:
    """c and alpha of f = c eps^alpha, and the standard error of alpha: the likeliest line, for ``count`` independent
    pairs at each distance.

    That is weighted least squares with the binomial variance of the fitted f. A separation without an uncertain pair
    counts as well; a plain line through the logarithms would have to drop it, and alpha would be too small.
    """
    with np.errstate(invalid="ignore"):
        usable = (count > 0) & (share <= highest)
    x, y, n = np.log(eps[usable]), share[usable], count[usable]
    if ((y > 0) & (y < 1)).sum() < 2:
        return math.nan, math.nan, math.nan
    largest = x.max()
    x = x - largest

    def surprise(line: Floats) -> float:
        log_f = line[0] + line[1] * x
        if (log_f >= 0).any():
            return math.inf
        return -float((n * (y * log_f + (1 - y) * np.log1p(-np.exp(log_f)))).sum())

    start = [math.log(min(float(y.max()), 0.9)), 0.5]
    best = optimize.minimize(surprise, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-4})
    f = np.exp(best.x[0] + best.x[1] * x)
    weight = n * f / (1 - f)  # Fisher's information of log f
    spread = (weight * (x - np.average(x, weights=weight)) ** 2).sum()
    return math.exp(best.x[0] - best.x[1] * largest), float(best.x[1]), float(spread**-0.5)


def _crossed(grid: NDArray[np.int64], side: int) -> tuple[float, int]:
    """The share of boxes with several known labels, of all boxes with a known one, and the number of these."""
    largest, smallest = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    known = grid != UNKNOWN
    high = ndimage.maximum_filter(np.where(known, grid, smallest), side)
    low = ndimage.minimum_filter(np.where(known, grid, largest), side)
    # Of the boxes centred at every point, those that lie within the grid.
    inside = tuple(slice(side // 2, side // 2 + length - side + 1) for length in grid.shape)
    some = low[inside] <= high[inside]
    several = low[inside] < high[inside]
    return float(several.sum() / some.sum()) if some.any() else math.nan, int(some.sum())


def _boxes(grid: NDArray[np.integer], side: int) -> NDArray[np.integer]:
    """Boxes of a grid as rows of labels (boxes, side^D); what does not fill a box is left out."""
    fit = [length // side for length in grid.shape]
    cut = grid[tuple(slice(0, number * side) for number in fit)]
    cut = cut.reshape([length for number in fit for length in (number, side)])
    return np.moveaxis(cut, range(0, cut.ndim, 2), range(grid.ndim)).reshape(math.prod(fit), -1)


def _counts(boxes: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many points of each box have each known label (boxes, labels)."""
    names = np.unique(boxes[boxes != UNKNOWN])
    return np.stack([(boxes == name).sum(1) for name in names], 1) if len(names) else np.zeros((len(boxes), 0), int)
