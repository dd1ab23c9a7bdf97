"""What the theory page says: its sections, their tables and verdicts, from its record (``probe.studies.theory``)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from probe.report.figures.convergence import sentence
from probe.report.page.text import count, listed, number, with_interval
from probe.report.run.schema import Mean
from probe.report.theory import rules as theory_rules

FEW = 4
"""Places that are named where their verdict is not the commonest."""


@dataclass(frozen=True)
class Section:
    """A part of the page. name: of its figure; rule: how its verdicts are made; sentences: the verdicts."""

    title: str
    name: str
    rule: str
    sentences: list[str]
    head: list[str]
    rows: list[list[str]]


def sections(content: dict[str, Any]) -> list[Section]:
    """The page."""
    parts = [_bound(content), _contraction(content), _score(content), _gradient(content)]
    return [*parts, _convergence(content["convergence"])] if "convergence" in content else parts


def _bound(content: dict[str, Any]) -> Section:
    decoder, data = content["decoder"], content["bound"]
    prototypes = content["prototypes"]
    what = "certified attractors" if prototypes["certified"] else "end points, NONE a certified attractor"
    sentences = []
    if decoder["lipschitz"] is None:
        sentences.append("D has no derivative here, so L and the bound are unknown.")
    else:
        sentences += [
            _kept(data, "with_2", "With the factor 2"),
            _kept(data, "without_2", "As printed, without the 2,"),
        ]
        sentences.append(
            f"L = {number(decoder['lipschitz'])} is the largest spectral norm of J_D at "
            f"{count(decoder['points'], 'point')} of segments from latents to their prototypes: a lower bound of the "
            f"Lipschitz constant (the largest secant among the images is {number(decoder['largest_secant'])})."
        )
    sentences.append(
        "That attractors are better prototypes than one step of f "
        + _by_verdict((name, one["prototypes"]) for name, one in data.items())
    )
    return Section(
        f"Proposition 3.2: the error of the autoencoder against two terms of its {prototypes['n']} {what}",
        "bound",
        theory_rules.BOUND,
        sentences,
        ["data set", "n", "autoencoder", "prototype", "one step as prototype", "distance to P", "coverage",
         "right / left", "correlation"],
        [
            [name, str(one["n"]), _mean(one["left"]), _mean(one["prototype"]),
             _mean(one["controls"]["one_step"]["prototype"]), _mean(one["distance"]), _mean(one["coverage"]),
             _mean(one["bounds"] and one["bounds"]["with_2"]["tightness"]), _mean(one["correlation"])]
            for name, one in data.items()
        ],
    )  # fmt: skip


def _kept(data: dict[str, Any], form: str, words: str) -> str:
    sides = [one["bounds"][form] for one in data.values()]
    kept, n = sum(side["kept"] for side in sides), sum(one["n"] for one in data.values())
    verdict = "holds" if all(side["verdict"] == "holds" for side in sides) else "is undecided"
    worst = max(side["broken_at_most"] for side in sides)
    return (
        f"{words} the bound {verdict}: {kept} of {n} images keep it (upper 95 % limit of the share that does not, in "
        f"the worst data set: {100 * worst:.2g} %)."
    )


def _contraction(content: dict[str, Any]) -> Section:
    field = content["field"]
    return Section(
        "Lipschitz constants of f: on data, near it, far from it",
        "contraction",
        theory_rules.CONTRACTION,
        [f"That f contracts {_by_verdict((_place(one), one['contracts']) for one in field)}"],
        ["where", "points", "spectral norm of J_f", "largest", "share below 1", "mean below 1"],
        [
            [_place(one), str(one["n"]), _mean(one["norm"]), number(one["norm"]["largest"]),
             number(one["norm"]["below_1"]), one["contracts"]]
            for one in field
        ],
    )  # fmt: skip


def _gradient(content: dict[str, Any]) -> Section:
    field = content["field"]
    return Section(
        "Is the field conservative?",
        "gradient",
        theory_rules.GRADIENT,
        [
            f"That f(z) - z is a gradient {_by_verdict((_place(one), one['gradient']) for one in field)}",
            "That it is nearer to one than independent entries "
            + _by_verdict((_place(one), one["less_than_chance"]) for one in field),
        ],
        ["where", "points", "antisymmetric share", "is a gradient", "below chance"],
        [
            [_place(one), str(one["n"]), _mean(one["antisymmetric"]), one["gradient"], one["less_than_chance"]]
            for one in field
        ],
    )


def _convergence(found: dict[str, Any]) -> Section:
    """Predicted against actual steps, as ``probe.studies.sweeps.convergence.record`` has them."""
    ratio = found["ratio"] or {}
    measured = [ratio.get(key) for key in ("median", "q05", "q95")]
    measured += [found[key] for key in ("rank_correlation", "error", "null_error")]
    return Section(
        "Proposition A.9: predicted against actual steps to an attractor",
        "convergence",
        theory_rules.CONVERGENCE,
        [sentence(found)],
        ["starts", "used", "attractors", "actual / predicted", "5 %", "95 %", "rank correlation", "log error",
         "best constant"],
        [[str(found[key]) for key in ("starts", "used", "attractors")] + [number(value) for value in measured]],
    )  # fmt: skip


def _score(content: dict[str, Any]) -> Section:
    lines = list(_score_lines(content))
    none = [name for name, one in content["score"].items() if one is None]
    above = _by_verdict((_at(name, density, at), at["aligned"]) for name, density, at in lines)
    beyond = _by_verdict((_at(name, density, at), at["beyond_centre"]) for name, density, at in lines)
    sentences = [
        f"That the field is along the score more than along shuffled ones {above}",
        f"That it is so more than along the way to the mean {beyond}",
    ]
    if none:
        sentences.append(f"Too few images to estimate a density from: {', '.join(none)}.")
    return Section(
        "Theorem 1: is f(z) - z along the score of the latent density?",
        "score",
        theory_rules.SCORE,
        sentences if lines else sentences[2:],
        ["data set", "density", "noise", "cosine", "shuffled", "centre", "kernels", "log q / d", "above shuffled",
         "above centre"],
        [
            [name, _density(density), f"{at['noise']:g}", *(_mean(at[key]) for key in ("cosine", "shuffled", "centre")),
             number(at["kernels"]), number(density["log_density"]), at["aligned"], at["beyond_centre"]]
            for name, density, at in lines
        ],
    )  # fmt: skip


def _score_lines(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Data set, density, and what was found at a noise."""
    for name, one in content["score"].items():
        for density in one["densities"] if one else ():
            for at in density["at"]:
                yield name, density, at


