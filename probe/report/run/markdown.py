"""report.md: summary, warnings, tables, verdicts and links to the figures."""

from collections.abc import Iterable

from probe.dynamics import Outcome
from probe.methods import label
from probe.report.page import markdown as page
from probe.report.page.content import Block, Figure, Page, Provenance, Section, Table, Verdicts
from probe.report.page.text import percent
from probe.report.run import tables
from probe.report.run.schema import DatasetErrors, Report
from probe.report.run.summary import semantics_sentences


def markdown(report: Report, figures: Iterable[str]) -> str:
    """The page; ``figures`` are paths of PNG files in the report's folder."""
    paths, model = set(figures), report.model

    def shown(*names: str) -> list[Block]:
        return [Figure(f"figures/{name}", name) for name in names if f"figures/{name}.png" in paths]

    blocks: list[Block] = [
        f"Dictionary: {report.dictionary.label}.",
        Section("How the starts ended", [_outcomes(report), *shown("steps", "residual")]),
    ]
    if table := tables.certificates(report):
        blocks.append(Section("Certificates of the largest basins", [table, tables.CERTIFICATE_NOTE]))
    if report.datasets:
        blocks.append(
            Section("At 5 % of the latent dimension", [_five_percent(report), f"{tables.NOTE}.", report.verdict_rule])
        )
    for name, data in report.datasets.items():
        pictures = shown(f"{name}_latent_mse", f"{name}_pixel_mse", f"{name}_examples")
        blocks.append(Section(f"Data set {name}", [*_dataset(data, report.subject), *pictures]))
    blocks.append(Section("Decoded end points", shown("gallery")))
    if found := report.semantics:
        medians = tables.semantics(found)
        blocks.append(Section("Semantics", [*semantics_sentences(found), *([medians] if medians else [])]))
    facts = {key: report.provenance.get(key) for key in ("git_revision", "device", "dtype", "started")}
    weights = {"model": model.class_, "weights sha256": model.weights_sha256 or "none"}
    command = str(report.provenance.get("command") or "unknown")
    made = Provenance(command, weights | facts, config=report.provenance["config"])
    return page.markdown(Page(f"Probe of {model.source}", " ".join(report.summary), report.warnings, blocks, made))


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


def _dataset(data: DatasetErrors, subject: str) -> list[Block]:
    verdict = Verdicts([f"{data.verdict}."])
    table = tables.details(data, subject)
    return [verdict, table, tables.detail_note(data)] if table else [verdict]
