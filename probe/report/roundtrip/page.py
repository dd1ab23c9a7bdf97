"""The page of a round trip: what is left, curves, films, models side by side, outcomes, the protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Drawing
from rich.table import Table as RichTable

from probe.report.model import dump
from probe.report.page.content import Block, Code, Figure, Film, Note, Page, Provenance, Section, Table, Verdicts
from probe.report.page.html import html
from probe.report.page.markdown import markdown
from probe.report.page.text import count, listed
from probe.report.page.write import drawn, write
from probe.report.roundtrip import drawings, tables, words
from probe.report.roundtrip.build import roundtrip_report
from probe.report.roundtrip.export import cycles_csv
from probe.report.roundtrip.films import films
from probe.report.roundtrip.numbers import COMPARED
from probe.report.roundtrip.schema import RoundtripReport, SetReport
from probe.results.roundtrip import read_roundtrip
from probe.studies.roundtrip.config import load_roundtrip_config

KINDS = {
    "quality": (
        drawings.quality,
        "Measures of the pictures against the cycle, by model and by what happens between",
    ),
    "drift": (drawings.drift, "Mean shift of red, green and blue against the cycle, in levels of 8 bits"),
    "spectra": (drawings.spectra, "Power of the pictures over that of their images, by frequency and cycle"),
    "latent": (drawings.latent, "Norm of the latent, its steps, and its distance to the start, against the cycle"),
}
"""Figures of a data set by name, and what they show."""
ALL = "all"
"""Stands for a data set's name in the figures of all data sets together."""


def write_roundtrip_report(path: Path) -> dict[str, Any]:
    """Write report/ in the directory: figures/, report.md, report.html, cycles.csv, report.json.

    Returns:
        The content of report.json.

    Raises:
        UserError: a result is missing, damaged, or has unexpected content.
    """
    results = read_roundtrip(path, load_roundtrip_config(path / "config.yaml"))
    report = roundtrip_report(results)
    filmed = films(report, results)
    figures = figures_of(report)
    moving = {name: one.film for name, one in filmed.items()}
    strips = {key: figure for one in filmed.values() for key, figure in one.strips.items()}
    made = page(report, moving, list(figures))
    pictures = drawn({**{f"figures/{name}": figure for name, figure in figures.items()}, **strips})
    pictures |= {key: data for one in filmed.values() for key, data in one.sheets.items()}
    pages = {"report.md": markdown(made), "report.html": html(made, pictures), "cycles.csv": cycles_csv(report)}
    content = dump(report)
    write(path / "report", {**pictures, **pages}, "report", content)
    return content


def figures_of(report: RoundtripReport) -> dict[str, Drawing]:
    """The figures of all data sets together, and of each where there are several, by name."""
    sets = {ALL: report.overall} | (report.datasets if len(report.datasets) > 1 else {})
    made = {f"{name}_{kind}": draw(report, data) for name, data in sets.items() for kind, (draw, _) in KINDS.items()}
    return {name: figure for name, figure in made.items() if figure}


def page(report: RoundtripReport, moving: Mapping[str, Film], figures: Sequence[str]) -> Page:
    """The page.

    Args:
        moving: a film for each data set.
        figures: names of those that exist.
    """
    several, started = len(report.datasets) > 1, report.provenance.get("started")
    lead = (
        f"{listed(list(report.models))}; {count(report.overall.n, 'image')}"
        f"{f' of {len(report.datasets)} data sets' if several else ''}, encoded and decoded "
        f"{count(report.cycles, 'time')}{f', started {started}' if started else ''}"
    )
    blocks: list[Block] = [
        Verdicts(list(report.headlines.values())),
        tables.overview(report),
        Note("Mean PSNR over the images. 'No model' is the control: the same without encoding and decoding."),
        Section("Cycle by cycle", _curves(ALL, figures)),
    ]
    if not several:
        blocks += _set(report, report.overall, next(iter(moving.values())))
    else:
        blocks += [Section(f"Pictures of {name}", [film]) for name, film in moving.items()]
        blocks += _numbers(report, report.overall)
        for name, data in report.datasets.items():
            blocks.append(Section(f"Data set {name}", [_about(data), *_folded(report, name, data, figures)]))
    protocol = Table(["", ""], [[key, text] for key, text in report.protocol.items()], facts=True)
    blocks += [Section("Protocol", [protocol]), Section("How to read it", list(report.rules))]
    models = {f"model {name}": facts.get("source") for name, facts in report.models.items()}
    return Page("Round trips", lead, report.warnings, blocks, Provenance.of(report.provenance, **models))


def roundtrip_table(content: Mapping[str, Any]) -> RichTable:
    """The overview for a terminal, from the content of report.json."""
    return tables.overview(RoundtripReport.model_validate(content)).rich()


def _about(data: SetReport) -> Note:
    return Note([f"{count(data.n, 'image')} from ", Code(data.source or "several sources"), "."])


def _curves(name: str, figures: Sequence[str]) -> list[Block]:
    return [Figure(f"figures/{name}_{kind}", alt) for kind, (_, alt) in KINDS.items() if f"{name}_{kind}" in figures]


def _set(report: RoundtripReport, data: SetReport, film: Film) -> list[Block]:
    """Everything of a report with a single data set."""
    return [Section("Pictures", [_about(data), film]), *_numbers(report, data)]


def _folded(report: RoundtripReport, name: str, data: SetReport, figures: Sequence[str]) -> list[Block]:
    """What one of several data sets has of its own."""
    numbers = [Section(one.title, one.blocks) for one in _numbers(report, data)]
    return [
        tables.levels(report, data),
        Section("All numbers", numbers, folded=True),
        Section("Curves", _curves(name, figures), folded=True),
    ]


def _numbers(report: RoundtripReport, data: SetReport) -> list[Section]:
    """Tables of one data set, or of all of them."""
    sections = [
        Section("PSNR by cycle (dB)", [tables.levels(report, data)]),
        Section("Cycles until PSNR has fallen", [tables.until(report, data), Note(UNTIL)]),
        Section("Colour drift", [tables.drift(report, data), Note(DRIFT)]),
        Section("Where pictures end", [tables.outcomes(report, data)]),
        Section("Worst and best images", [tables.extremes(report, data)]),
    ]
    sections += _differences(report, data, models=True, title="Models side by side")
    sections += _differences(report, data, models=False, title="What happens between cycles, side by side")
    return sections


UNTIL = (
    "Medians over images with 95 % intervals; an image that never falls so far counts as later than all cycles. The "
    "next column counts these. Controls that lose nothing are left out."
)
DRIFT = "Mean shift of red / green / blue in levels of 8 bits (0 to 255); positive is brighter."


def _differences(report: RoundtripReport, data: SetReport, *, models: bool, title: str) -> list[Section]:
    blocks: list[Block] = []
    for measure in COMPARED:
        table = tables.differences(report, data.differences, measure, models=models)
        if table.rows:
            blocks.append(Section(drawings.UNITS.get(measure, words.measure_label(measure)), [table]))
    note = Note("Mean differences, paired by image, with 95 % intervals; an interval around 0 shows no difference.")
    return [Section(title, [note, *blocks])] if blocks else []
