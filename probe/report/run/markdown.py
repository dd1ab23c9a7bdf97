"""report.md: summary, warnings, tables, verdicts and links to the figures."""

from collections.abc import Iterable, Sequence

from probe.dynamics.outcomes import Outcome
from probe.methods import label
from probe.names import printable
from probe.report.page.text import percent
from probe.report.run import semantics
from probe.report.run.schema import DatasetErrors, Report
from probe.report.run.tables import (
    BEST,
    CERTIFICATE_HEAD,
    CERTIFICATE_NOTE,
    NOTE,
    certificate_rows,
    detail_head,
    detail_note,
    detail_rows,
    five_percent_rows,
    methods_shown,
    report_subject,
)


def markdown(report: Report, figures: Iterable[str]) -> str:
    """The page; ``figures`` are names of PNG files in figures/."""
    names = set(figures)
    subject = report_subject(report)
    parts = [
        f"# Probe of {code(report.model.source)}",
        " ".join(report.summary),
        f"Dictionary: {report.dictionary.label}.",
        _warnings(report.warnings),
        "## How the starts ended",
        _outcomes(report),
        _images(names, ("steps", "residual")),
        _certificates(report),
    ]
    if report.datasets:
        parts += ["## At 5 % of the latent dimension", _five_percent(report, subject), NOTE + ".", report.verdict_rule]
    for name, data in report.datasets.items():
        parts += [f"## Data set {text(name)}", f"**{text(data.verdict)}.**", _methods(data, subject)]
        parts += [_images(names, (f"{name}_latent_mse", f"{name}_pixel_mse", f"{name}_examples"))]
    parts += ["## Decoded end points", _images(names, ("gallery",))]
    if report.semantics:
        rows = semantics.rows(report.semantics)
        parts += ["## Semantics", *map(text, semantics.sentences(report.semantics))]
        parts += [table(semantics.HEAD, rows) if rows else ""]
    parts += ["## Provenance", _provenance(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _warnings(warnings: Sequence[str]) -> str:
    return "## Warnings\n\n" + "\n".join(f"- {text(warning)}" for warning in warnings) if warnings else ""


def _outcomes(report: Report) -> str:
    total = report.solver.n
    counts = report.solver.outcomes
    rows = [[o.label, str(counts[o.label]), percent(counts[o.label], total), o.sentence] for o in Outcome]
    return table(["outcome", "starts", "share", "meaning"], rows)


def _certificates(report: Report) -> str:
    rows = certificate_rows(report)
    if not rows:
        return ""
    return f"## Certificates of the largest basins\n\n{table(CERTIFICATE_HEAD, rows)}\n\n{CERTIFICATE_NOTE}"


def _five_percent(report: Report, subject: str) -> str:
    head = ["data set", "n", "atoms", *(label(method, subject) for method in methods_shown(report))]
    rows = []
    for row in five_percent_rows(report):
        cells = [f"{cell.mean}{BEST if cell.best_control else ''} {cell.interval}".rstrip() for cell in row.cells]
        rows.append([row.dataset, str(row.n), str(row.atoms), *cells])
    return table(head, rows)


def _methods(data: DatasetErrors, subject: str) -> str:
    rows = detail_rows(data, subject)
    return f"{table(detail_head(data), rows)}\n\n{text(detail_note(data))}" if rows else ""


def _provenance(report: Report) -> str:
    facts = report.provenance
    rows = [
        ["command", code(str(facts.get("command", "-")))],
        ["model", f"{code(report.model.class_)}, weights sha256 {code(report.model.weights_sha256 or 'none')}"],
        ["git revision", code(str(facts.get("git_revision") or "unknown"))],
        ["device, dtype", code(f"{facts.get('device', '-')}, {facts.get('dtype', '-')}")],
        ["started", code(str(facts.get("started", "-")))],
    ]
    return table(["", ""], rows, escaped=True) + "\n\nAll of it, with the configuration: report.json, `provenance`."


def _images(present: set[str], names: Iterable[str]) -> str:
    return "\n".join(f"![{name}](figures/{name}.png)" for name in names if name in present)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, escaped: bool = False) -> str:
    """A table; cells are user text unless they are ``escaped`` already."""
    lines = [head, ["---"] * len(head), *([cell if escaped else text(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text(raw: str) -> str:
    """User text in which nothing is markup: neither HTML nor Markdown that a table or list would trip over."""
    line = printable(" ".join(raw.split())).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in "\\`*_[|" else c for c in line)


def code(raw: str) -> str:
    """A code span on one line, in which only backticks and pipes could do harm."""
    line = printable(" ".join(raw.split())).replace("`", "'")
    return "`" + line.replace("\\|", "\\ |").replace("|", "\\|") + "`"  # two backslashes would end the cell
