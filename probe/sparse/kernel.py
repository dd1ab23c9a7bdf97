"""The greedy path of one signal, for numba; ``probe.sparse.compiled`` prepares its arrays. Importing it compiles.

Every new row of P reads all of P, so a long path is bound by memory. Three things help:

- P lies in tiles of T atoms, each a contiguous (k, T) block: reads are sequential, four rows at a time, and the sums
  stay in the first-level cache.
- From ``LONG`` atoms on, the next atoms are foreseen: the path continues among the ``NEAR`` atoms of highest
  correlation, for which a step is cheap. One pass over P then makes the rows of up to ``AHEAD`` of them.
- A step takes a row made ahead only where its atom is the one that the whole dictionary chooses; otherwise what was
  made ahead is dropped. So a wrong guess costs time and changes no choice.
"""

import numpy as np
from numba import njit

from probe.sparse.codes import DOUBT

AHEAD, NEAR, LONG = 12, 48, 256
"""Rows of P that one pass makes, atoms they are foreseen among, and atoms from which on this pays: shorter P lie in the
cache, and in coherent dictionaries the first atoms change what is near."""
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
    vectors,  # room for c and s (2, tiles, T)
    lanes,  # room for scores (T,)
    weight,  # room for q . x (depth,)
    residual,  # room (d,)
    columns,  # room for P[:, i] of the atoms i that are near (NEAR, depth)
    small,  # room for their c, s and rows of P (2 + AHEAD, NEAR)
    near,  # room for their indices (NEAR,)
    guesses,  # room for the atoms that are foreseen (AHEAD,)
    support,  # out (depth,), filled with -1
    codes,  # out (L, depth), filled with 0
    errors,  # out (L,)
):
    n_atoms = len(gram)
    correlation, schur = vectors[0], vectors[1]
    schur[:] = -1  # beyond the last atom: barred
    _spread(start, correlation)
    flat, left_of = correlation.reshape(-1), schur.reshape(-1)
    for i in range(n_atoms):
        left_of[i] = gram[i, i]
    energy = _energy(x)
    left = known = least = energy  # ||r||^2 by subtraction; from a residual; at the last level
    k, level = 0, 0
    base, ahead, reach = 0, 0, 2  # rows of P when guesses were made; how many; how many to make next
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
        if k == base + ahead or guesses[k - base] != j:
            reach = min(2 * reach, AHEAD) if k == base + ahead else max(k - base, 2)
            base, most = k, min(reach, levels[level] - k) if k >= LONG else 1
            ahead = _foresee(gram, projected, k, j, flat, left_of, ols, floor, most, columns, small, near, guesses)
            _project(gram, projected, guesses[:ahead], factor, k)
        scale = np.sqrt(left_of[j])
        step = flat[j] / scale
        _gather(projected, base, k, j, factor[k])
        factor[k, k] = scale
        weight[k] = step
        support[k] = j
        _add(projected, factor[k], base, k, 1 / scale, step, correlation, schur)
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
def _foresee(gram, projected, k, j, flat, left_of, ols, floor, most, columns, small, near, guesses):
    """The atoms that a path of k atoms would choose next, j first, were there only those of highest correlation."""
    guesses[0] = j
    if most == 1:
        return 1
    count = _nearest(flat, left_of, ols, floor, near)
    c, s = small[0], small[1]
    for n in range(count):
        i = near[n]
        c[n], s[n] = flat[i], left_of[i]
        _gather(projected, 0, k, i, columns[n])
    for m in range(most):
        p, best = -1, floor * 0
        for n in range(count):
            if s[n] >= floor:
                score = abs(c[n]) / np.sqrt(s[n]) if ols else abs(c[n])
                if (near[n] == j) if m == 0 else score > best:
                    p, best = n, score
        if p < 0:
            return max(m, 1)
        guesses[m] = near[p]
        scale, row, made = np.sqrt(s[p]), gram[near[p]], small[2 + m]
        step = c[p] / scale
        for n in range(count):
            value = row[near[n]] - _dot(columns[p], columns[n], k)
            for before in range(2, 2 + m):
                value -= small[before, p] * small[before, n]
            made[n] = value / scale
        for n in range(count):
            c[n] -= step * made[n]
            s[n] -= made[n] * made[n]
        s[p] = -1
    return most


