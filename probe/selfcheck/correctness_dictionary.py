"""Merging on the device: the same leaders and members as on the CPU."""

from collections.abc import Iterator

import torch
from torch import Tensor

from probe.dictionary import Merge, merge_by_cosine, merge_by_euclid
from probe.dictionary.cover import no_cover
from probe.dictionary.near import Approximate, Exact
from probe.dictionary.points import Points
from probe.selfcheck.check import Check, Row, Setting, at_most, equals
from probe.selfcheck.correctness_dynamics import CPU


def _points(n: int, d: int, centres: int, spread: float) -> Tensor:
    generator = torch.Generator().manual_seed(n + d)
    middle = torch.randn(centres, d, generator=generator)
    of = torch.randint(0, centres, (n,), generator=generator)
    width = spread * torch.rand(n, 1, generator=generator)
    return middle[of] + width * torch.randn(n, d, generator=generator)


def _merge(setting: Setting) -> Iterator[Row]:
    """Few points, which are compared with each other directly; then groups around pivots; then rays of one length."""
    sizes = [(1500, 16, 40), (6000, 32, 300)] if setting.small else [(3000, 64, 100), (20000, 256, 1500)]
    for n, d, centres in sizes:
        for spread in (0.02, 0.2):
            points = _points(n, d, centres, spread)
            yield _same(
                f"cosine, {n} points, d {d}, spread {spread:g}",
                merge_by_cosine(points, device=setting.device),
                merge_by_cosine(points, device=CPU),
            )
        yield _same(
            f"euclid, {n} points, d {d}",
            merge_by_euclid(points, 0.1, device=setting.device),
            merge_by_euclid(points, 0.1, device=CPU),
        )
    close = _points(800, 16, 1, 0.0)
    close = (
        close + 0.0707 * torch.nn.functional.normalize(_points(800, 16, 800, 1.0), dim=1) * close.norm(dim=1)[:, None]
    )
    yield _same(
        "cosine, all pairs near the threshold",
        merge_by_cosine(close, device=setting.device),
        merge_by_cosine(close, device=CPU),
    )


def _same(name: str, found: Merge, reference: Merge) -> Row:
    equal = len(found.leader) == len(reference.leader) and bool((found.leader == reference.leader).all())
    wrong = int((found.member != reference.member).sum()) if equal else len(found.member)
    note = f"{len(found.leader)} atoms, {found.components} components; on the CPU {len(reference.leader)}"
    return equals(f"points given to another leader: {name}", wrong, 0, "points", note)


def _faiss(setting: Setting) -> Iterator[Row]:
    """The approximate search, for more points than an exact one can take, against that: numbers of neighbours."""
    n, d, centres = (2000, 16, 40) if setting.small else (20000, 64, 500)
    points = torch.nn.functional.normalize(_points(n, d, centres, 0.1), dim=1)
    radius2 = 2 - 2 * 0.99
    exact = Exact(Points(points, setting.device), radius2, no_cover(n)).degrees()[0]
    search = Approximate(Points(points, setting.device), radius2)
    missed = 1 - float(search.degrees()[0].sum()) / float(exact.sum())
    yield at_most("neighbours that FAISS's index misses", missed, 0.01, note=f"recall of a sample {search.recall:.4f}")
    spurious = int((search.degrees()[0] > exact).sum())
    yield at_most("points with neighbours beyond the radius", spurious, 0, "points")


CHECKS = (
    Check("merge", "correctness", "merging finds the CPU's leaders and members", 30, _merge),
    Check("merge-faiss", "correctness", "FAISS's index finds the neighbours", 20, _faiss, needs=("faiss",)),
)