def _at(name: str, density: dict[str, Any], at: dict[str, Any]) -> str:
    return f"{name} ({density['name']}, noise {at['noise']:g})"


def _density(density: dict[str, Any]) -> str:
    if density["name"] == "kernel":
        return f"kernels, h = {number(density['bandwidth'])} ({number(density['relative'])} of the spread)"
    return f"mixture of {density['components']}"


def _place(one: dict[str, Any]) -> str:
    return {"data": "{}", "near": "near {}"}.get(one["where"], one["where"]).format(one["dataset"])


def _by_verdict(verdicts: Iterable[tuple[str, str]]) -> str:
    """``holds for 5 of 6, is undecided for c.``: the commonest by number, the others by name, if they are few."""
    named: dict[str, list[str]] = {"holds": [], "does not hold": [], "undecided": []}
    for name, verdict in verdicts:
        named[verdict].append(name)
    n = sum(map(len, named.values()))
    parts: list[str] = []
    for verdict, names in sorted(named.items(), key=lambda one: -len(one[1])):
        if names:
            among = f"all {n}" if len(names) == n else f"{len(names)} of {n}"
            if parts and len(names) <= FEW:
                among = listed(names)
            parts.append(f"{'is undecided' if verdict == 'undecided' else verdict} for {among}")
    return ", ".join(parts) + "."


def _mean(value: dict[str, Any] | None) -> str:
    return "-" if value is None else with_interval(Mean(mean=value["mean"], ci95=value["ci95"]))
