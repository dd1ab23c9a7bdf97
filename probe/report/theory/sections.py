"""What the theory page says: its statements with verdicts and tables, from its record (``probe.studies.theory``)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from probe.report.figures.convergence import sentence
from probe.report.page.content import Figure, Note, Section, Table, Verdicts
from probe.report.page.text import count, listed, number, with_interval
from probe.report.run.schema import Mean

NAMED = 4
"""At most so many places with another verdict than the most common one are named."""
BOUND = (
    "||x - D(E(x))||^2 <= 2 ||x - D(P)||^2 + 2 L^2 ||E(x) - P||^2, where P is the prototype nearest to E(x). Squared "
    "norms are over pixels and channels in the model's range; means have 95 % bootstrap intervals over images. The "
    "bound holds if it holds for every image with the estimated L (the exact upper limit of the share that violates it "
    "is given); otherwise it is undecided, because L may be underestimated. A claim about prototypes holds if the "
    "interval of the paired difference (attractors minus one step of f from as many starts) lies below 0, and does not "
    "hold if it lies above 0."
)
CONTRACTION = (
    "That f contracts every small step holds if the 95 % interval of the mean spectral norm of J_f over points lies "
    "below 1, and does not hold if it lies above 1. The largest norm is a lower bound on the Lipschitz constant. Near: "
    "data plus noise of a quarter of their spread. Far: noise of four times that spread around their mean. Noise: "
    "N(0, I), as for the starts."
)
SCORE = (
    "The theorem is about the latents of the training data, and assumes a training that denoises or contracts; neither "
    "is checked here. The density is estimated from latents of held-out images of each data set: with Gaussian kernels "
    "whose bandwidth maximises the leave-one-out likelihood (where 1 kernel makes up the density, the score points to "
    "the nearest latent), and with a mixture of diagonal Gaussians chosen by BIC. Cosines are taken at the latents of "
    "other images, without and with noise (in units of the spread). Shuffled: with the scores at the other points. "
    "Centre: with the direction to the mean latent, which any contraction towards the middle has. A claim holds if the "
    "95 % interval of the paired difference lies above 0, and does not hold if it lies below 0. The theorem says "
    "proportional, which would be a cosine of 1."
)
GRADIENT = (
    "The share of ||J_f||^2 (Frobenius) in the antisymmetric part (J - J^T) / 2, estimated with Hutchinson probes; the "
    "Jacobian of the field, J - I, has the same antisymmetric part. The share is 0 for the gradient of a potential, "
    "and (d - 1) / (2 d) for a matrix of independent entries. That the field is a gradient holds if the 95 % interval "
    "of the mean over points lies below 0.01, and does not hold if it lies above. The share depends on the "
    "coordinates: a field can be a gradient in others."
)

CONVERGENCE = (
    "Predicted: log(eps / ||z0 - z*||) / log(rho) for a start z0, its certified attractor z* with spectral radius rho, "
    "and eps the distance at which the residual reaches the tolerance. Actual: the steps of the start, iterated "
    "without acceleration in full precision; starts without such an iteration or without a certificate are left out. "
    "The prediction tells which starts take longer if the 95 % interval of the correlation lies above 0. It is better "
    "than the best constant (the median of the actual steps) if the interval of the difference of log errors lies "
    "below 0."
)
FIELD_CLAIMS = {
    "contraction": {"f contracts": "contracts"},
    "gradient": {
        "f(z) - z is a gradient": "gradient",
        "f(z) - z is closer to a gradient than independent entries are": "less_than_chance",
    },
}
"""Claims of the statements about the field, with the keys of their verdicts."""
FIELD_COLUMNS: dict[str, dict[str, Callable[[dict[str, Any]], str]]] = {
    "contraction": {
        "spectral norm of J_f": lambda one: _mean(one["norm"]),
        "largest": lambda one: number(one["norm"]["largest"]),
        "share below 1": lambda one: number(one["norm"]["below_1"]),
        "mean below 1": lambda one: str(one["contracts"]),
    },
    "gradient": {
        "antisymmetric share": lambda one: _mean(one["antisymmetric"]),
        "is a gradient": lambda one: str(one["gradient"]),
        "below chance": lambda one: str(one["less_than_chance"]),
    },
}


@dataclass(frozen=True)
class Statement:
    """One statement of the theory.

    Attributes:
        name: of its figure, and its key in theory.json.
        sentences: the verdicts.
        rule: how the verdicts are reached.
    """

    title: str
    name: str
    rule: str
    sentences: list[str]
    table: Table

    def section(self, drawn: bool) -> Section:
        """Its part of the page; ``drawn``: there is a figure."""
        figures = [Figure(f"figures/{self.name}", self.title)] if drawn else []
        return Section(self.title, [Verdicts(self.sentences), self.table, Note(self.rule), *figures])


def statements(content: dict[str, Any]) -> list[Statement]:
    """All statements, in the order of the page."""
    field = content["field"]
    parts = [
        _bound(content),
        _of_field("Lipschitz constant of f on the data, near and far from it", "contraction", CONTRACTION, field),
        _score(content["score"]),
        _of_field("Is the field conservative?", "gradient", GRADIENT, field),
    ]
    return [*parts, _convergence(content["convergence"])] if "convergence" in content else parts


def _bound(content: dict[str, Any]) -> Statement:
    decoder, data, prototypes = content["decoder"], content["bound"], content["prototypes"]
    sentences = ["D is not differentiable here, so L and the bound are unknown."]
    if decoder["lipschitz"] is not None:
        sentences = [
            _kept(data, "with_2", "With the factor 2"),
            _kept(data, "without_2", "As printed, without the factor 2,"),
            f"L = {number(decoder['lipschitz'])} is the largest spectral norm of J_D at "
            f"{count(decoder['points'], 'point')} on segments from latents to their prototypes. It is a lower bound on "
            f"the Lipschitz constant (the largest secant among the images is {number(decoder['largest_secant'])}).",
        ]
    better = _verdicts((name, one["prototypes"]) for name, one in data.items())
    kind = "certified attractors" if prototypes["certified"] else "end points, NONE a certified attractor"
    head = ("data set", "n", "autoencoder", "prototype", "one step as prototype", "distance to P", "coverage",
            "right / left", "correlation")  # fmt: skip
    rows = []
    for name, one in data.items():
        step, bound = one["controls"]["one_step"]["prototype"], one["bounds"] and one["bounds"]["with_2"]["tightness"]
        means = (one["left"], one["prototype"], step, one["distance"], one["coverage"], bound, one["correlation"])
        rows.append([name, str(one["n"]), *map(_mean, means)])
    sentences.append(f"Attractors are better prototypes than one step of f: {better}")
    title = f"Proposition 3.2: autoencoder error and its bound from {prototypes['n']} {kind}"
    return Statement(title, "bound", BOUND, sentences, Table(head, rows))


def _kept(data: dict[str, Any], form: str, words: str) -> str:
    sides = [one["bounds"][form] for one in data.values()]
    kept, n = sum(side["kept"] for side in sides), sum(one["n"] for one in data.values())
    verdict = "holds" if all(side["verdict"] == "holds" for side in sides) else "is undecided"
    worst = max(side["broken_at_most"] for side in sides)
    return (
        f"{words} the bound {verdict}: {kept} of {n} images satisfy it (upper 95 % limit of the share that does not, "
        f"in the worst data set: {100 * worst:.2g} %)."
    )


def _of_field(title: str, name: str, rule: str, field: list[dict[str, Any]]) -> Statement:
    """A statement about the field, with a row for each place."""
    claims, columns = FIELD_CLAIMS[name], FIELD_COLUMNS[name]
    sentences = [f"{claim}: {_verdicts((place(one), one[key]) for one in field)}" for claim, key in claims.items()]
    rows = [[place(one), str(one["n"]), *(cell(one) for cell in columns.values())] for one in field]
    return Statement(title, name, rule, sentences, Table(("where", "points", *columns), rows))


def _score(score: dict[str, Any]) -> Statement:
    unknown = [name for name, one in score.items() if one is None]
    known = {name: one["densities"] for name, one in score.items() if one}
    found = [(name, density, at) for name, of_it in known.items() for density in of_it for at in density["at"]]
    places = [f"{name} ({density['name']}, noise {at['noise']:g})" for name, density, at in found]
    claims = {
        "The field is more aligned with the score than with shuffled scores": "aligned",
        "The field is more aligned with the score than with the direction to the mean": "beyond_centre",
    }
    sentences = [
        f"{claim}: {_verdicts(zip(places, (at[key] for _, _, at in found), strict=True))}"
        for claim, key in claims.items()
        if found
    ]
    if unknown:
        sentences.append(f"Too few images to estimate a density from: {', '.join(unknown)}.")
    head = ("data set", "density", "noise", "cosine", "shuffled", "centre", "kernels", "log q / d", "above shuffled",
            "above centre")  # fmt: skip
    rows = []
    for name, density, at in found:
        cosines = [_mean(at[key]) for key in ("cosine", "shuffled", "centre")]
        facts = [number(at["kernels"]), number(density["log_density"]), *(at[key] for key in claims.values())]
        rows.append([name, _density(density), f"{at['noise']:g}", *cosines, *facts])
    title = "Theorem 1: does f(z) - z point along the score of the latent density?"
    return Statement(title, "score", SCORE, sentences, Table(head, rows))


def _convergence(found: dict[str, Any]) -> Statement:
    """Predicted against actual steps, from the record of ``probe.studies.sweeps.convergence``."""
    ratio = found["ratio"] or {}
    measured = [ratio.get(key) for key in ("median", "q05", "q95")]
    measured += [found[key] for key in ("rank_correlation", "error", "null_error")]
    head = ("starts", "used", "attractors", "actual / predicted", "5 %", "95 %", "rank correlation", "log error",
            "best constant")  # fmt: skip
    row = [*(str(found[key]) for key in head[:3]), *(number(value) for value in measured)]
    title = "Proposition A.9: predicted against actual steps to an attractor"
    return Statement(title, "convergence", CONVERGENCE, [sentence(found)], Table(head, [row]))


def _density(density: dict[str, Any]) -> str:
    if density["name"] == "kernel":
        return f"kernels, h = {number(density['bandwidth'])} ({number(density['relative'])} of the spread)"
    return f"mixture of {density['components']}"


def place(one: dict[str, Any]) -> str:
    """Where a part of the field was measured."""
    return {"data": "{}", "near": "near {}"}.get(one["where"], one["where"]).format(one["dataset"])


def _verdicts(found: Iterable[tuple[str, str]]) -> str:
    """``holds for 5 of 6, undecided for c.``: the most common by number, the others by name if they are few."""
    named: dict[str, list[str]] = {"holds": [], "does not hold": [], "undecided": []}
    for name, verdict in found:
        named[verdict].append(name)
    n = sum(map(len, named.values()))
    parts: list[str] = []
    for verdict, names in sorted(named.items(), key=lambda one: -len(one[1])):
        if names:
            few = n == 1 or (parts and len(names) <= NAMED)
            among = listed(names) if few else f"all {n}" if len(names) == n else f"{len(names)} of {n}"
            parts.append(f"{verdict} for {among}")
    return ", ".join(parts) + "."


def _mean(value: dict[str, Any] | None) -> str:
    return "-" if value is None else with_interval(Mean(mean=value["mean"], ci95=value["ci95"]))
