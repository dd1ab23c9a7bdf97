"""The tables of a run's report, as text for all renderings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from probe.methods import AUTOENCODER, BASELINE, OURS, label, methods, metrics
from probe.report.page.content import Table
from probe.report.page.text import count, interval, number, with_interval
from probe.report.run.schema import DatasetErrors, Errors, LevelReport, Perception, Report, Semantics, Starts

BEST = "*"
CELL = 16
"""Columns of a terminal that a mean with its interval takes."""
NOTE = (
    "latent MSE with as many atoms as 5 % of the latent dimension: mean and 95 % interval over images; "
    f"{BEST} best control (oracles do not compete)"
)
TERMS = (
    "An end point is where iterating z ← f(z) = E(D(z)) from noise came to its end. It is an attractor only if it is "
    "certified: a fixed point that draws in all points near it. The distinct end points make a dictionary, without "
    "data. The latent of each image is written with as many of its atoms as 5 % of the latent dimension d, and with as "
    "many of each control. Ratios are the error with the end points over the error with the control: below 1 the end "
    "points are better."
)
BORROWED_TERMS = (
    "The dictionary is that of another run: its atoms are end points, where iterating z ← f(z) = E(D(z)) from noise "
    "came to its end, of the model named above. The latent of each image is written with as many of these atoms as 5 % "
    "of the latent dimension d, and with as many of each control. Ratios are the error with the borrowed atoms over "
    "the error with the control: below 1 the borrowed atoms are better."
)
SIZES_NOTE = (
    "Dictionaries of the first starts only, with the same number of atoms in the code: 5 % of d. A larger dictionary"
    " offers more choice; compare methods at the same size, and with the random orthogonal basis, which has d atoms,"
    " where a dictionary has about as many. Gaussian vectors have no starts: so many were drawn."
)
CERTIFICATE_NOTE = (
    "Residual: ||f(z) - z||^2 at the end point, after the plain steps that the certificate takes. Spectral radius and"
    " norm are of the Jacobian of f there: an attractor has a radius below 1; f contracts every small step if the norm"
    " is below 1, too. Distance: to the fixed point, bounded where the norm is below 1, else estimated. Steps of the"
    " start that leads the basin: predicted by log(eps / ||z0 - z*||) / log(radius) (Proposition A.9), plain (without"
    " acceleration), and taken by this run."
)


@dataclass(frozen=True)
class Cell:
    mean: str
    interval: str
    best_control: bool


def _best_control(level: LevelReport) -> str | None:
    """The control with the smallest mean latent MSE; oracles do not compete."""
    known = [name for name, one in methods().items() if name in level.methods and name != OURS and not one.sees_data]
    means = {name: mean for name in known if (mean := level.methods[name].latent_mse.mean) is not None}
    return min(means, key=means.__getitem__) if means else None


def lender(report: Report) -> dict[str, str]:
    """Where borrowed atoms are from, for a table of facts; empty for a run's own."""
    if (found := report.borrowed) is None:
        return {}
    commit = {"its commit on the hub": found.revision} if found.revision else {}
    weights = {"its weights sha256": found.weights_sha256 or "none", "its sha256": found.sha256}
    return {"dictionary": f"{count(found.atoms, 'atom')} of {found.model} from {found.place}", **commit, **weights}


def methods_shown(report: Report) -> list[str]:
    """Methods that any data set has at 5 % of d, in the order of the table."""
    levels = [data.at_five_percent for data in report.datasets.values()]
    return [name for name in methods() if any(level and name in level.methods for level in levels)]


def five_percent_cells(report: Report) -> dict[str, list[Cell]]:
    """Latent MSE at 5 % of d: for each data set a cell per method of ``methods_shown``."""
    shown = methods_shown(report)
    return {name: [_cell(data.at_five_percent, one) for one in shown] for name, data in report.datasets.items()}


def _cell(level: LevelReport | None, method: str) -> Cell:
    if level is None or method not in level.methods:
        return Cell("-", "", False)
    mean = level.methods[method].latent_mse
    return Cell(number(mean.mean), interval(mean), method == _best_control(level))


def known_metrics(data: DatasetErrors) -> list[str]:
    """Metrics that have a number for any method: ``clip`` only if CLIP was asked for."""
    rows = [errors for level in data.levels for errors in level.methods.values()]
    return [name for name in metrics() if any(errors.of(name).mean is not None for errors in rows)]


def details(data: DatasetErrors, subject: str) -> Table | None:
    """The errors of a data set at 5 % of d: a row per method, then autoencoder and sanity rows."""
    if (level := data.at_five_percent) is None:
        return None
    known, references = known_metrics(data), [BASELINE, *filter(None, [level.strongest]), AUTOENCODER.name]
    head = [f"at {count(level.atoms, 'atom')}", "used", *(metrics()[name].heading for name in known)]
    head += [f"/ {label(name)}" for name in references]
    rows = []
    for method, errors in level.methods.items():
        against = [errors.difference, errors.difference_strongest] if level.strongest else [errors.difference]
        ratios = [with_interval(one.latent_ratio) if one else "-" for one in against]
        numbers = [str(errors.atoms_used), *_means(errors, known), *ratios, with_interval(errors.floor_ratio)]
        rows.append([label(method, subject), *numbers])
    empty = ["-"] * len(references)
    alone = _means(data.autoencoder_floor, known)[1:]  # its latent error is 0
    rows.append([f"{AUTOENCODER.label} alone", "-", "0", *alone, *empty])
    rows += [[label(name), "0", *_means(row, known), *empty] for name, row in data.sanity.items()]
    return Table(head, rows)