@fast
def _nearest(flat, left_of, ols, floor, near):
    """Write the indices of the atoms with the best scores, as many as fit; how many there are."""
    score = np.empty_like(flat)
    for i in range(len(left_of)):
        c = abs(flat[i]) / np.sqrt(max(left_of[i], floor)) if ols else abs(flat[i])
        score[i] = c if left_of[i] >= floor else -1
    score[len(left_of) :] = -1
    least = np.partition(score, len(score) - len(near))[len(score) - len(near)] if len(score) > len(near) else 0
    count = 0
    for i in range(len(left_of)):
        if score[i] >= max(least, 0) and count < len(near):
            near[count] = i
            count += 1
    return count


@fast
def _dot(a, b, k):
    total = a[0] * 0
    for m in range(k):
        total += a[m] * b[m]
    return total


@fast
def _project(gram, projected, atoms, factor, k):
    """Write the Gram rows of ``atoms``, less their parts along the first k directions, as rows k, k + 1, ... of P; what
    is missing are the directions in between and the scale. Their P[:k, j] are written to ``factor``."""
    tiles, _, width = projected.shape
    for a in range(len(atoms)):
        _gather(projected, 0, k, atoms[a], factor[k + a])
    for t in range(tiles):
        block = projected[t]
        for a in range(len(atoms)):
            row, q = gram[atoms[a]], block[k + a]
            q[:] = 0
            first = t * width
            for i in range(min(width, len(row) - first)):
                q[i] = row[first + i]
        m = 0
        while m + 4 <= k:
            p0, p1, p2, p3 = block[m], block[m + 1], block[m + 2], block[m + 3]
            a = 0
            while a + 2 <= len(atoms):  # two rows at a time: P is loaded once for both
                u, v, q, r = factor[k + a], factor[k + a + 1], block[k + a], block[k + a + 1]
                u0, u1, u2, u3 = u[m], u[m + 1], u[m + 2], u[m + 3]
                v0, v1, v2, v3 = v[m], v[m + 1], v[m + 2], v[m + 3]
                for i in range(width):
                    a0, a1, a2, a3 = p0[i], p1[i], p2[i], p3[i]
                    q[i] -= u0 * a0 + u1 * a1 + u2 * a2 + u3 * a3
                    r[i] -= v0 * a0 + v1 * a1 + v2 * a2 + v3 * a3
                a += 2
            if a < len(atoms):
                u, q = factor[k + a], block[k + a]
                u0, u1, u2, u3 = u[m], u[m + 1], u[m + 2], u[m + 3]
                for i in range(width):
                    q[i] -= u0 * p0[i] + u1 * p1[i] + u2 * p2[i] + u3 * p3[i]
            m += 4
        while m < k:
            p0 = block[m]
            for a in range(len(atoms)):
                w0, q = factor[k + a, m], block[k + a]
                for i in range(width):
                    q[i] -= w0 * p0[i]
            m += 1


@fast
def _add(projected, chosen, base, k, inverse, step, correlation, schur):
    """Finish row k of P, which lacks the directions from ``base`` on and the scale, and update c and s."""
    tiles, _, width = projected.shape
    for t in range(tiles):
        block = projected[t]
        new, c, s = block[k], correlation[t], schur[t]
        for m in range(base, k):
            w0, p0 = chosen[m], block[m]
            for i in range(width):
                new[i] -= w0 * p0[i]
        for i in range(width):
            value = new[i] * inverse
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
def _gather(projected, first, k, j, into):
    """into[first:k] = P[first:k, j]."""
    width = projected.shape[2]
    column = projected[j // width, :, j % width]
    for m in range(first, k):
        into[m] = column[m]


@fast
def _energy(x):
    total = x[0] * 0
    for i in range(len(x)):
        total += x[i] * x[i]
    return total
