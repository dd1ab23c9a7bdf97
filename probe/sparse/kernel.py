"""The greedy path of one signal, for numba; ``probe.sparse.compiled`` prepares its arrays. Importing it compiles.

Every step reads all of P. So P lies in tiles of T atoms, each a contiguous (k, T) block: reads are sequential, four
rows at a time, and the sums stay in the first-level cache.
"""

import numpy as np
from numba import njit

from probe.sparse.codes import DOUBT

FLAGS = {"contract", "reassoc", "nsz"}
"""Fused multiply-adds and sums in vector order. Not "nnan" and "ninf": comparisons keep their meaning for NaN."""


def _compiled(**options):
    """njit that caches its code for the next process if there is a writable folder."""

    def decorate(function):
        try:
            return njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # "cannot cache function"
            return njit(nogil=True, **options)(function)

    return decorate


fast, exact = _compiled(fastmath=FLAGS), _compiled()


@fast
def pursue(
    atoms,  # unit atoms (N, d)
    gram,  # (N, N)
    x,  # the signal (d,)
    start,  # its correlations with the atoms (N,)
    levels,  # ascending, the last at most ``depth``
    ols,  # choose by what is gained (OLS), not by the correlation (OMP)
    floor,  # of the Schur diagonal
    epsilon,  # of the dtype
    projected,  # room for P (tiles, depth, T)
    factor,  # room for A_S = factor Q, lower triangular (depth, depth)
    vectors,  # room for c, s and P's new row (3, tiles, T)
    lanes,  # room for scores (T,)
    weight,  # room for q . x (depth,)
    residual,  # room (d,)
    support,  # out (depth,), filled with -1
    codes,  # out (L, depth), filled with 0
    errors,  # out (L,)
):
    n_atoms = len(gram)
    correlation, schur, image = vectors[0], vectors[1], vectors[2]
    image[:] = 0
    schur[:] = -1  # beyond the last atom: barred
    _spread(start, correlation)
    flat, left_of = correlation.reshape(-1), schur.reshape(-1)
    for i in range(n_atoms):
        left_of[i] = gram[i, i]
    energy = _energy(x)
    left = known = least = energy  # ||r||^2 by subtraction; from a residual; at the last level
    k, level = 0, 0
    while level < len(levels):
        if k == levels[level]:
            left = known = _checkpoint(atoms, x, factor, weight, support, k, codes[level], residual)
            if left > least:  # worse than the level before, by rounding
                break
            errors[level] = least = left
            level += 1
            if level < len(levels):  # afresh, so that rounding does not add up along the path
                _refresh(gram, start, support, k, codes[level - 1], correlation)
            continue
        if left < DOUBT * k * epsilon * known:
            left = known = _checkpoint(atoms, x, factor, weight, support, k, codes[level], residual)
            _refresh(gram, start, support, k, codes[level], correlation)
        j, best = _choose(flat, left_of, correlation, schur, ols, floor, epsilon, lanes, n_atoms)
        # Below this, what is left of the signal is the rounding of the arithmetic, and so is the choice.
        if not (best > 8 * epsilon * np.sqrt(energy) and left > (8 * epsilon) ** 2 * energy):
            break
        scale = np.sqrt(left_of[j])
        step = flat[j] / scale
        _gather(projected, k, j, factor[k])
        factor[k, k] = scale
        weight[k] = step
        support[k] = j
        _add(gram[j], projected, factor[k], k, 1 / scale, step, image, correlation, schur)
        left_of[j] = -1  # taken
        left -= step * step
        k += 1
    if level < len(levels):  # it stopped: the best code serves all further levels
        left = _checkpoint(atoms, x, factor, weight, support, k, codes[level], residual)
        if left > least:
            codes[level] = 0
            if level > 0:
                codes[level] = codes[level - 1]
        for further in range(level, len(levels)):
            codes[further] = codes[level]
            errors[further] = min(left, least)


@fast
def _choose(flat, left_of, correlation, schur, ols, floor, epsilon, lanes, n_atoms):
    """The atom with the best score, the lowest index among equals, and the score; -1 if no atom is left."""
    tiles, width = correlation.shape
    one = floor / floor  # in the dtype
    for i in range(width):
        lanes[i] = -one
    for t in range(tiles):
        c, s = correlation[t], schur[t]
        if ols:
            for i in range(width):
                score = abs(c[i]) / np.sqrt(max(s[i], floor)) if s[i] >= floor else -one
                lanes[i] = score if score > lanes[i] else lanes[i]
        else:
            for i in range(width):
                score = abs(c[i]) if s[i] >= floor else -one
                lanes[i] = score if score > lanes[i] else lanes[i]
    best = -one
    for i in range(width):
        best = max(best, lanes[i])
    least = best * (one - 16 * epsilon)
    for i in range(n_atoms):
        if left_of[i] >= floor:
            score = abs(flat[i]) / np.sqrt(left_of[i]) if ols else abs(flat[i])
            if score >= least:
                return i, best
    return 0, -one


@fast
def _add(row, projected, chosen, k, inverse, step, image, correlation, schur):
    """Add a row to P, (row - chosen P) * inverse, and update c and s."""
    tiles, width = image.shape
    _spread(row, image)
    for t in range(tiles):
        q, block = image[t], projected[t]
        m = 0
        while m + 4 <= k:
            w0, w1, w2, w3 = chosen[m], chosen[m + 1], chosen[m + 2], chosen[m + 3]
            p0, p1, p2, p3 = block[m], block[m + 1], block[m + 2], block[m + 3]
            for i in range(width):
                q[i] -= w0 * p0[i] + w1 * p1[i] + w2 * p2[i] + w3 * p3[i]
            m += 4
        while m < k:
            w0, p0 = chosen[m], block[m]
            for i in range(width):
                q[i] -= w0 * p0[i]
            m += 1
        new, c, s = block[k], correlation[t], schur[t]
        for i in range(width):
            value = q[i] * inverse
            new[i] = value
            c[i] -= step * value
            s[i] -= value * value


@fast
def _checkpoint(atoms, x, factor, weight, support, k, code, residual):
    """The code of the first k atoms (factor^T code = weight), and the squared norm of the residual."""
    code[:k] = weight[:k]
    for m in range(k - 1, -1, -1):
        code[m] /= factor[m, m]
        row, value = factor[m], code[m]
        for i in range(m):
            code[i] -= value * row[i]
    residual[:] = x
    for m in range(k):
        _subtract(residual, code[m], atoms[support[m]])
    return _energy(residual)


@fast
def _refresh(gram, start, support, k, code, correlation):
    _spread(start, correlation)
    flat = correlation.reshape(-1)[: len(gram)]
    for m in range(k):
        _subtract(flat, code[m], gram[support[m]])


@fast
def _subtract(into, value, row):
    for i in range(len(into)):
        into[i] -= value * row[i]


@exact
def _spread(row, tiles):
    flat = tiles.reshape(-1)
    for i in range(len(row)):
        flat[i] = row[i]


@exact
def _gather(projected, k, j, into):
    """into[:k] = P[:k, j]."""
    width = projected.shape[2]
    column = projected[j // width, :, j % width]
    for m in range(k):
        into[m] = column[m]


@fast
def _energy(x):
    total = x[0] * 0
    for i in range(len(x)):
        total += x[i] * x[i]
    return total
