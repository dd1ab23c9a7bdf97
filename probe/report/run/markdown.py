"""report.md: summary, warnings, tables, verdicts and links to the figures."""

from collections.abc import Iterable

from probe.dynamics import Outcome
from probe.methods import label
from probe.report.page import markdown as page
from probe.report.page.content import Block, Figure, Page, Provenance, Section, Table, Verdicts
from probe.report.page.text import percent
from probe.report.run import semantics, tables
from probe.report.run.schema import DatasetErrors, Report


def markdown(report: Report, figures: Iterable[str]) -> str:
    """The page; ``figures`` are paths of PNG files in the report's folder."""
    paths, model = set(figures), report.model

    def shown(*names: str) -> list[Block]:
        return [Figure(f"figures/{name}", name) for name in names if f"figures/{name}.png" in paths]

    blocks: list[Block] = [
        f"Dictionary: {report.dictionary.label}.",
        Section("How the starts ended", [_outcomes(report), *shown("steps", "residual")]),
    ]
    if rows := tables.certificate_rows(report):
        table = Table(tables.CERTIFICATE_HEAD, rows)
        blocks.append(Section("Certificates of the largest basins", [table, tables.CERTIFICATE_NOTE]))
    if report.datasets:
        blocks.append(
            Section("At 5 % of the latent dimension", [_five_percent(report), f"{tables.NOTE}.", report.verdict_rule])
        )
    for name, data in report.datasets.items():
        pictures = shown(f"{name}_latent_mse", f"{name}_pixel_mse", f"{name}_examples")
        blocks.append(Section(f"Data set {name}", [*_dataset(data, tables.report_subject(report)), *pictures]))
    blocks.append(Section("Decoded end points", shown("gallery")))
    if found := report.semantics:
        rows = semantics.rows(found)
        blocks.append(
            Section("Semantics", [*semantics.sentences(found), *([Table(semantics.HEAD, rows)] if rows else [])])
        )
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
    subject = tables.report_subject(report)
    head = ["data set", "n", "atoms", *(label(method, subject) for method in tables.methods_shown(report))]
    rows = []
    for row in tables.five_percent_rows(report):
        cells = [f"{one.mean}{tables.BEST if one.best_control else ''} {one.interval}".rstrip() for one in row.cells]
        rows.append([row.dataset, str(row.n), str(row.atoms), *cells])
    return Table(head, rows)


def _dataset(data: DatasetErrors, subject: str) -> list[Block]:
    verdict = Verdicts([f"{data.verdict}."])
    rows = tables.detail_rows(data, subject)
    return [verdict, Table(tables.detail_head(data), rows), tables.detail_note(data)] if rows else [verdict]
