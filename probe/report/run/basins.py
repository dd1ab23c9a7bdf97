"""The basins of a run: their numbers for report.json, and the section of the page."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from probe.dynamics.basins import basin_entropy, uncertain_pairs
from probe.metrics.interval import wilson
from probe.report.page.content import Block, Note, Section, Table
from probe.report.page.text import count, number, percent
from probe.report.run.schema import BasinsReport, Mean
from probe.results.run import Results

SHOWN = 10
"""Basins in the table of shares."""
VAGUE = 0.25
"""Standard error of alpha, beyond which the sentence warns."""


def basins_report(results: Results, certificates: Sequence[str]) -> dict[str, Any]:
    """``schema.BasinsReport`` of a run; ``certificates`` says what is known of each atom."""
    if results.basins_missing:
        return {"missing": results.basins_missing}
    return {**_shares(results), **_nearby(results), **_kicked(results, certificates)}


def _shares(results: Results) -> dict[str, Any]:
    atoms = results.dictionary
    rows = np.flatnonzero((atoms["settled"] > 0) & (atoms["certificate"] != 0))
    starts = atoms["settled"][rows]
    order, n = np.argsort(-starts, kind="stable"), int(starts.sum())
    p = starts / n
    return {
        "attractors": len(rows),
        "shared": int((starts > 1).sum()),
        "starts": n,
        "effective": math.exp(-(p * np.log(p)).sum()),
        "unseen": _share((starts == 1).sum() / n, n),
        "apart": float(1 - (starts * (starts - 1)).sum() / (n * (n - 1))) if n > 1 else None,
        "largest": [
            {"atom": int(rows[i]), "starts": int(starts[i]), "share": _share(p[i], n)} for i in order[:SHOWN].tolist()
        ],
    }


def _nearby(results: Results) -> dict[str, Any]:
    found, settings = results.basins, results.config.basins
    centre, around = torch.from_numpy(found["centre"]), torch.from_numpy(found["around"])
    if not len(centre):
        return {}
    apart = _shares(results)["apart"] or 1.0
    d = int(np.prod(results.manifest["model"]["latent_shape"]))
    pairs = uncertain_pairs(centre, around, settings.separations, d, highest=apart / 2)
    rows = []
    for place, separation in enumerate(settings.separations):
        group = basin_entropy(torch.cat([centre[:, None], around[:, place]], 1).numpy())
        share = float(pairs.share[place])
        rows.append(
            {
                "separation": separation,
                "known": int(pairs.known[place]),
                "different": _share(share, pairs.known[place]),
                "entropy": group.value,
                "boundary_entropy": group.boundary,
                "boundary": group.boundary_boxes,
            }
        )
    line = {"alpha": pairs.alpha, "alpha_error": pairs.error, "prefactor": pairs.prefactor}
    return {"partners": settings.partners, "nearby": rows, **line, "dimension": pairs.dimension}


def _kicked(results: Results, certificates: Sequence[str]) -> dict[str, Any]:
    found, atoms, settings = results.basins, results.dictionary, results.config.basins
    rows = []
    for place, atom in enumerate(found["attractor"].tolist()):
        smallest, back = found["smallest"][place], found["returned"][place]
        rows.append(
            {
                "atom": atom,
                "starts": int(atoms["basin"][atom]),
                "certificate": certificates[atom],
                "nearest": float(found["nearest"][place]),
                "towards": float(found["towards"][place]),
                "smallest": float(smallest.min()),
                "median": float(np.median(smallest)),
                "left": int(np.isfinite(smallest).sum()),
                "returned": [_share(share, len(back)) for share in back.mean(0)],
            }
        )
    return {"directions": settings.directions, "kicks": list(settings.kicks), "kicked": rows} if rows else {}


def _share(share: ArrayLike, n: ArrayLike) -> dict[str, Any]:
    low, high = (float(end) for end in wilson(share, n))
    return {"mean": float(np.asarray(share)), "ci95": (low, high) if math.isfinite(low) else None}


def basins_section(found: BasinsReport, d: int, pictures: Sequence[Block]) -> Section:
    """The section of the page; ``pictures`` is the plot of f(eps), if there is one."""
    if found.missing:
        return Section("Basins", [f"Not measured: {found.missing}."])
    blocks: list[Block] = [_sizes(found), *([_largest(found)] if found.shared else [])]
    if found.nearby:
        said = [_exponent(found, d), _groups(found), Note(NEARBY_NOTE), *pictures]
        blocks.append(Section("How near two points must be to end together", said))
    if found.kicked:
        blocks.append(Section("Kicks", [_ways(found), _kicks(found), Note(KICK_NOTE)]))
    return Section("Basins", blocks)


NEARBY_NOTE = (
    "Distances are relative to the square root of d, the typical norm of a start. Different: share of pairs of a start "
    "and a point at this distance in a random direction that do not converge to the same end point, with Wilson's 95 % "
    "interval. Basin entropy (in nats): of the basins of a start and of its partners, mean over starts; boundary "
    "entropy: over starts whose group has several basins. With few partners the entropies are too low."
)
KICK_NOTE = (
    "An attractor is moved by a kick in a random direction and iterated again. Sizes are relative to the square root "
    "of d. Smallest and median: over directions, of the smallest kick found after which it does not come back. Way: "
    "the share of the straight way to the nearest other attractor after which it does not come back (0.5: half-way). "
    "In many dimensions a random direction seldom points at the nearest boundary, so the way usually leaves the basin "
    "first. Shares of directions that come back have Wilson's 95 % intervals."
)


def _sizes(found: BasinsReport) -> str:
    assert found.starts is not None
    assert found.unseen is not None
    several = f"{found.shared or 'none'} of them reached by several starts"
    return (
        f"{count(found.starts, 'start')} converged to {count(found.attractors or 0, 'attractor')}, {several}. By the "
        f"entropy of their shares, that is as many as {number(found.effective)} basins of equal size. "
        f"{_percent(found.unseen)} of the starts are alone in their basin: about the chance that one more start finds "
        "an attractor that none has found so far."
    )


def _percent(share: Mean) -> str:
    """``12 % [8.1 %, 17 %]``."""
    if share.mean is None:
        return "-"
    ends = f" [{', '.join(percent(end) for end in share.ci95)}]" if share.ci95 else ""
    return percent(share.mean) + ends


def _largest(found: BasinsReport) -> Table:
    rows = [[str(one.atom), str(one.starts), _percent(one.share)] for one in found.largest]
    return Table(["atom", "starts", "share of starts"], rows)


def _exponent(found: BasinsReport, d: int) -> str:
    if found.alpha is None:
        seen = [one.different.mean for one in found.nearby if one.different.mean is not None]
        if not any(seen):
            return "No pair of nearby points ended in different basins, so the boundaries have no exponent here."
        return (
            "There is no uncertainty exponent: fewer than two distances have a share of different pairs between 0 and "
            f"half of that of unrelated starts ({percent((found.apart or 1) / 2)}). Choose other basins.separations."
        )
    error = found.alpha_error
    told = f"{found.alpha:.2f}" + ("" if error is None else f" +- {error:.2f}")
    apart = f"Any two starts end in different basins in {percent(found.apart or 0)} of the cases."
    if error is None or error > VAGUE:
        return (
            f"The uncertainty exponent alpha is {told}: too vague to tell a smooth boundary from a fractal one (raise "
            f"basins.probes). {apart}"
        )
    return (
        f"The uncertainty exponent alpha is {told}. To know a start ten times as precisely divides the share of "
        f"uncertain ones by {10**found.alpha:.3g} (by 10 where the boundary is smooth, alpha = 1). The boundaries of "
        f"the basins have dimension d - alpha = {d - found.alpha:.2f}. {apart}"
    )


def _groups(found: BasinsReport) -> Table:
    rows = [
        [
            f"{one.separation:g}",
            _percent(one.different),
            number(one.entropy),
            number(one.boundary_entropy),
            str(one.boundary),
            str(one.known),
        ]
        for one in found.nearby
    ]
    return Table(["distance", "different", "basin entropy", "boundary entropy", "several basins", "starts"], rows)


def _ways(found: BasinsReport) -> str:
    never = sum(one.left == 0 for one in found.kicked)
    least = [one.smallest for one in found.kicked if one.smallest is not None]
    ways = sorted(one.towards for one in found.kicked if one.towards is not None)
    said = f"{count(len(found.kicked), 'attractor')} kicked in {count(found.directions or 0, 'random direction')}: "
    said += f"the smallest kick that left a basin is {number(min(least))}" if least else "no kick left a basin"
    if never and least:
        said += f"; {never} came back from all"
    if ways:
        said += f". Straight towards the nearest attractor, basins end after {number(ways[0])}"
        said += f" to {number(ways[-1])} of the way" if len(ways) > 1 else " of the way"
    return said + "."


def _kicks(found: BasinsReport) -> Table:
    largest = max(found.kicks)
    head = ["atom", "starts", "certificate", "nearest attractor", "way", "smallest kick", "median kick"]
    rows = [
        [
            str(one.atom),
            str(one.starts),
            one.certificate,
            number(one.nearest),
            number(one.towards),
            *(f"> {largest:g}" if kick is None else number(kick) for kick in (one.smallest, one.median)),
            *(_percent(share) for share in one.returned),
        ]
        for one in found.kicked
    ]
    return Table([*head, *(f"back from {size:g}" for size in found.kicks)], rows)
