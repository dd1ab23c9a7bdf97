"""Squared distances between rows of one set of points, in tiles; close calls are recomputed in float64.

| symbol | meaning | shape |
|---|---|---|
| n, d | points, dimension | |
| a, b | rows of the points that a tile compares | (k,), (l,) |
| r^2 | squared radius within which two points are neighbours | |
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from probe.precision import full_float32

Rows = NDArray[np.int64]
ELEMENTS = 2**24
"""Coordinates copied at once: 64 MiB in float32, 128 MiB in float64."""
SHARE = 0.5
"""Largest part of a GPU's free memory that a copy of all points may take; otherwise each tile fetches its rows."""
FEW = 8192
"""Fewer points than this are compared in all coordinates."""
SHORT = 32
"""Coordinates that a tile compares first."""
SAMPLE = 1024
"""Points whose principal directions are those coordinates."""


@dataclass(frozen=True)
class Held:
    """Vectors (n, k) and their squared norms (n,), float32, on the CPU or where tiles are compared.

    A tile is |x|^2 + |y|^2 - 2 x.y in float32. Its error grows with the norms and, as a random walk, with sqrt(k):
    ``slack`` times |x|^2 + |y|^2 bounds it with a margin (a factor of about 17 at k = 4096).
    """

    rows: Tensor
    squared: Tensor
    slack: float

    def taken(self, rows: Rows, device: torch.device) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(rows).to(self.rows.device)
        return self.rows[index].to(device), self.squared[index].to(device)

    def lower(self, a: Rows, b: Rows, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Lower bounds of |x - y|^2 - |x|^2 (k, l), and the squared norms |x|^2 (k, 1) and |y|^2 (l,).

        Upper bounds are larger by 2 ``slack`` times the sum of the squared norms.
        """
        (x, p), (y, q) = self.taken(a, device), self.taken(b, device)
        with full_float32():
            return torch.addmm(q * (1 - self.slack), x, y.T, alpha=-2), p[:, None], q


class Points:
    """Points (n, d), float32, on the CPU; tiles are compared on the first GPU, if there is one.

    Most tiles hold no neighbours, and most of these are settled by ``SHORT`` coordinates: those along the principal
    directions of a sample, and the norm of the rest. By the triangle inequality no distance is shorter than it is in
    them. Pairs within rounding of the threshold are decided by differences in float64: the result depends neither on
    the tile nor on the machine's matrix product.
    """

    def __init__(self, rows: Tensor, device: torch.device | None = None):
        self.rows = rows
        self.device = place_of(device)
        self.slack = torch.finfo(torch.float32).eps * (4 + rows.shape[1] ** 0.5 / 2)
        held = rows.to(self.device) if self._fits() else rows
        squared = torch.cat([part.double().square().sum(1) for part in held.split(self.at_once)]).float()
        self.held = Held(held, squared, self.slack)
        self.short = self._shortened() if len(rows) >= FEW and rows.shape[1] >= 2 * SHORT else None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def at_once(self) -> int:
        """Rows copied at once."""
        return min(max(ELEMENTS // max(self.rows.shape[1], 1), 64), 2**13 if self.device.type == "cuda" else 2**11)

    def parts(self, b: Rows) -> Iterator[Rows]:
        """Rows in parts that fit in a tile."""
        return (b[start : start + self.at_once] for start in range(0, len(b), self.at_once))

    def _fits(self) -> bool:
        """Whether a copy of all points, and the tiles, fit where tiles are compared."""
        if self.device.type != "cuda":
            return False
        free = torch.cuda.mem_get_info(self.device)[0]
        return self.rows.nbytes < SHARE * free

    def _shortened(self) -> Held:
        """All points in few coordinates."""
        sample = self.rows[torch.linspace(0, len(self.rows) - 1, SAMPLE, dtype=torch.float64).long()].double()
        directions = torch.linalg.svd(sample - sample.mean(0), full_matrices=False)[2][: SHORT - 1].T.to(self.device)
        parts = []
        for part in self.held.rows.split(self.at_once):
            x = part.to(self.device).double()
            along = x @ directions
            rest = (x.square().sum(1) - along.square().sum(1)).clamp(min=0).sqrt()
            parts.append(torch.cat([along, rest[:, None]], 1).float())
        rows = torch.cat(parts)
        # Rounding the coordinates may lengthen a squared distance by 2 epsilon times the sum of the squared norms.
        slack = torch.finfo(torch.float32).eps * (8 + SHORT**0.5 / 2)
        return Held(rows, rows.double().square().sum(1).float(), slack)

    def remaining(self, radius2: float) -> float:
        """The share of a tile that the first few coordinates leave to compare in all, estimated from a sample."""
        if self.short is None:
            return 1.0
        rows = np.linspace(0, len(self) - 1, SAMPLE).astype(np.int64)
        lower, p, _ = self.short.lower(rows, rows, self.device)
        left = (lower < radius2 - p * (1 - self.short.slack)).fill_diagonal_(False)
        return float(-np.expm1(self.at_once * np.log1p(-min(float(left.double().mean()), 1 - 1e-9))))

    def _possible(self, a: Rows, b: Rows, radius2: float) -> tuple[Rows, Rows]:
        """Positions in a, and in b, outside which no pair is closer than the radius."""
        if self.short is None or not (len(a) and len(b)):
            return np.arange(len(a)), np.arange(len(b))
        lower, p, _ = self.short.lower(a, b, self.device)
        edge = radius2 - p * (1 - self.short.slack)
        i = (lower.amin(1, keepdim=True) < edge).squeeze(1).nonzero().squeeze(1)
        if not len(i):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        j = ((lower[i] - edge[i]).amin(0) < 0).nonzero().squeeze(1)
        return i.cpu().numpy(), j.cpu().numpy()

    def lower(self, a: Rows, b: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """As ``Held.lower``, in all coordinates."""
        return self.held.lower(a, b, self.device)

    def hits(self, a: Rows, b: Rows, radius2: float) -> tuple[Rows, Rows, Tensor]:
        """Positions in a (k,) and in b (l,), and which of their pairs are closer than the radius (k, l); no pair of
        other positions is."""
        at, to = self._possible(a, b, radius2)
        if not (len(at) and len(to)):
            return at[:0], to[:0], torch.empty(0, 0, dtype=torch.bool, device=self.device)
        a, b = a[at], b[to]
        lower, p, q = self.lower(a, b)
        edge = radius2 - p * (1 - self.slack)
        hit = lower < edge
        # One comparison with the largest norms of the tile finds all candidates; each then has its own bound.
        reach = 2 * self.slack * (p.max() + q.max()) if hit.any() else 0.0
        i, j = (hit & (lower >= edge - reach)).nonzero(as_tuple=True) if reach else (edge[:0, 0].long(),) * 2
        close = lower[i, j] >= edge[i, 0] - 2 * self.slack * (p[i, 0] + q[j])
        i, j = i[close], j[close]
        if len(i):
            exactly = self._exactly(a[i.cpu().numpy()], b[j.cpu().numpy()])
            hit[i, j] = torch.from_numpy(exactly < radius2).to(self.device)
        return at, to, hit

    def within(self, a: Rows, b: Rows, radius2: float) -> tuple[Rows, Rows]:
        """Positions in a and in b of the pairs closer than the radius, ascending in a."""
        at, to, hit = self.hits(a, b, radius2)
        i, j = places(hit)
        return at[i], to[j]

    def nearest(self, a: Rows, b: Rows, radius2: float) -> tuple[NDArray[np.float32], Rows]:
        """For each of a the nearest of b, up to rounding: squared distances (k,), and positions in b (k,); where none
        is closer than the radius, the distance may be infinite."""
        least, place = torch.full((len(a),), torch.inf, device=self.device), torch.zeros(len(a), dtype=torch.long)
        place, at = place.to(self.device), 0
        for part in self.parts(b):
            mine, others = self._possible(a, part, radius2)
            if len(mine):
                lower, p, q = self.lower(a[mine], part[others])
                here, where = lower.add_(self.slack * q).min(1)
                here += p[:, 0]
                rows, columns = (torch.from_numpy(one).to(self.device) for one in (mine, others))
                nearer = here < least[rows]
                least[rows[nearer]], place[rows[nearer]] = here[nearer], at + columns[where[nearer]]
            at += len(part)
        return least.cpu().numpy(), place.cpu().numpy()

    def distance(self, a: Rows, b: Rows) -> NDArray[np.float64]:
        """Distances of the pairs (a[i], b[i]), float64 (k,)."""
        return np.sqrt(self._exactly(a, b))

    def _exactly(self, a: Rows, b: Rows) -> NDArray[np.float64]:
        found = [np.empty(0)]
        for x, y in zip(self.parts(a), self.parts(b), strict=True):
            i, j = (torch.from_numpy(rows).to(self.held.rows.device) for rows in (x, y))
            found.append((self.held.rows[i].double() - self.held.rows[j]).square().sum(1).cpu().numpy())
        return np.concatenate(found)


def places(hit: Tensor) -> tuple[Rows, Rows]:
    """Rows and columns of what is true in a matrix, ascending."""
    i, j = hit.nonzero(as_tuple=True)
    return i.cpu().numpy(), j.cpu().numpy()


def place_of(device: torch.device | None) -> torch.device:
    """The device, or the first GPU if there is one."""
    return device or torch.device("cuda" if torch.cuda.is_available() else "cpu")


def claim(rows: Rows, limits: Rows, near: Rows, owner: Rows) -> None:
    """Greedy leaders: each of ``rows`` in turn, if it has no owner, takes itself and its free neighbours, which for
    rows[k] are near[limits[k]:limits[k+1]]. ``owner`` (n,), the row that owns each point or -1, is changed in place."""
    for k, row in enumerate(rows):
        if owner[row] < 0:
            mine = near[limits[k] : limits[k + 1]]
            owner[mine[owner[mine] < 0]] = row
            owner[row] = row


def join(label: Rows, a: Rows, b: Rows) -> Rows:
    """Labels (n,), each below n, with the labels a[i] and b[i] merged for every i."""
    new = a != b
    if not new.any():
        return label
    graph = coo_matrix((np.ones(int(new.sum()), np.int8), (a[new], b[new])), shape=(len(label), len(label)))
    return connected_components(graph, directed=False)[1].astype(np.int64)[label]