def detail_note(data: DatasetErrors) -> str:
    """The key to the columns and rows of ``details``."""
    note = (
        f"Means with 95 % intervals over images. Columns with a slash are ratios: / {label(BASELINE)}, and / the "
        f"strongest other control if any, of mean latent MSE; / {AUTOENCODER.label} of mean pixel MSE to that of "
        "D(E(x)). "
    )
    level = data.at_five_percent
    bases = level.methods[BASELINE].bases if level and BASELINE in level.methods else None
    if bases and (latent := bases["latent_mse"]).sd is not None:
        note += (
            f"Random orthogonal: mean of {latent.n} bases; the mean latent MSE of single bases is {number(latent.min)} "
            f"to {number(latent.max)} (standard deviation {number(latent.sd)}). "
        )
    note += "".join(f"{sentence} " for sentence in _perception(data.perception))
    return note + " ".join(f"{label(name).capitalize()}: {row.explanation}." for name, row in data.sanity.items())


def _perception(found: Perception | None) -> Iterator[str]:
    """Sentences on LPIPS and rFID, each with its protocol."""
    if found is None:
        return
    for name, protocol in found.protocols.items():
        network = f"{protocol['network']}, {protocol['weights']} (sha256 {protocol['sha256'][:12]})"
        if name == "lpips":
            yield f"LPIPS {protocol['version']}: {network}, images clamped, resize: {protocol['resize']}."
        elif found.rfid:
            yield (
                f"rFID of the {AUTOENCODER.label} alone: {with_interval(found.rfid)} for {found.rfid.n} images, "
                f"clamped and in 8 bits; {network}, resize: {protocol['resize']}; compare it for as many images only."
            )
    for sentence in found.missing:
        yield f"{sentence[0].upper()}{sentence[1:]}."


def _means(errors: Errors, known: list[str]) -> list[str]:
    return [with_interval(errors.of(metric)) for metric in known]


def sizes(found: Starts, subject: str) -> Table:
    """A row per method and number of first starts."""
    rows = []
    for method, sizes in found.sizes.items():
        for one in sizes:
            errors = [with_interval(one.latent_mse), with_interval(one.ratio)]
            rows.append([label(method, subject), str(one.starts), str(one.atoms), *errors])
    return Table(["", "starts", "atoms", metrics()["latent_mse"].heading, f"/ {label(BASELINE)}"], rows)


def five_percent_table(report: dict[str, Any], width: int) -> Group:
    """Latent MSE at 5 % of d for a terminal of so many columns, from the content of report.json: a row per method, a
    column per data set, in as many tables as it takes."""
    parsed = Report.model_validate(report)
    names = [label(method, parsed.subject) for method in methods_shown(parsed)]
    cells = list(five_percent_cells(parsed).items())
    across = max((width - max(map(len, ["", *names])) - 2) // CELL, 1)
    some = (dict(cells[first : first + across]) for first in range(0, len(cells), across))
    return Group(*(_terminal(parsed, names, part) for part in some), Text(NOTE))


def _terminal(report: Report, names: list[str], cells: dict[str, list[Cell]]) -> RichTable:
    table = RichTable(box=SIMPLE_HEAD)
    table.add_column("")
    for name in cells:
        data = report.datasets[name]
        about = f"{count(data.n_used, 'image')}\n{count(data.five_percent, 'atom')}"
        table.add_column(Text(f"{name}\n{about}"), justify="right", overflow="fold")  # Text: no markup in names
    for method, row in zip(names, zip(*cells.values(), strict=True), strict=True):
        shown = [
            Text(f"{cell.mean}{BEST if cell.best_control else ''}", style="bold" if cell.best_control else "")
            + Text(f"\n{cell.interval.replace(', ', ',')}", style="dim")
            for cell in row
        ]
        table.add_row(method, *shown)
    return table


def certificates(report: Report) -> Table | None:
    """A row for each of the first 12 atoms with a spectral radius, largest basins first; None without any."""
    head = (
        "starts",
        "certificate",
        "residual",
        "spectral radius",
        "norm",
        "distance",
        "steps predicted",
        "plain",
        "taken",
    )
    rows = [
        [
            str(atom.basin),
            atom.certificate,
            number(atom.residual),
            f"{atom.spectral_radius:.3f} +- {atom.radius_error or 0:.1g}",
            number(atom.spectral_norm),
            number(atom.distance),
            "-" if atom.predicted_steps is None else f"{atom.predicted_steps:.0f}",
            "-" if atom.plain_steps is None else str(atom.plain_steps),
            str(atom.steps),
        ]
        for atom in report.gallery
        if atom.spectral_radius is not None
    ]
    return Table(head, rows[:12]) if rows else None


def semantics(found: Semantics) -> Table | None:
    """Medians over the three sets; None if CLIP was unavailable."""
    parts = {
        "similarity to the label, median": found.label_similarity,
        "similarity to the nearest test image, median": found.nearest_similarity,
    }
    if found.vendi:
        parts[f"Vendi score of {found.vendi.n} of each"] = found.vendi
    rows = [[name, number(one.end_points), number(one.noise), number(one.images)] for name, one in parts.items() if one]
    return Table(("", "end points", "decoded noise", "test images"), rows) if rows else None
