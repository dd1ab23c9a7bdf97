"""The tables of a run's report, as text for all renderings."""

from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from probe.methods import AUTOENCODER, BASELINE, OURS, label, methods, metrics, subject
from probe.report.page.text import count, interval, number, with_interval
from probe.report.run.schema import DatasetErrors, Errors, LevelReport, Report

BEST = "*"
NOTE = f"latent MSE at 5 % of d: mean and 95 % interval over images; {BEST} best control (the oracle does not compete)"


CERTIFICATE_HEAD = ("starts", "certificate", "residual", "spectral radius", "norm", "steps predicted", "plain", "taken")
CERTIFICATE_NOTE = (
    "Residual: ||f(z) - z||^2, recomputed at the returned point. Spectral radius and norm are of the Jacobian of f"
    " there: an attractor has a radius below 1; f contracts every small step if the norm is below 1, too. Steps of the"
    " start that leads the basin: predicted by log(eps / ||z0 - z*||) / log(radius) (Proposition A.9), plain (without"
    " acceleration), and taken by this run."
)
SHOWN = 12
"""Atoms in the table of certificates."""


@dataclass(frozen=True)
class Cell:
    method: str
    mean: str
    interval: str
    best_control: bool


@dataclass(frozen=True)
class Row:
    dataset: str
    n: int
    atoms: int
    cells: list[Cell]


def report_subject(report: Report) -> str:
    """What to call the atoms of this report's dictionary."""
    return subject(report.solver.certificates.certified, report.dictionary.atoms)


def level_at_five(data: DatasetErrors) -> LevelReport | None:
    """The level of 5 % of d."""
    return next((level for level in data.levels if level.atoms == data.five_percent), None)


def best_control(level: LevelReport) -> str | None:
    """The control with the smallest mean latent MSE; oracles do not compete."""
    known = methods()
    means = {
        name: errors.latent_mse.mean
        for name, errors in level.methods.items()
        if name != OURS and not known[name].sees_data and errors.latent_mse.mean is not None
    }
    return min(means, key=means.__getitem__) if means else None


def methods_shown(report: Report) -> list[str]:
    """Methods that any data set has at 5 % of d, in the order of the table."""
    levels = [level_at_five(data) for data in report.datasets.values()]
    return [name for name in methods() if any(level and name in level.methods for level in levels)]


def five_percent_rows(report: Report) -> list[Row]:
    """A row per data set with a cell per method of ``methods_shown``."""
    shown, rows = methods_shown(report), []
    for name, data in report.datasets.items():
        level = level_at_five(data)
        cells = []
        for method in shown:
            if level is None or method not in level.methods:
                cells.append(Cell(method, "-", "", False))
                continue
            mean = level.methods[method].latent_mse
            cells.append(Cell(method, number(mean.mean), interval(mean), method == best_control(level)))
        rows.append(Row(name, data.n_used, data.five_percent, cells))
    return rows


def known_metrics(data: DatasetErrors) -> list[str]:
    """Metrics that have a number for any method: ``clip`` only if CLIP was asked for."""
    rows = [errors for level in data.levels for errors in level.methods.values()]
    return [name for name in metrics() if any(errors.of(name).mean is not None for errors in rows)]


def detail_head(data: DatasetErrors) -> list[str]:
    """The head of ``detail_rows``."""
    level = level_at_five(data)
    strongest = [level.strongest] if level and level.strongest else []
    return [
        f"at {count(data.five_percent, 'atom')}",
        "used",
        *(metrics()[name].heading for name in known_metrics(data)),
        *(f"/ {label(name)}" for name in (BASELINE, *strongest, AUTOENCODER.name)),
    ]


def detail_rows(data: DatasetErrors, subject: str) -> list[list[str]]:
    """The errors of a data set at 5 % of d, as text: a row per method, then autoencoder and sanity rows."""
    level = level_at_five(data)
    if level is None:
        return []
    rows, known = [], known_metrics(data)
    for method, errors in level.methods.items():
        ratios = [with_interval(errors.difference.latent_ratio) if errors.difference else "-"]
        if level.strongest:
            against = errors.difference_strongest
            ratios.append(with_interval(against.latent_ratio) if against else "-")
        ratios.append(with_interval(errors.floor_ratio))
        rows.append([label(method, subject), str(errors.atoms_used), *_means(errors, known), *ratios])
    empty = ["-"] * (len(detail_head(data)) - len(known) - 2)
    alone = _means(data.autoencoder_floor, known)[1:]  # its latent error is 0
    rows.append([f"{AUTOENCODER.label} alone", "-", "0", *alone, *empty])
    rows += [[label(name), "0", *_means(row, known), *empty] for name, row in data.sanity.items()]
    return rows


def detail_note(data: DatasetErrors) -> str:
    """The key to the columns and rows of ``detail_rows``."""
    note = (
        f"Means with 95 % intervals over images. Columns with a slash are ratios: / {label(BASELINE)}, and / the "
        f"strongest other control if any, of mean latent MSE; / {AUTOENCODER.label} of mean pixel MSE to that of "
        "D(E(x)). "
    )
    level = level_at_five(data)
    bases = level.methods[BASELINE].bases if level and BASELINE in level.methods else None
    if bases and (latent := bases["latent_mse"]).sd is not None:
        note += (
            f"Random orthogonal: mean of {latent.n} bases; the mean latent MSE of single bases is {number(latent.min)} "
            f"to {number(latent.max)} (standard deviation {number(latent.sd)}). "
        )
    return note + " ".join(f"{label(name).capitalize()}: {row.explanation}." for name, row in data.sanity.items())


def _means(errors: Errors, known: list[str]) -> list[str]:
    return [with_interval(errors.of(metric)) for metric in known]


def five_percent_table(report: dict[str, Any]) -> Table:
    """The 5 % table for a terminal, from the dict of ``build_report`` or the content of report.json."""
    parsed = Report.model_validate(report)
    table = Table(caption=NOTE, caption_justify="left", box=SIMPLE_HEAD, show_lines=False)
    table.add_column("data set", overflow="fold")
    table.add_column("n", justify="right")
    table.add_column("atoms", justify="right")
    for method in methods_shown(parsed):
        table.add_column(label(method, report_subject(parsed)), justify="right")
    for row in five_percent_rows(parsed):
        # Text, not str: brackets in a name are not markup.
        cells = [
            Text(f"{cell.mean}{BEST if cell.best_control else ''}", style="bold" if cell.best_control else "")
            + Text(f"\n{cell.interval.replace(', ', ',')}", style="dim")
            for cell in row.cells
        ]
        table.add_row(Text(row.dataset), str(row.n), str(row.atoms), *cells)
    return table


def certificate_rows(report: Report) -> list[list[str]]:
    """A row of text per atom with a spectral radius, largest basins first, under ``CERTIFICATE_HEAD``."""
    return [
        [
            str(atom.basin),
            atom.certificate,
            number(atom.residual),
            f"{atom.spectral_radius:.3f} +- {atom.radius_error or 0:.1g}",
            number(atom.spectral_norm),
            "-" if atom.predicted_steps is None else f"{atom.predicted_steps:.0f}",
            "-" if atom.plain_steps is None else str(atom.plain_steps),
            str(atom.steps),
        ]
        for atom in report.gallery
        if atom.spectral_radius is not None
    ][:SHOWN]
