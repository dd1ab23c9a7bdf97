"""Write a run's report: every file whole or not at all, report.json last; and report.md, its page as Markdown."""

from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from probe.dynamics import Outcome
from probe.methods import BORROWED, label, metrics
from probe.report.figures import forest
from probe.report.figures import run as figures
from probe.report.figures.basins import nearby_starts
from probe.report.model import dump
from probe.report.page import markdown as page
from probe.report.page.content import Block, Bullets, Page, Provenance, Section, Table, Verdicts
from probe.report.page.content import Figure as Picture
from probe.report.page.text import percent
from probe.report.page.write import drawn, write
from probe.report.planned import planned_section
from probe.report.run import decomposition, tables
from probe.report.run.basins import basins_section
from probe.report.run.build import report_of
from probe.report.run.forest import compared, decompositions
from probe.report.run.html import html
from probe.report.run.schema import Report
from probe.report.run.summary import semantics_sentences
from probe.report.run.verdict import JUDGED
from probe.results.run import Results, read_results


def write_report(run: Path) -> dict[str, Any]:
    """Write report/ in the run directory: figures/*.png and *.svg, report.md, report.html, report.json.

    Returns:
        The content of report.json.

    Raises:
        UserError: as ``build_report``.
    """
    results = read_results(run)
    report = report_of(results, run)
    pictures = drawn({f"figures/{name}": figure for name, figure in drawings(report, results).items()})
    content = dump(report)
    planned = planned_section(run)
    pages = {
        "report.md": _markdown(report, pictures, planned),
        "report.html": html(report, results, pictures, planned),
    }
    write(run / "report", {**pictures, **pages}, "report", content)
    return content


def drawings(report: Report, results: Results) -> dict[str, Figure]:
    """Figures by file name; those of a data set begin with its name."""
    made = {
        "steps": figures.steps_histogram(results.starts, report.solver.max_steps),
        "residual": figures.residual_histogram(results.starts, report.solver.tolerance),
    }
    for metric in JUDGED:
        if compared(report, metric):
            made[f"forest_{metric}"] = forest.forest(report, metric)
    if decompositions(report):
        made["decomposition"] = forest.decomposition(report)
    if len(results.gallery):
        made["gallery"] = figures.gallery(results.gallery, report.gallery[: len(results.gallery)])
    if report.basins and any(one.different.mean is not None for one in report.basins.nearby):
        made["basins"] = nearby_starts(report.basins)
    for name, data in report.datasets.items():
        made[f"{name}_latent_mse"] = figures.curve(data, "latent_mse", report.subject)
        made[f"{name}_pixel_mse"] = figures.curve(data, "pixel_mse", report.subject)
        if data.starts and data.starts.sizes:
            made[f"{name}_sizes"] = figures.sizes(data.starts, data.five_percent, report.subject)
        if results.datasets[name].examples:
            images = results.datasets[name].examples_at(data.five_percent)
            rows = ("original", "autoencoder", "attractors", "random_orthogonal")
            shown = {key: images[key] for key in rows if key in images}
            made[f"{name}_examples"] = figures.examples(shown, report.subject, data.five_percent)
    return made


def _markdown(report: Report, paths: Container[str], planned: Section | None) -> str:
    """The page; ``paths`` are those of figures in the report's folder, ``planned`` its section on the plan."""
    model = report.model

    def shown(*names: str) -> list[Block]:
        return [Picture(f"figures/{name}", name) for name in names if f"figures/{name}.png" in paths]

    own = "Its own dictionary" if report.borrowed else "Dictionary"
    blocks: list[Block] = [*_verdicts(report, shown), f"{own}: {report.dictionary.label}."]
    blocks.append(Section("How the starts ended", [_outcomes(report), *shown("steps", "residual")]))
    if table := tables.certificates(report):
        blocks.append(Section("Certificates of the largest basins", [table, tables.CERTIFICATE_NOTE]))
    if report.datasets:
        blocks.append(Section("Errors from 5 % of d atoms", [_five_percent(report), f"{tables.NOTE}."]))
    for name, data in report.datasets.items():
        pictures = shown(f"{name}_latent_mse", f"{name}_pixel_mse", f"{name}_examples")
        details = tables.details(data, report.subject)
        numbers: list[Block] = [details, tables.detail_note(data)] if details else []
        if data.starts:
            pictures.append(f"{data.starts.sentence}.")
        if data.starts and data.starts.sizes:
            pictures += [tables.sizes(data.starts, report.subject), tables.SIZES_NOTE]
            pictures += shown(f"{name}_sizes")
        blocks.append(Section(f"Data set {name}", [*numbers, *pictures]))
    blocks.append(Section("Decoded end points", shown("gallery")))
    if report.basins:
        blocks.append(basins_section(report.basins, report.model.d, shown("basins")))
    if found := report.semantics:
        medians = tables.semantics(found)
        blocks.append(Section("Semantics", [*semantics_sentences(found), *([medians] if medians else [])]))
    blocks += [planned] if planned else []
    keys = ("command", "git_revision", "device", "dtype", "started", "config")
    facts = {key: report.provenance.get(key) for key in keys}
    commit = {"commit on the hub": model.revision} if model.revision else {}
    weights = {"weights sha256": model.weights_sha256 or "none", **tables.lender(report)}
    made = Provenance.of(facts, **{"model": model.class_, **commit, **weights})
    return page.markdown(Page(f"Probe of {model.source}", " ".join(report.summary), report.warnings, blocks, made))


def _verdicts(report: Report, shown: Callable[..., list[Block]]) -> list[Block]:
    """What the page answers at a glance: headlines, ratios to every control, and the parts of the advantage."""
    blocks: list[Block] = []
    for metric, sentence in report.headline.items():
        each = [f"{name}: {data.verdicts[metric]}." for name, data in report.datasets.items()]
        title = f"Verdicts by {metrics()[metric].label}"
        blocks.append(Section(title, [sentence, *shown(f"forest_{metric}"), Verdicts(each)]))
    if parts := decompositions(report):
        each = [f"{name}: {one.sentence}." for name, one in parts.items()]
        title = "Where the advantage over the random orthogonal basis comes from"
        numbers = decomposition.table(report)
        note = decomposition.NOTE.replace("end points", BORROWED) if report.borrowed else decomposition.NOTE
        said: list[Block] = [numbers, note] if numbers else []
        blocks.append(Section(title, [*shown("decomposition"), Bullets(each), *said]))
    if blocks:
        terms = tables.BORROWED_TERMS if report.borrowed else tables.TERMS
        blocks = [terms, *blocks, Section("How the verdicts are reached", [report.verdict_rule])]
    return blocks


def _outcomes(report: Report) -> Table:
    total, counts = report.solver.n, report.solver.outcomes
    rows = [[o.label, str(counts[o.label]), percent(counts[o.label], total), o.sentence] for o in Outcome]
    return Table(["outcome", "starts", "share", "meaning"], rows)


def _five_percent(report: Report) -> Table:
    head = ["data set", "n", "atoms", *(label(method, report.subject) for method in tables.methods_shown(report))]
    rows = []
    for name, cells in tables.five_percent_cells(report).items():
        shown = [f"{one.mean}{tables.BEST if one.best_control else ''} {one.interval}".rstrip() for one in cells]
        data = report.datasets[name]
        rows.append([name, str(data.n_used), str(data.five_percent), *shown])
    return Table(head, rows)
