"""From run directories to the content of leaderboard.json."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from probe.board.entry import Entry, Score, entry
from probe.board.ranks import Range, ranks
from probe.board.schema import Board, Cell, Column, Differing, Group, Refused, Row
from probe.errors import UserError
from probe.methods import label
from probe.metrics.interval import wilson
from probe.names import shown
from probe.report.model import dump
from probe.report.page.text import count, listed, with_interval
from probe.report.protocol import differing, told
from probe.report.run.schema import Mean

NOT_LISTED = ("model.", "trackers.", "datasets.")
"""Settings that differ between models anyway; what matters of data sets is in the protocol."""
ALONE = "No other model was probed by this protocol, so there is nothing to rank it with."
NOTHING = Cell(value=None, text="-")
COLUMNS = (
    Column(key="rank", title="rank", meaning="best and worst place by the rule below", best="low"),
    Column(key="d", title="d", meaning="latent dimension", best=None),
    Column(key="seed", title="seed", meaning="seed of the starts", best=None),
    Column(
        key="atoms",
        title="atoms",
        meaning="atoms that images are coded in: different end points of the run, or those that it borrowed",
        best=None,
    ),
    Column(
        key="certified",
        title="certified attractors",
        meaning="of the run's own atoms, those with a certificate that they are attractors",
        best=None,
    ),
    Column(
        key="converged",
        title="share converged",
        meaning="share of the starts that converged, with Wilson's interval",
        best=None,
    ),
)


def board(runs: Mapping[str, Path]) -> dict[str, Any]:
    """The leaderboard of run directories, by id, as the JSON of ``schema.Board``.

    Reports are read once and again when they change. A folder that cannot be read is listed with the reason.
    """
    return dump(build(runs))


def build(runs: Mapping[str, Path]) -> Board:
    """``board`` as a model."""
    found: dict[str, Entry] = {}
    refused = []
    for run, path in runs.items():
        try:
            found[run] = entry(path)
        except UserError as error:
            refused.append(Refused(id=run, reason=str(error)))
    groups: dict[str, dict[str, Entry]] = {}
    for run, one in found.items():
        groups.setdefault(json.dumps(one.protocol, sort_keys=True), {})[run] = one
    # Most runs first; then in the order of the runs.
    ordered = sorted(groups.values(), key=len, reverse=True)
    return Board(groups=[_group(one, ordered[0]) for one in ordered], refused=refused)


def _group(runs: Mapping[str, Entry], first: Mapping[str, Entry]) -> Group:
    """The runs of one protocol; ``first`` are those of the first group."""
    some, names = next(iter(runs.values())), list(next(iter(runs.values())).scores)
    protocol, its = some.protocol, next(iter(first.values())).protocol
    models = {run: one.report.model.weights_sha256 or f"unknown weights of {run}" for run, one in runs.items()}
    scores = {
        run: {name: score.random.ci95 for name, score in one.scores.items() if score.random.ci95}
        for run, one in runs.items()
        if not one.unranked
    }
    if alone := len({models[run] for run in scores}) < 2:
        scores = {}
    overall = ranks(scores, models)
    each = {name: ranks({run: {name: ends[name]} for run, ends in scores.items()}, models) for name in names}
    rows = [
        _row(run, one, overall.get(run), {name: places[run] for name, places in each.items() if run in places})
        for run, one in runs.items()
    ]
    for row in rows:
        row.unranked = row.unranked or (ALONE if alone else "")
        row.repeats = [run for run, model in models.items() if model == models[row.id] and run != row.id]
    rows.sort(key=lambda row: (row.rank is None, row.rank, sum(_values(row, names)), row.id))
    keys = differing(protocol, its)
    return Group(
        title=f"{listed(names)} at {protocol['resolution']} pixels, {count(some.report.solver.n, 'start')}",
        protocol={key: _text(value) for key, value in protocol.items()},
        apart=f"Not ranked with the runs above, which have another protocol: {told(keys, protocol, its)}."
        if keys
        else "",
        models=len({models[run] for run in scores}),
        columns=[*COLUMNS, *(column for name in names for column in _of_dataset(name))],
        rows=rows,
        differs=list(_differs(runs)),
    )


def _of_dataset(name: str) -> Iterator[Column]:
    yield Column(
        key=f"random.{name}",
        title="ratio to random orthogonal",
        meaning="latent MSE at 5 % of d / that of the random orthogonal basis, below 1 is better than random; its"
        " interval is over images and draws of starts",
        best="low",
        dataset=name,
    )
    yield Column(
        key=f"strongest.{name}",
        title="ratio to the strongest control",
        meaning="latent MSE at 5 % of d / that of the best control on this data set; its interval is over images alone",
        best="low",
        dataset=name,
    )


def _row(run: str, one: Entry, rank: Range | None, each: dict[str, Range]) -> Row:
    report = one.report
    certificates, model, n = report.solver.certificates, report.model, report.solver.n
    undecided = f", {certificates.undecided} undecided" if certificates.undecided else ""
    lent = report.borrowed
    cells = {
        "rank": Cell(value=rank[0] if rank else None, text=place(rank)),
        "d": _whole(model.d),
        "seed": _whole(one.settings["seeds.seed"]),
        "atoms": Cell(value=report.atoms, text=f"{report.atoms} borrowed" if lent else str(report.atoms)),
        "certified": NOTHING
        if lent
        else Cell(value=certificates.certified, text=f"{certificates.certified}{undecided}"),
        "converged": _cell(_share(report.solver.outcomes.get("converged", 0), n)),
    }
    for name, score in one.scores.items():
        cells |= {f"random.{name}": _cell(score.random), f"strongest.{name}": _strongest(score)}
    return Row(
        id=run,
        name=shown(run),
        model=f"{model.class_} from {model.source}",
        weights_sha256=model.weights_sha256,
        rank=rank,
        ranks=each,
        unranked=one.unranked,
        repeats=[],
        cells=cells,
    )


def place(rank: Range | None) -> str:
    """``1``, or ``1 to 3`` for a tie."""
    return "-" if rank is None else str(rank[0]) if rank[0] == rank[1] else f"{rank[0]} to {rank[1]}"


def _whole(value: int) -> Cell:
    return Cell(value=value, text=str(value))


def _cell(found: Mean) -> Cell:
    low, high = found.ci95 or (None, None)
    return Cell(value=found.mean, low=low, high=high, text=with_interval(found))


def _strongest(score: Score) -> Cell:
    cell = _cell(score.strongest)
    cell.text = f"{cell.text} {label(score.to)}" if score.to else cell.text
    return cell


def _share(k: int, n: int) -> Mean:
    if not n:
        return Mean(mean=None, ci95=None)
    low, high = wilson(k / n, n)
    return Mean(mean=k / n, ci95=(float(low), float(high)))


def _values(row: Row, names: Sequence[str]) -> list[float]:
    values = [row.cells[f"random.{name}"].value for name in names]
    return [float("inf") if value is None else value for value in values]


def _differs(runs: Mapping[str, Entry]) -> Iterator[Differing]:
    settings = {run: one.settings for run, one in runs.items()}
    for key in dict.fromkeys(key for one in settings.values() for key in one):
        values = {run: _text(one.get(key)) for run, one in settings.items()}
        if len({*values.values()}) > 1 and not key.startswith(NOT_LISTED):
            yield Differing(key=key, values=values)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)
