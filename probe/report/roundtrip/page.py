"""The page of a round trip: what is left, curves, films, models side by side, outcomes, the protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Drawing
from rich.table import Table as RichTable

from probe.report.figures.drawing import render
from probe.report.model import dump
from probe.report.page.content import Block, Code, Figure, Film, Note, Page, Provenance, Section, Table, Verdicts
from probe.report.page.html import html
from probe.report.page.markdown import markdown
from probe.report.page.text import count, listed
from probe.report.page.write import drawn, write
from probe.report.planned import with_plan
from probe.report.roundtrip import drawings, tables, words
from probe.report.roundtrip.build import roundtrip_report
from probe.report.roundtrip.export import cycles_csv
from probe.report.roundtrip.films import filmed
from probe.report.roundtrip.numbers import COMPARED
from probe.report.roundtrip.schema import RoundtripReport, SetReport
from probe.results import layout
from probe.results.roundtrip import read_roundtrip
from probe.studies.roundtrip.config import load_roundtrip_config

CURVES = {
    "quality": ("What is left", drawings.quality, "Each column is what happens between cycles; bands are intervals."),
    "drift": ("Colour drift", drawings.drift, "Mean shift of red, green and blue, in levels of 8 bits."),
    "spectra": (
        "Detail",
        drawings.spectra,
        "Power of the pictures over that of their images, by frequency. Fine detail is at the right: below 0 it is "
        "lost, above 0 detail or noise was added.",
    ),
    "latent": ("Latent", drawings.latent, "A latent step that goes to 0 means that pictures settle."),
}
"""Figures of all data sets together by name: title, drawing, how to read it."""
ACROSS = ("psnr", "lpips", "ciede2000")
"""Measures drawn for each data set, where there are several: the first, and the next that was measured."""
CSV = Path(layout.CYCLES_CSV).name


def write_roundtrip_report(path: Path) -> dict[str, Any]:
    """Write report/ in the directory: figures/, report.md, report.html, cycles.csv, report.json.

    Returns:
        The content of report.json.

    Raises:
        UserError: a result is missing, damaged, or has unexpected content.
    """
    results = read_roundtrip(path, load_roundtrip_config(path / "config.yaml"))
    report = roundtrip_report(results)
    moving, figures = filmed(report, results), figures_of(report)
    made = with_plan(page(report, moving.film, list(figures)), path)
    pictures = drawn({f"figures/{name}": figure for name, figure in figures.items()}) | moving.sheets
    pictures |= {f"{name}.png": render(figure, "png") for name, figure in moving.strips.items()}
    pages = {"report.md": markdown(made), "report.html": html(made, pictures), CSV: cycles_csv(report)}
    content = dump(report)
    write(path / "report", {**pictures, **pages}, "report", content)
    return content


def figures_of(report: RoundtripReport) -> dict[str, Drawing]:
    """The figures by name: of all data sets together, and side by side where there are several."""
    made = {name: draw(report, report.overall) for name, (_, draw, _) in CURVES.items()}
    if len(report.datasets) > 1:
        there = [measure for measure in ACROSS if any(measure in one.curves for one in report.overall.series)]
        made |= {f"{measure}_by_set": drawings.across(report, measure) for measure in there[:2]}
    return {name: figure for name, figure in made.items() if figure}


def page(report: RoundtripReport, film: Film, figures: Sequence[str]) -> Page:
    """The page; ``figures`` are the names of those that exist."""
    several, started = len(report.datasets) > 1, report.provenance.get("started")
    lead = (
        f"{listed(list(report.models))}; {count(report.overall.n, 'image')}"
        f"{f' of {len(report.datasets)} data sets' if several else ''} at {report.protocol['size']}, encoded and "
        f"decoded {count(report.cycles, 'time')}{f', started {started}' if started else ''}"
    )
    curves = [
        Section(title, [Note(reading), Figure(f"figures/{name}", f"{title}, by cycle, model and setting", wide=True)])
        for name, (title, _, reading) in CURVES.items()
        if name in figures
    ]
    blocks: list[Block] = [
        Verdicts(list(report.headlines.values())),
        tables.overview(report),
        Note(f"{OVERVIEW} {_further(report)}".rstrip()),
        Section("Pictures", [Note(f"Difference: |picture - image| times {film.gain}."), film, *_left_out(report)]),
        Section("Cycle by cycle", curves),
        *_numbers(report, report.overall),
    ]
    if several:
        blocks.append(Section("By data set", _by_set(report, figures)))
    protocol = Table(["", ""], [[key, text] for key, text in report.protocol.items()], facts=True)
    blocks += [Section("Protocol", [protocol]), Section("How to read it", list(report.rules))]
    models = {f"model {name}": facts.get("source") for name, facts in report.models.items()}
    return Page("Round trips", lead, report.warnings, blocks, Provenance.of(report.provenance, **models))


def roundtrip_table(content: Mapping[str, Any]) -> RichTable:
    """The overview for a terminal, from the content of report.json."""
    report = RoundtripReport.model_validate(content)
    table = tables.overview(report, brief=True).rich("Mean PSNR over the images")
    table.caption, table.caption_justify = _further(report) or None, "left"
    return table


def _further(report: RoundtripReport) -> str:
    """What 'settle' and 'diverge' count, where some settings are iterated on after the last cycle."""
    return FURTHER if words.of_latent_map(report.betweens) else ""


def _left_out(report: RoundtripReport) -> list[Note]:
    """Which cells the film does not have."""
    equal: dict[str, list[str]] = {}
    for one in report.overall.series:
        if one.lossless:
            equal.setdefault(words.model_label(one.model), []).append(words.between_label(one.between))
    names = [f"{model} ({listed(betweens)})" for model, betweens in equal.items()]
    return [Note(f"Left out, because their pictures equal the images: {listed(names)}.")] if names else []


def _by_set(report: RoundtripReport, figures: Sequence[str]) -> list[Block]:
    """Figures, and the numbers of every data set, folded."""
    blocks: list[Block] = [
        Figure(f"figures/{measure}_by_set", f"{words.measure_label(measure)} by data set and cycle", wide=True)
        for measure in ACROSS
        if f"{measure}_by_set" in figures
    ]
    for name, data in report.datasets.items():
        source = [" from ", Code(data.source)] if data.source else []
        about = Note([count(data.n, "image"), *source, "."])
        blocks.append(Section(f"All numbers of {name}", [about, *_numbers(report, data)], folded=True))
    return blocks


def _numbers(report: RoundtripReport, data: SetReport) -> list[Section]:
    """Tables of one data set, or of all of them."""
    sections = [
        Section("PSNR by cycle (dB)", [tables.levels(report, data)]),
        Section("Cycles until PSNR has fallen", [tables.until(report, data), Note(UNTIL)]),
        Section("Colour drift by cycle", [tables.drift(report, data), Note(DRIFT)]),
        Section("Fine detail by cycle", [tables.detail(report, data), Note(DETAIL)]),
        Section("Where pictures end", [tables.outcomes(report, data), Note(ENDS.format(cycles=report.cycles))]),
        Section("Worst and best images", [tables.extremes(report, data)]),
    ]
    if (rfid := tables.rfid(report, data)).rows:
        sections.insert(1, Section("rFID by cycle", [rfid, Note(RFID)]))
    sections += _differences(report, data, models=True, title="Models side by side")
    sections += _differences(report, data, models=False, title="What happens between cycles, side by side")
    return sections


FURTHER = (
    "Whether pictures settle is not one criterion: 'nothing' and 'clamp' get up to solver.max_steps further steps of "
    "the latent map, rounded settings only the cycles. 'Diverge' counts images that diverge in the further steps, too."
)
OVERVIEW = (
    "Mean PSNR over the images; drift of red / green / blue in levels of 8 bits (0 to 255). 'No model' is the control: "
    "the same without encoding and decoding."
)
RFID = (
    "Fréchet distance of Inception features of all pictures from those of their images, with 95 % intervals from 40 "
    "images on; 0 for equal sets. Pictures that have diverged and their images are left out; n is then given beside "
    "the number. The weights are under Protocol."
)
UNTIL = (
    "Medians over images with 95 % intervals; an image that never falls so far counts as later than all cycles. "
    "Controls that lose nothing are left out here and below."
)
DRIFT = "Mean shift of red / green / blue in levels of 8 bits (0 to 255); positive is brighter."
DETAIL = "Mean gain of the upper half of the frequencies, in dB; negative is blur, positive is sharpening or noise."
ENDS = (
    "Images by outcome. 'Certified' counts images whose fixed point is a certified attractor of the latent map, of "
    "those examined; only 'nothing' and 'clamp' can have them. A cycle above {cycles} was found by iterating on."
)

DIFFERENCES = (
    "Mean differences, paired by image, with 95 % intervals; no difference is seen where one includes 0. Intervals are "
    "not corrected for the number of comparisons: of 20 true differences of 0, about one is outside of its interval."
)


def _differences(report: RoundtripReport, data: SetReport, *, models: bool, title: str) -> list[Section]:
    blocks: list[Block] = []
    for measure in COMPARED:
        table = tables.differences(report, data.differences, measure, models=models)
        if table.rows:
            blocks.append(Section(drawings.UNITS.get(measure, words.measure_label(measure)), [table]))
    return [Section(title, [Note(DIFFERENCES), *blocks])] if blocks else []
